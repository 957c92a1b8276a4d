"""The nouns in memory: batches of trials, the analysis plan, what looks see, what studies say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.protocol.cautions import Caution
from trialsim.protocol.design import (
    Better,
    BinaryTest,
    Counted,
    Protocol,
    ResponseEndpoint,
    RiskEndpoint,
    Summary,
)

__all__ = [
    "CONTROL",
    "EXPERIMENTAL",
    "AnalysisPlan",
    "Candidates",
    "Finding",
    "LookResults",
    "Measure",
    "Row",
    "StudyResult",
    "TrialBatch",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CONTROL, EXPERIMENTAL = 0, 1  # positions of the two arms on every arm axis


@dataclass(frozen=True)
class Candidates:
    """Patients in order of arrival, before anyone is assigned.

    Attributes
    ----------
    strata : ndarray of int, shape (n_patients, n_reps)
        Stratum for allocation, 0 .. `n_strata` - 1.
    n_strata : int
    prognostic_score : ndarray of float, shape (n_patients, n_reps), or float
        Log odds of the event that severity and factors add; 0.0 without prognosis.
    """

    strata: NDArray[np.int64]
    n_strata: int
    prognostic_score: Floats | float


@dataclass(frozen=True)
class TrialBatch:
    """Many trials under one truth: who was assigned where, and what would happen in either arm.

    Attributes
    ----------
    assigned : ndarray of bool, shape (n_patients, n_reps)
        Whether a patient is in the experimental arm.
    events : ndarray of bool, shape (2, n_patients, n_reps)
        The latent outcome under control and under experimental treatment, from the same random
        number, so that a changed assignment selects another outcome of the same patient.
    """

    assigned: Bools
    events: Bools


@dataclass(frozen=True)
class AnalysisPlan:
    """How one read-out is analysed.

    Attributes
    ----------
    endpoint : str
        Id of the endpoint.
    day : float
        Nominal day of the read-out since entry.
    visit : int
        Position of the visit it is read at, for an endpoint of kind response.
    """

    endpoint: str
    day: float
    visit: int
    counted: Counted
    summary: Summary
    test: BinaryTest
    alpha: float
    sides: int
    better: Better

    @property
    def in_words(self) -> str:
        """The test with its sides and level."""
        sides = "two" if self.sides == 2 else "one"
        return f"{self.test}, {sides}-sided {100 * self.alpha:g}%"

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        endpoint: RiskEndpoint | None = None,
        summary: Summary | None = None,
    ) -> AnalysisPlan:
        """Return the plan for an endpoint (the primary), or with another summary measure."""
        endpoint = endpoint or protocol.primary
        day = endpoint.at.days_after_entry(protocol.therapy)
        visits = [visit for visit, _ in protocol.visit_days]
        nearest = min(range(len(visits)), key=lambda index: abs(visits[index] - day))
        sustained = isinstance(endpoint, ResponseEndpoint) and endpoint.counted
        return cls(
            endpoint=endpoint.id,
            day=day,
            visit=nearest,
            counted=sustained or Counted.AT_HORIZON,
            summary=summary or endpoint.estimand.summary,
            test=endpoint.analysis,
            alpha=protocol.test.alpha,
            sides=protocol.test.sides,
            better=endpoint.better,
        )


@dataclass(frozen=True)
class LookResults:
    """What each look of each trial found. All arrays have the shape (n_reps, n_looks).

    Attributes
    ----------
    estimate, standard_error, lower, upper : ndarray of float
        On the analysis scale: ratios as logarithms. The interval is two-sided at 1 - alpha (at
        1 - 2 alpha for a one-sided test). NaN where the trial failed.
    p_value : ndarray of float
    rejected : ndarray of bool
    corrected : ndarray of bool
        0.5 was added to the four cells.
    failed : ndarray of bool
        No analysis was possible: an arm had no patient.
    """

    estimate: Floats
    standard_error: Floats
    lower: Floats
    upper: Floats
    p_value: Floats
    rejected: Bools
    corrected: Bools
    failed: Bools

    @classmethod
    def joined(cls, parts: list[LookResults]) -> LookResults:
        """Return the replicates of several blocks in their order."""
        return cls(
            *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls))
        )

    def first(self, n_reps: int) -> LookResults:
        """Return the first replicates only."""
        return LookResults(*(getattr(self, f.name)[:n_reps] for f in fields(self)))


class Measure(StrEnum):
    """The vocabulary of result rows."""

    POWER = "power"  # P(reject), in either direction of a two-sided test, under any truth
    TYPE_I_ERROR = "type_i_error"
    POWER_WRONG_DIRECTION = "power_wrong_direction"  # P(reject in favour of the worse arm)
    TYPE_S = "type_s"  # share of rejections in the wrong direction (Gelman and Carlin 2014)
    TYPE_M = "type_m"  # mean size of significant estimates over the true size, analysis scale
    BIAS = "bias"
    EMPIRICAL_SE = "empirical_se"
    MODEL_SE = "model_se"
    COVERAGE = "coverage"
    MSE = "mse"
    ESTIMATE = "estimate"  # of a published trial or pool
    ESTIMATE_MEAN = "estimate_mean"
    ESTIMATE_MEDIAN = "estimate_median"
    ESTIMATE_Q025 = "estimate_q025"
    ESTIMATE_Q975 = "estimate_q975"
    N_CORRECTED = "n_corrected"
    RISK = "risk"
    TRUE_EFFECT = "true_effect"
    N_PER_ARM = "n_per_arm"  # by formula, for the power stated in `level`
    CONDITIONAL_EFFECT = "conditional_effect"
    PERCENTILE = "percentile"  # share of simulated estimates below the published one


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of a result, and all that is needed to read it alone.

    Keys that do not apply stay None and are left out of the document; a number that cannot be
    given has `value` None and says `why`.
    """

    measure: Measure
    value: float | None
    scenario: str | None = None
    evidence: str | None = None
    variant: str | None = None
    endpoint: str | None = None
    horizon: str | None = None
    clock: str | None = None
    arm: str | None = None
    analysis: str | None = None
    mcse: float | None = None
    n_replicates: int | None = None
    n_failed: int | None = None
    lower: float | None = None
    upper: float | None = None
    level: float | None = None
    scale: str | None = None
    unit: str | None = None
    source: str | None = None
    status: str | None = None
    set_by: str | None = None
    headline: bool | None = None
    why: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the flat form of the document."""
        row = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {key: item for key, item in row.items() if item is not None or key == "value"}
        return {**kept, "measure": self.measure.value}


@dataclass(frozen=True)
class Finding:
    """A plain verdict about a subject."""

    subject: str
    verdict: str
    detail: str


@dataclass(frozen=True)
class StudyResult:
    """What a study found; tables, documents, figures and pages render this and nothing else.

    Attributes
    ----------
    rows, observed : tuple of Row
        One number each: about simulated trials, and about published results.
    findings : tuple of Finding
    texts : mapping of str to str
        Whole sentences, by subject.
    warnings : tuple of Caution
    figure_data : mapping of str to object
        What the study's figures draw, by figure.
    """

    rows: tuple[Row, ...]
    observed: tuple[Row, ...] = ()
    findings: tuple[Finding, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Caution, ...] = ()
    figure_data: Mapping[str, Any] = field(default_factory=dict)
