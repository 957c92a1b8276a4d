"""Generalised estimating equations of response at every visit up to a read-out (``[models]``).

Fitted by statsmodels, which is imported by the first fit.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.contrasts import confidence_level, read_once
from trialsim.kernels.contrasts import arm_masks, wald
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["GeeFit", "analyse_visits", "fit_gee", "models_installed"]

Bools = NDArray[np.bool_]


def models_installed() -> bool:
    """Return whether the library that fits is there, without importing it."""
    return find_spec("statsmodels") is not None


class GeeFit(NamedTuple):
    """Log odds ratio of response at the last visit, treated to control; NaN where there is none."""

    log_odds_ratio: float
    standard_error: float


NOT_FITTED = GeeFit(float("nan"), float("nan"))


def fit_gee(responding: Bools, seen: Bools, treated: Bools) -> GeeFit:
    """Compare the arms at the last visit, from response at every visit.

    logit P(response at a visit) = one parameter per visit and arm; within a patient, any two
    visits are equally correlated (working correlation, estimated by moments); the standard error
    is the sandwich with Mancl and DeRouen's correction for few patients. Visits at which nobody
    or everybody of an arm responded, before the last, are left out in that arm: their parameters
    would run to infinity, where they say nothing about the others.

    Parameters
    ----------
    responding, seen : ndarray of bool, shape (n_patients, n_visits)
        Who was seen in response; who was seen at all.
    treated : ndarray of bool, shape (n_patients,)

    Returns
    -------
    GeeFit
        NaN if nobody, or everybody, of an arm responded at the last visit, or the equations were
        not solved.

    References
    ----------
    Liang and Zeger (1986), Biometrika 73:13-22; Mancl and DeRouen (2001), Biometrics 57:126-134.
    """
    sm = import_module("statsmodels.genmod.api")
    n_visits = seen.shape[1]
    patient, visit = np.nonzero(seen)
    cell = np.where(treated[patient], n_visits, 0) + visit
    y = responding[seen].astype(float)
    n, events = (np.bincount(cell, weights, 2 * n_visits) for weights in (None, y))
    informative = (events > 0) & (events < n)
    last = np.array([n_visits - 1, 2 * n_visits - 1])
    if not informative[last].all():
        return NOT_FITTED
    column = np.cumsum(informative) - 1
    kept = informative[cell]
    design = np.eye(column[-1] + 1)[column[cell[kept]]]
    odds = events[informative] / (n - events)[informative]
    alone = np.bincount(patient[kept]).max() == 1  # nothing to correlate with
    model = sm.GEE(
        y[kept],
        design,
        groups=patient[kept],
        family=sm.families.Binomial(),
        cov_struct=sm.cov_struct.Independence() if alone else sm.cov_struct.Exchangeable(),
    )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what they say is asked of the result
        try:
            # without missed visits the observed log odds solve the equations
            found = model.fit(start_params=np.log(odds), cov_type="bias_reduced")
        except np.linalg.LinAlgError:
            return NOT_FITTED
    if found is None or not found.converged:
        return NOT_FITTED
    contrast = np.zeros(design.shape[1])
    contrast[column[last]] = -1.0, 1.0
    variance = float(contrast @ found.cov_robust_bc @ contrast)
    if not 0 < variance < np.inf:
        return NOT_FITTED
    return GeeFit(float(contrast @ found.params), variance**0.5)


def analyse_visits(
    responding: Bools, seen: Bools, assigned: Bools, included: Bools | None, plan: AnalysisPlan
) -> LookResults:
    """Fit every trial, and test the arms' difference at the last visit (Wald, normal).

    Parameters
    ----------
    responding, seen : ndarray of bool, shape (n_visits, n_patients, n_reps)
    assigned : ndarray of bool, shape (n_patients, n_reps)
    included : ndarray of bool, shape (n_patients, n_reps), or None
    plan : AnalysisPlan

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1); information is the number of patients seen at all.
    """
    treated, untreated = arm_masks(assigned, included)
    seen = seen & (treated | untreated)
    fits = [
        fit_gee(responding[:, :, k].T, seen[:, :, k].T, treated[:, k])
        for k in range(assigned.shape[1])
    ]
    estimate, error = (np.array(values) for values in zip(*fits, strict=True))
    contrast = wald(estimate, error, confidence_level(plan))
    analysed = seen.any(axis=0).sum(axis=0).astype(float)
    return read_once(contrast, plan, analysed, len(assigned))
