"""Looks at what is read at one time after entry: those read out so far, in order of arrival.

Bounds are on the normal scale, so a t statistic is carried there by its P value: at every look the
test then has the level its bound stands for (the significance level approach; Jennison and Turnbull
2000, section 3.8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from trialsim.analyse.contrasts import read_once
from trialsim.analyse.looks import decided, patient_cuts
from trialsim.kernels.contrasts import Alternative, ArmContrast
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["as_seen", "read_out"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Compare = Callable[[Bools | None], tuple[ArmContrast, Floats]]
_LEAST = 1e-300  # a P value of 0 would be infinitely many standard deviations


def read_out(
    compare: Compare, plan: AnalysisPlan, entry: Floats | None, shape: tuple[int, int]
) -> LookResults:
    """Compare everyone read out at every look, or everyone once where there is none.

    Parameters
    ----------
    compare : callable
        Who is analysed, shape (n_patients, n_reps) or None for everyone -> the comparison, and how
        many are in it, shape (n_reps,).
    plan : AnalysisPlan
    entry : ndarray or None
        As in `Candidates`.
    shape : (n_patients, n_reps)

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, n_looks); information is the patients read out.
    """
    n = shape[0]
    if not plan.looks:
        contrast, analysed = compare(None)
        return read_once(contrast, plan, analysed, n)
    read, short = patient_cuts(plan.looks, plan.day, entry, np.zeros(shape, dtype=bool))
    looks = []
    for look in range(len(plan.looks)):
        everyone = bool((read[:, look] == n).all())
        contrast, _ = compare(None if everyone else np.arange(n)[:, None] < read[:, look])
        found = read_once(contrast, plan, read[:, look].astype(float), n)
        z = plan.benefit * _normal_score(contrast)
        looks.append(replace(found, z=np.where(found.failed, np.nan, z[:, None])))
    all_looks = LookResults(
        *(np.concatenate([getattr(x, f.name) for x in looks], axis=1) for f in fields(LookResults))
    )
    enrolled, day = decided(plan, entry, read)
    rejected = plan.rejects(all_looks.z, all_looks.p_value) & ~all_looks.failed
    return replace(all_looks, rejected=rejected, enrolled=enrolled, day=day, short=short)


def _normal_score(contrast: ArmContrast) -> Floats:
    """Return the z that has the P value of a t or z statistic, on the same side."""
    tail = np.maximum(contrast.p_value(Alternative.DIFFERENT) / 2, _LEAST)
    return np.asarray(np.sign(contrast.statistic) * -ndtri(tail))


def as_seen(
    columns: dict[str, NDArray[Any]],
    plan: AnalysisPlan,
    entry: Floats | None,
    replicate: int,
    look: int,
) -> dict[str, NDArray[Any]]:
    """Return what a look sees of each patient of one trial, or why there is nothing yet.

    Everyone who has entered by the decision is there, in order of arrival; `columns` are those of
    everyone at the end, of which "treated" and "baseline" are known at entry.
    """
    if not plan.looks:
        return columns
    if entry is not None and entry.shape[1] > 1:
        entry = entry[:, replicate : replicate + 1]
    nobody = np.zeros((len(columns["treated"]), 1), dtype=bool)
    read, _ = patient_cuts(plan.looks, plan.day, entry, nobody)
    enrolled, _ = decided(plan, entry, read)
    there = int(enrolled[0, look])
    seen = np.arange(there) < read[0, look]
    shown = {
        name: column[:there]
        if name in ("treated", "baseline")
        else np.where(seen, column[:there], np.nan)
        for name, column in columns.items()
    }
    return {**shown, "why_not_seen": np.where(seen, "", "not read out yet")}
