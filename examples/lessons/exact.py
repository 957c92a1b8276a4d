"""What the lessons' numbers are exactly, by closed form or by counting every possible trial."""

from __future__ import annotations

from fractions import Fraction
from math import comb, exp
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SmallTrials",
    "central_hands",
    "certain_share",
    "guessed_right",
    "log_odds_ratio_after_exclusion",
    "significant_after_looks",
    "small_trials",
]

Z = NormalDist().inv_cdf(0.975)  # two-sided 5%


def certain_share(size: int) -> Fraction:
    """Return the share of assignments in a block of `size` that are certain from those before.

    Arms alike. The last j assignments are of one arm in 2 C(2b - j, b) of C(2b, b) orders, and the
    first of these j is then certain; so the expected number in a block of 2b is the sum over
    j = 1 .. b of 2 C(2b - j, b) / C(2b, b), which is 2b / (b + 1): a share of 1 / (b + 1).
    """
    b = size // 2
    return Fraction(sum(2 * comb(2 * b - j, b) for j in range(1, b + 1)), comb(2 * b, b) * 2 * b)


def guessed_right(size: int) -> Fraction:
    """Return the share guessed right by the arm that lags behind, ties by a coin.

    Blackwell and Hodges (1957), Annals of Mathematical Statistics 28:449-460:
    b + (4^b / C(2b, b) - 1) / 2 of 2b.
    """
    b = size // 2
    return (b + (Fraction(4**b, comb(2 * b, b)) - 1) / 2) / (2 * b)


def _binomial(n: int, risk: float) -> NDArray[np.float64]:
    return np.array([comb(n, k) * risk**k * (1 - risk) ** (n - k) for k in range(n + 1)])


def log_odds_ratio_after_exclusion(n_arm: int, risk: float, share: float) -> float:
    """Return the expected log odds ratio where a share of the treated who died is left out.

    No effect; half an event is added to every cell of a table with an empty one, as the analysis
    does. Counts every possible trial.
    """
    kept, gone, alive = risk * (1 - share), risk * share, 1 - risk
    total = 0.0
    control = _binomial(n_arm, risk)
    for out in range(n_arm + 1):
        w_out = comb(n_arm, out) * gone**out * (1 - gone) ** (n_arm - out)
        if w_out < 1e-15:
            continue
        n = n_arm - out
        treated = _binomial(n, kept / (kept + alive))
        a = np.arange(n + 1)[:, None]
        c = np.arange(n_arm + 1)[None, :]
        total += w_out * float(
            (treated[:, None] * control[None, :] * _log_or(a, n, c, n_arm)).sum()
        )
    return total


def _log_or(a: NDArray[np.int64], n: int, c: NDArray[np.int64], m: int) -> NDArray[np.float64]:
    add = np.where((a == 0) | (a == n) | (c == 0) | (c == m), 0.5, 0.0)
    return np.log((a + add) * (m - c + add) / ((n - a + add) * (c + add)))


def _z(a: NDArray[np.int64], c: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    pooled = (a + c) / (2 * n)
    variance = pooled * (1 - pooled) * 2 / n
    return np.where(variance > 0, (a - c) / n / np.sqrt(np.where(variance > 0, variance, 1)), 0.0)


def significant_after_looks(n_arm: int, risk: float, looks: int) -> float:
    """Return how often a trial without effect is significant at one of several even looks.

    Arms of the same size at every look, chi-square at 5% each. Counts every possible trial, look
    by look, as Armitage, McPherson and Rowe (1969), JRSS A 132:235-244, did of one proportion.
    """
    step = n_arm // looks
    assert step * looks == n_arm
    more = _binomial(step, risk)
    going = np.ones((1, 1))  # probabilities of events by arm, of trials not yet significant
    found = 0.0
    for look in range(1, looks + 1):
        going = np.apply_along_axis(lambda row: np.convolve(row, more), 0, going)
        going = np.apply_along_axis(lambda row: np.convolve(row, more), 1, going)
        n = look * step
        a, c = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
        stops = abs(_z(a, c, n)) > Z
        found += float(going[stops].sum())
        going = np.where(stops, 0.0, going)
    return found


class SmallTrials(NamedTuple):
    """What significant trials of one size find."""

    power: float
    wrong_way: float  # share of the significant ones
    favourable: float  # the exponential of the mean log odds ratio of significant benefits
    plain: float  # the mean odds ratio of significant benefits
    half_in_every_cell: float  # as `favourable`, with half an event added to every cell
    every: float  # the same of all trials
    weakest: float  # odds ratio nearest to 1 among significant benefits


def small_trials(n_arm: int, risk: float, odds_ratio: float) -> SmallTrials:
    """Return what significant small trials find, by counting every possible trial."""
    odds = risk / (1 - risk) * odds_ratio
    weights = np.outer(_binomial(n_arm, odds / (1 + odds)), _binomial(n_arm, risk))
    a, c = np.arange(n_arm + 1)[:, None], np.arange(n_arm + 1)[None, :]
    z = _z(a, c, n_arm)
    for_it, against = weights * (z < -Z), weights * (z > Z)
    power = float(for_it.sum() + against.sum())
    found = _log_or(a, n_arm, c, n_arm)
    mean = float((for_it * found).sum() / for_it.sum())
    every = exp(float((weights * found).sum()))
    weakest = exp(float(found[z < -Z].max()))
    plain = float((for_it * np.exp(found)).sum() / for_it.sum())
    cells = (a + 0.5, n_arm - a + 0.5, c + 0.5, n_arm - c + 0.5)
    half = np.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    half_mean = exp(float((for_it * half).sum() / for_it.sum()))
    wrong_way = float(against.sum()) / power
    return SmallTrials(power, wrong_way, exp(mean), plain, half_mean, every, weakest)


def central_hands(n: int, share: float) -> tuple[int, int]:
    """Return from how many to how many of n raise a hand in at least 95 of 100 classes."""
    below = np.cumsum(_binomial(n, share))
    return int((below < 0.025).sum()), int((below < 0.975).sum())
