"""What is analysed and reported (RoB 2, domain 5: selection of the reported result)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from trialsim.conduct.attrition import probabilities
from trialsim.conduct.records import Luck, Records
from trialsim.protocol.conduct import (
    BestOf,
    BestOfAnalyses,
    BestOfEndpoints,
    BestOfSubgroups,
    BestOfTimePoints,
    Extension,
    Mechanism,
    UndeclaredLooks,
)
from trialsim.protocol.design import Look, Trigger
from trialsim.protocol.quantities import Duration
from trialsim.streams import Decision
from trialsim.trial import AnalysisPlan, LookResults

__all__ = [
    "Alternative",
    "alternatives",
    "best",
    "correlations",
    "correlated_with",
    "evidence",
    "extending",
    "looking_at",
    "replaced",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Alternative = tuple[Records, AnalysisPlan]  # what is recorded, and how that is analysed
_SMALLEST = 2.0**-54


def looking_at(plan: AnalysisPlan, flaw: UndeclaredLooks) -> AnalysisPlan:
    """Return the plan with undeclared looks, each at the level of a single one.

    At evenly spaced numbers of patients read out, of events where the last look of a time to an
    event waits for events, or of days where it waits for a date. With normal outcomes of known
    variance and 2, 3, 4, 5 looks a two-sided 5% becomes 8.3, 10.7, 12.6 and 14.2% (Armitage,
    McPherson and Rowe 1969, JRSS A 132:235-244).
    """
    z = NormalDist().inv_cdf(1 - plan.one_sided_alpha)
    last = plan.looks[-1] if plan.looks else Look(at=Trigger(information=1))
    early = tuple(
        Look(at=_part(last.at, k / flaw.looks), efficacy_z=z) for k in range(1, flaw.looks)
    )
    return replace(plan, looks=(*early, last))


def _part(whole: Trigger, share: float) -> Trigger:
    if whole.calendar:
        return Trigger(calendar=Duration(share * whole.calendar.days, "d"))
    return Trigger(information=share)


def alternatives(
    records: Records,
    plan: AnalysisPlan,
    flaw: BestOf,
    luck: Luck,
    levels: Mapping[str, NDArray[np.int64]],
) -> list[Alternative]:
    """Return what one of several results is chosen from, the declared analysis first.

    Other endpoints and time points are drawn on a latent scale: the number of the recorded outcome
    is normal given on which side of its arm's threshold it lies, and the others are normal given
    that one, so that every outcome keeps the marginal risk of its arm exactly. Subgroups are levels
    of factors, or share out the patients with equal probability, whatever their outcome.

    Parameters
    ----------
    records : Records
        Before flaws; these act on every outcome alike.
    plan : AnalysisPlan
    flaw : BestOfEndpoints, BestOfTimePoints, BestOfSubgroups or BestOfAnalyses
        Time points only of a binary endpoint; those of a response are its visits.
    luck : Luck
    levels : mapping of str to ndarray of int, shape (n_patients, n_reps)
        Of the factors whose levels are subgroups, from 0, by their id.

    Returns
    -------
    list of (Records, AnalysisPlan)
    """
    match flaw:
        case BestOfEndpoints() | BestOfTimePoints():
            return [(own, plan) for own in _other_outcomes(records, correlations(flaw), luck)]
        case BestOfSubgroups():
            if flaw.k:
                own = (luck.of_patients(Decision.BEST_OF, "subgroup") * flaw.k).astype(np.int64)
                split = {"": own}
            else:
                split = {name: levels[name] for name in flaw.factors}
            parts = [level == own for level in split.values() for own in range(level.max() + 1)]
            inside = [replace(records, included=records.included & part) for part in parts]
            return [(records, plan), *((part, plan) for part in inside)]
        case BestOfAnalyses():
            plans = [plan, *(replace(plan, test=test) for test in flaw.tests)]
            every = [(records, own) for own in plans]
            if flaw.per_protocol is None:
                return every
            stops = luck.of_patients(Decision.BEST_OF, "adherence") < probabilities(
                records, flaw.per_protocol
            )
            kept = replace(records, included=records.included & ~stops)
            return every + [(kept, own) for own in plans]


def correlations(flaw: BestOfEndpoints | BestOfTimePoints) -> Floats:
    """Return those of the latent numbers that a result is chosen by, shape (k, k)."""
    assert flaw.correlation is not None  # refused by the rules
    apart = np.abs(np.subtract.outer(np.arange(flaw.k), np.arange(flaw.k)))
    if isinstance(flaw, BestOfEndpoints):
        apart = np.minimum(apart, 1)
    return np.asarray(flaw.correlation.value**apart, dtype=float)


def _other_outcomes(records: Records, matrix: Floats, luck: Luck) -> list[Records]:
    risk = np.where(records.treated, records.treated_risk, records.control_risk)
    place = luck.of_patients(Decision.BEST_OF, "recorded outcome")
    quantile = np.where(records.unfavourable, place * risk, risk + place * (1 - risk))
    own = np.asarray(ndtri(np.clip(quantile, _SMALLEST, 1 - 2 * _SMALLEST)))
    normals = [luck.normals(Decision.BEST_OF, f"outcome {j}") for j in range(1, len(matrix))]
    others = correlated_with(own, matrix, np.stack(normals))
    threshold = ndtri(risk)
    return [records, *(replace(records, unfavourable=other < threshold) for other in others)]


def correlated_with(first: Floats, matrix: Floats, normals: Floats) -> Floats:
    """Return further standard normal numbers, given the first of them.

    Z_j = r_1j Z_1 + (L e)_j with L L' = R_22 - r_1 r_1', the conditional distribution of a
    multivariate normal (Anderson 2003, An Introduction to Multivariate Statistical Analysis,
    theorem 2.5.1).

    Parameters
    ----------
    first : ndarray of float, any shape
    matrix : ndarray of float, shape (k, k)
        Correlations, the first number's in the first row.
    normals : ndarray of float, shape (k - 1, *first.shape)
        Independent of the first and of one another.

    Returns
    -------
    ndarray of float, shape (k - 1, *first.shape)
    """
    own = matrix[1:, 0]
    values, vectors = np.linalg.eigh(matrix[1:, 1:] - np.outer(own, own))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(np.multiply.outer(own, first) + np.tensordot(root, normals, axes=1))


def evidence(results: LookResults, plan: AnalysisPlan) -> Floats:
    """Return z in favour of treatment, shape (n_reps, n_looks); NaN where the analysis failed.

    Of an exact test, which has no z, the normal number with the same P value in the direction of
    the estimate.
    """
    p = np.clip(results.p_value / plan.sides, _SMALLEST, 1 - _SMALLEST)
    size = -ndtri(p)
    exact = size if plan.sides == 1 else np.sign(plan.benefit * results.estimate) * size
    return np.asarray(np.where(np.isnan(results.z), exact, results.z))


def best(found: Sequence[LookResults], plan: AnalysisPlan, flaw: BestOf, luck: Luck) -> LookResults:
    """Return, of the trials that choose, the result with the smallest P; of others the declared.

    Of k independent results without an effect one has a P below alpha with probability
    1 - (1 - alpha)^k.

    Parameters
    ----------
    found : sequence of LookResults
        The declared first; arrays of shape (n_reps, n_looks).
    plan : AnalysisPlan
    flaw : BestOfEndpoints, BestOfTimePoints, BestOfSubgroups or BestOfAnalyses
        `reported` says whether P is that of a benefit, or of either direction.
    luck : Luck
    """
    every = np.stack([evidence(one, plan) for one in found])
    every = np.where(np.isnan(every), -np.inf, every if flaw.reported == "benefit" else abs(every))
    pick = every.argmax(axis=0)
    chosen = LookResults(
        *(
            np.take_along_axis(np.stack([getattr(one, f.name) for one in found]), pick[None], 0)[0]
            for f in fields(LookResults)
        )
    )
    chooses = luck.of_trials(Decision.BEST_OF) < luck.strength(Mechanism.BEST_OF, flaw.strength)
    return replaced(found[0], chosen, chooses)


def extending(results: LookResults, plan: AnalysisPlan, flaw: Extension, luck: Luck) -> Bools:
    """Return which trials recruit more patients, shape (n_reps,).

    Those whose P, in favour of treatment, is not significant and below `p_below`. On normal
    outcomes of known variance the two-sided error becomes alpha + P(c' < Z1 < c, |Z2| > c), where
    Z1 and Z2 have correlation 1 / sqrt(1 + more).

    Parameters
    ----------
    results : LookResults
        Of the planned patients; the last look counts.
    plan : AnalysisPlan
    flaw : Extension
    luck : Luck
    """
    short = ~results.rejected[:, -1] & (results.p_value[:, -1] < flaw.p_below)
    acts = luck.of_trials(Decision.EXTENSION) < luck.strength(Mechanism.EXTENSION, flaw.strength)
    return np.asarray(short & (evidence(results, plan)[:, -1] > 0) & acts)


def replaced(results: LookResults, others: LookResults, where: Bools) -> LookResults:
    """Return results, in the trials `where`, shape (n_reps,), those of others."""
    return LookResults(
        *(
            np.where(where[:, None], getattr(others, f.name), getattr(results, f.name))
            for f in fields(LookResults)
        )
    )
