"""The exact power of a chi-square test read at several looks, by enumeration."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import ceil

import numpy as np
from scipy.stats import binom

from trialsim.kernels.proportions import pearson_z


@lru_cache(maxsize=256)
def power_of_looks(total, treated_risk, control_risk, looks):
    """P(reject at any look), two-sided, allocated 1:1 in blocks of two.

    Parameters
    ----------
    looks : tuple of (information, efficacy_z)
        After an odd number of patients the last may be in either arm.
    """
    read = [ceil(total * information - 1e-9) for information, _ in looks]
    splits = [
        [(n // 2, n - n // 2), (n - n // 2, n // 2)] if n % 2 else [(n // 2, n // 2)] for n in read
    ]
    paths = list(product(*splits))
    return sum(_power(path, treated_risk, control_risk, looks) for path in paths) / len(paths)


def _power(sizes, treated_risk, control_risk, looks):
    going_on, rejected, before = np.ones((1, 1)), 0.0, (0, 0)
    for (n1, n0), (_, bound) in zip(sizes, looks, strict=True):
        moved = _convolved(
            _convolved(going_on, n1 - before[0], treated_risk).T, n0 - before[1], control_risk
        ).T
        x1, x0 = np.arange(n1 + 1)[:, None], np.arange(n0 + 1)[None, :]
        crossed = np.abs(pearson_z(x1, n1, x0, n0)) >= bound
        rejected += float(moved[crossed].sum())
        going_on, before = np.where(crossed, 0.0, moved), (n1, n0)
    return rejected


def _convolved(probability, more, risk):
    """Add a binomial number of events to the first axis."""
    had = len(probability)
    step = np.zeros((had + more, had))
    own = binom.pmf(np.arange(more + 1), more, risk)
    for column in range(had):
        step[column : column + more + 1, column] = own
    return step @ probability
