"""The nouns in memory: batches of trials, the analysis plan, what looks see, what studies say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.protocol.conduct import Conduct
from trialsim.protocol.design import Look, Protocol
from trialsim.protocol.endpoints import (
    AnySummary,
    AnyTest,
    Better,
    Counted,
    MeasuredTest,
    OrderedTest,
    OutcomeSummary,
    ResponseEndpoint,
    SimulatedEndpoint,
    Summary,
    SurvivalSummary,
)
from trialsim.protocol.historical import HistoricalControl, TwoStage
from trialsim.protocol.intercurrent import MAIN, PlannedEstimand, by_ranks
from trialsim.protocol.missing import MissingReadOut
from trialsim.protocol.modifiers import SEVERITY
from trialsim.protocol.published.cautions import Caution
from trialsim.protocol.quantities import Time

__all__ = [
    "CONTROL",
    "EXPERIMENTAL",
    "AnalysisPlan",
    "Candidates",
    "CountsBatch",
    "Finding",
    "InLevel",
    "Kernel",
    "LookResults",
    "Measure",
    "Path",
    "PerCovariate",
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
    entry : ndarray of float, shape (n_patients, n_reps) or (n_patients, 1), or None
        Day of the trial on which each enters, rising; None where enrolment is not stated.
    levels : mapping of str to ndarray of int, shape (n_patients, n_reps)
        Level of every factor that was asked for, by its id.
    severity : ndarray of float, shape (n_patients, n_reps), or None
        In standard deviations; None where it plays no part.
    covariates : mapping of str to ndarray of float, shape (n_patients, n_reps)
        Those that play a part, in standard deviations, by their id; severity is not among them.
    strata_sizes : tuple of int
        Levels of every factor that stratifies; the last one runs fastest in `strata`.
    """

    strata: NDArray[np.int64]
    n_strata: int
    prognostic_score: Floats | float
    entry: Floats | None = None
    levels: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    severity: Floats | None = None
    covariates: Mapping[str, Floats] = field(default_factory=dict)
    strata_sizes: tuple[int, ...] = ()

    def covariate(self, name: str) -> Floats:
        """Return severity or another covariate that was drawn."""
        found = self.severity if name == SEVERITY else self.covariates[name]
        assert found is not None  # drawn where it plays a part
        return found

    def trials(self, own: slice) -> Candidates:
        """Return some trials of a block; of those whose entry plays no part."""
        score = self.prognostic_score
        return replace(
            self,
            strata=self.strata[:, own],
            prognostic_score=score if isinstance(score, float) else score[:, own],
            levels={name: levels[:, own] for name, levels in self.levels.items()},
            severity=None if self.severity is None else self.severity[:, own],
            covariates={name: values[:, own] for name, values in self.covariates.items()},
        )


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
    entry : ndarray of float or None
        As in `Candidates`.
    included : ndarray of bool, shape (n_patients, n_reps), or None
        Who is analysed; None for all.
    """

    assigned: Bools
    events: Bools
    entry: Floats | None = None
    included: Bools | None = None


@dataclass(frozen=True)
class CountsBatch:
    """Many trials under one truth, of which only counts were drawn. Shapes (n_reps, n_looks).

    Attributes
    ----------
    events_treated, n_treated, events_control, n_control : ndarray of int
        Among the patients read out by each look.
    entry : ndarray of float, shape (n_patients, 1), or None
        As in `Candidates`, where it is the same in every trial.
    """

    events_treated: NDArray[np.int64]
    n_treated: NDArray[np.int64]
    events_control: NDArray[np.int64]
    n_control: NDArray[np.int64]
    entry: Floats | None = None


class Path(StrEnum):
    """How patients are represented; fixed when a run starts."""

    PATIENTS = "patients"
    SUFFICIENT_STATISTICS = "sufficient statistics"


class Kernel(StrEnum):
    """What computes; fixed when a run starts."""

    NUMPY = "numpy"
    NUMBA = "numba"


@dataclass(frozen=True)
class InLevel:
    """The patients in one level of a factor."""

    factor: str
    level: int  # from 0


@dataclass(frozen=True)
class PerCovariate:
    """All patients, in whom the effect may change with a covariate."""

    covariate: str


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
    looks : tuple of Look
        None for one analysis when everyone is read out.
    n_total : int
        Patients planned.
    lag_days : float
        From the data cut-off to the decision; patients go on entering.
    followed_days : float
        Most follow-up of a patient, for a time to an event.
    historical : HistoricalControl or None
        What a single arm is compared with.
    two_stage : TwoStage or None
        When a single arm stops, and what it then decides.
    part : InLevel, PerCovariate or None
        Of a subgroup analysis; None for the effect in all patients.
    estimand : PlannedEstimand or None
        Where nature has intercurrent events.
    missing : MissingReadOut or None
        How response that is not seen at its visit is dealt with; None for failure.
    conduct : Conduct or None
        With what flaws the trial is carried out; None for none.
    """

    endpoint: str
    day: float
    visit: int
    counted: Counted
    summary: AnySummary
    test: AnyTest
    alpha: float
    sides: int
    better: Better
    looks: tuple[Look, ...] = ()
    n_total: int = 0
    lag_days: float = 0.0
    followed_days: float = inf
    kernel: Kernel = Kernel.NUMPY
    historical: HistoricalControl | None = None
    two_stage: TwoStage | None = None
    part: InLevel | PerCovariate | None = None
    estimand: PlannedEstimand | None = None
    missing: MissingReadOut | None = None
    conduct: Conduct | None = None

    @property
    def is_main(self) -> bool:
        """Whether it is the endpoint's own estimand in all patients that is asked for."""
        return not self.part and (self.estimand is None or self.estimand.id == MAIN)

    @property
    def in_words(self) -> str:
        """The test with its sides and level."""
        sides = "two" if self.sides == 2 else "one"
        if self.two_stage:
            return f"{self.test} in two stages, {self.two_stage}"
        known = self.historical and self.historical.n is None
        one = "one-sample " if known and isinstance(self.test, MeasuredTest) else ""
        return f"{one}{self.test}, {sides}-sided {100 * self.alpha:g}%"

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        endpoint: SimulatedEndpoint | None = None,
        summary: Summary | None = None,
    ) -> AnalysisPlan:
        """Return the plan for an endpoint (the primary), or with another summary measure."""
        endpoint = endpoint or protocol.primary
        followed = getattr(endpoint, "followed_for", None)
        day = endpoint.read_out.days_after_entry(protocol.therapy)
        visits = [visit for visit, _ in protocol.visit_days]
        nearest = min(range(len(visits)), key=lambda index: abs(visits[index] - day))
        stated = protocol.historical_value(endpoint.id)
        historical = stated.control if stated else HistoricalControl(0.0)  # of a change
        sustained = isinstance(endpoint, ResponseEndpoint) and endpoint.counted
        return cls(
            endpoint=endpoint.id,
            day=day,
            visit=nearest,
            counted=sustained or Counted.AT_HORIZON,
            summary=summary or endpoint.summary,
            test=endpoint.analysis,
            alpha=protocol.test.alpha,
            sides=protocol.test.sides,
            better=endpoint.better,
            looks=protocol.looks if endpoint == protocol.primary else (),
            n_total=protocol.n_total,
            lag_days=protocol.read_out_lag.days if protocol.read_out_lag else 0.0,
            followed_days=followed.days if followed else inf,
            historical=historical if protocol.is_single_arm else None,
            two_stage=protocol.two_stage if endpoint == protocol.primary else None,
        )

    def asking(self, estimand: PlannedEstimand, endpoint: SimulatedEndpoint) -> AnalysisPlan:
        """Return the plan for one of the endpoint's estimands; a worst value asks for ranks."""
        if not by_ranks(endpoint, estimand):
            return replace(self, estimand=estimand)
        summary, test = OutcomeSummary.WIN_DIFFERENCE, OrderedTest.WILCOXON
        return replace(self, estimand=estimand, summary=summary, test=test)

    @property
    def benefit(self) -> int:
        """Sign of an effect (more events, longer survival) that is good for patients."""
        longer = self.summary in (
            SurvivalSummary.SURVIVAL_DIFFERENCE,
            SurvivalSummary.MEAN_DIFFERENCE,
        )
        return 1 if (self.better is Better.HIGHER) != longer else -1

    @property
    def one_sided_alpha(self) -> float:
        """Significance level of one side."""
        return self.alpha / self.sides

    def rejects(self, z: Floats, p_value: Floats) -> Bools:
        """Where each look finds an effect, shape (n_reps, n_looks).

        Parameters
        ----------
        z, p_value : ndarray, shape (n_reps, n_looks)
            z positive in favour of the experimental arm. A look without efficacy bound finds
            nothing, but for the last, which then compares P with alpha.
        """
        bounds = [look.efficacy_z for look in self.looks] or [None]
        own = np.array([inf if bound is None else bound for bound in bounds])
        crossed = (z if self.sides == 1 else np.abs(z)) >= own
        if bounds[-1] is None:
            crossed[:, -1] = p_value[:, -1] <= self.alpha
        return np.asarray(crossed)


@dataclass(frozen=True)
class LookResults:
    """What each look of each trial found. All arrays have the shape (n_reps, n_looks).

    Attributes
    ----------
    estimate, standard_error, lower, upper : ndarray of float
        On the analysis scale: ratios as logarithms. The interval is two-sided at 1 - alpha (at
        1 - 2 alpha for a one-sided test). NaN where the trial failed.
    p_value : ndarray of float
        NaN where only the decision was computed (MaxCombo).
    rejected : ndarray of bool
        Whether this look's efficacy bound was crossed, whatever earlier looks found.
    corrected : ndarray of bool
        0.5 was added to the four cells.
    failed : ndarray of bool
        No analysis was possible: an arm had no patient, or the estimate is not finite.
    z : ndarray of float
        Test statistic, positive in favour of the experimental arm.
    information : ndarray of float
        Patients read out; events, where the endpoint is a time to an event.
    enrolled : ndarray of float
        Patients who had entered when it was decided.
    day : ndarray of float
        Day of the trial on which it was decided; NaN where enrolment is not stated.
    short : ndarray of bool
        What should have set off the look never came: it was held when nothing more could.
    """

    estimate: Floats
    standard_error: Floats
    lower: Floats
    upper: Floats
    p_value: Floats
    rejected: Bools
    corrected: Bools
    failed: Bools
    z: Floats
    information: Floats
    enrolled: Floats
    day: Floats
    short: Bools

    @classmethod
    def joined(cls, parts: list[LookResults]) -> LookResults:
        """Return the replicates of several blocks in their order."""
        return cls(
            *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls))
        )

    def first(self, n_reps: int) -> LookResults:
        """Return the first replicates only."""
        return self.only(slice(n_reps))

    def only(self, replicates: slice) -> LookResults:
        """Return some of the replicates."""
        return LookResults(*(getattr(self, f.name)[replicates] for f in fields(self)))

    def same_as(self, other: LookResults) -> bool:
        """Return whether every number is the same, to the last bit."""
        return all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name), equal_nan=True)
            for f in fields(self)
        )


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
    POWER_ADJUSTED = "power_adjusted"  # of one endpoint, after adjustment for multiplicity
    POWER_DISJUNCTIVE = "power_disjunctive"  # at least one endpoint of the family
    POWER_CONJUNCTIVE = "power_conjunctive"  # all of them
    ESTIMATE_DIFFERENCE = "estimate_difference"  # of an estimand from the main one, same trials
    STRATUM_SHARE = "stratum_share"  # of the patients, in the principal stratum
    EVENT_SHARE = "event_share"  # of an arm's patients that have an event by the read-out
    CORRELATION = "correlation"  # of two endpoints' outcomes, between patients of an arm
    MSE = "mse"
    ESTIMATE = "estimate"  # of a published trial or pool
    ESTIMATE_MEAN = "estimate_mean"
    ESTIMATE_MEDIAN = "estimate_median"
    ESTIMATE_Q025 = "estimate_q025"
    ESTIMATE_Q975 = "estimate_q975"
    N_FAILED = "n_failed"  # replicates without an analysis, left out of every other number
    N_SHORT = "n_short"  # replicates in which what sets off a look never came
    N_CORRECTED = "n_corrected"
    POWER_FUTILITY_IGNORED = "power_futility_ignored"  # as if bounds not binding were not there
    STOP_PROBABILITY = "stop_probability"  # at a look, for the reason in `analysis`
    EXPECTED_N = "expected_n"  # patients enrolled when the trial stops
    AT_MAXIMUM_N = "at_maximum_n"  # share of trials that grow to the largest size allowed
    EVENTS = "events"  # when the trial stops
    INFORMATION = "information"  # at a look, of replicates that reach it
    DURATION_MONTHS = "duration_months"  # first day of enrolment to the decision
    Z_EFFICACY = "z_efficacy"
    Z_FUTILITY = "z_futility"
    RISK = "risk"
    ARM_MEAN = "arm_mean"  # what an arm shows: mean, geometric mean, rate, in `unit`
    TRUE_EFFECT = "true_effect"
    N_PER_ARM = "n_per_arm"  # by formula, for the power stated in `level`
    N_TOTAL = "n_total"
    POWER_ACHIEVED = "power_achieved"  # of the rounded size, by the method in `analysis`
    ASSURANCE = "assurance"  # power averaged over a prior
    POWER_SIMULATED = "power_simulated"  # of the same design
    P_NOMINAL = "p_nominal"  # one-sided, at the efficacy bound of a look
    ALPHA_CUMULATIVE = "alpha_cumulative"
    Z_OBSERVED = "z_observed"  # at a look held, positive in favour of treatment
    Z_AT_END = "z_at_end"  # expected at the planned end, were the effect the estimate
    CONDITIONAL_POWER = "conditional_power"  # to cross a later bound, given the last z
    PREDICTIVE_POWER = "predictive_power"  # the same, averaged over what is believed
    P_STAGEWISE = "p_stagewise"  # one-sided, of a trial that ended
    ESTIMATE_MEDIAN_UNBIASED = "estimate_median_unbiased"
    CONDITIONAL_EFFECT = "conditional_effect"
    RATIO_OF_ODDS_RATIOS = "ratio_of_odds_ratios"  # flawed to rigorous, of the trials published
    RATIO_OF_RATIOS = "ratio_of_ratios"  # the same of another ratio, in `scale`
    DIFFERENCE_OF_DIFFERENCES = "difference_of_differences"  # the same of a difference
    PUBLISHED_SHARE = "published_share"  # of the trials analysed
    BASELINE_IMBALANCE = "baseline_imbalance"  # prognosis, treated less control, in SD
    EVENTS_PER_1000 = "events_per_1000"  # in an arm, or treated less control; mean over trials
    FLAW_INTERACTION = "flaw_interaction"  # of all flaws together, beyond the sum of each alone
    ATTRIBUTION = "attribution"  # how far one thing moves a single arm from its control
    N_EVENTS = "n_events"  # published, in an arm
    N_PATIENTS = "n_patients"  # published, in an arm or in all
    WEIGHT = "weight"  # of a study in a pooled estimate, a share of 1
    P_VALUE = "p_value"  # two-sided, of what `analysis` says
    HETEROGENEITY_Q = "heterogeneity_q"  # Cochran's, of published studies
    I2 = "i2"  # percent of the variance that is between studies
    TAU2 = "tau2"  # variance between studies, of logarithms where a ratio
    PREDICTION = "prediction"  # where the true effect of a further study lies
    ESTIMATE_WITHOUT = "estimate_without"  # pooled without the study in `evidence`
    ESTIMATE_BY_MODEL = "estimate_by_model"  # pooled, by the estimator and interval in `analysis`
    TAU2_BY_MODEL = "tau2_by_model"  # by the estimator in `analysis`
    ESTIMATE_CUMULATIVE = "estimate_cumulative"  # pooled up to and with the study in `evidence`
    STUDIES_MISSING = "studies_missing"  # as trim and fill has it
    CERTAINTY = "certainty"  # of the evidence; never rated here
    STRENGTH_NEEDED = "strength_needed"  # of a flaw, to give a published ratio
    STRENGTH_SD_NEEDED = "strength_sd_needed"  # between trials, to give a published kappa
    STRENGTH_IN_PROFILE = "strength_in_profile"  # of a flaw, its mean over trials
    POWER_ALONE = "power_alone"  # P(reject) were this the only thing that does
    POWER_DIFFERENCE = "power_difference"  # from the reference horizon, of the same trials
    BIAS_FROM_REFERENCE = "bias_from_reference"  # of an earlier estimate for the later effect
    WRONG_VERDICT = "wrong_verdict"  # no to an effect that is there later, or yes to none
    VERDICT_CHANGES = "verdict_changes"  # between this horizon and the reference
    STOPS_WRONGLY = "stops_wrongly"  # of trials that would find the effect at the reference
    DRUG_PER_PATIENT = "drug_per_patient"  # in `unit`, over the whole of a regimen
    RISK_CHANGE = "risk_change"  # of an arm, between two readings
    MISSING = "missing"  # share of an arm's patients whose read-out is not known
    RISK_ANALYSED = "risk_analysed"  # share of an arm with the event, as an analysis has it
    RISK_WITHOUT_LOSS = "risk_without_loss"  # true, were nobody lost and no visit missed
    LOST = "lost"  # share of patients dead, lost or not seen by a read-out
    N_SCREENED = "n_screened"  # for the patients enrolled
    COST = "cost"  # in `unit`
    ESTIMATE_IMBALANCED = "estimate_imbalanced"  # mean, of trials whose arms differ at entry
    POWER_IMBALANCED = "power_imbalanced"  # P(reject in favour of treatment) in such trials
    EVENT_CHANCE = "event_chance"  # that at least one patient has a safety event; exact
    EVENTS_EXPECTED = "events_expected"  # of a safety endpoint; exact
    UPPER_IF_NONE = "upper_if_none"  # limit of a safety risk if no patient has the event; exact
    HAZARD = "hazard"  # fitted to published points, with its profile interval
    DELAY = "delay"  # the same, in `unit`
    FITTED = "fitted"  # what a fit says of a published number
    RESIDUAL = "residual"  # of a published number, deviance
    PERCENTILE = "percentile"  # share of simulated estimates below the published one
    P_INTERACTION = "p_interaction"  # two-sided, of two strata's pooled effects; median
    GAP_AS_LARGE = "gap_as_large"  # share of literatures whose strata differ as published, or more
    GAP_PREDICTED = "gap_predicted"  # ratio of two sides' ratios under an explanation: median, 95%
    QUANTITY = "quantity"  # of all records, in `scale`: as published, or median and 95% under one
    PREDICTIVE_P = "predictive_p"  # share of literatures in which that quantity is as large
    PRIOR_WEIGHT = "prior_weight"  # of an explanation, before its records are seen
    POSTERIOR_WEIGHT = "posterior_weight"  # of an explanation, given the records in `set_by`
    WEIGHT_OTHERWISE = "weight_otherwise"  # the same, with the choice in `set_by` made otherwise
    LEAD_CHANGES = "lead_changes"  # of such choices, those in which another explanation is first
    COMES_FIRST = "comes_first"  # share of literatures drawn from `analysis`, for that in `set_by`
    TOLD_APART = "told_apart"  # share of literatures in which the right one of two is clear
    EXPECTED_INFORMATION = "expected_information"  # of a trial to come, about explanations
    SETTLES = "settles"  # chance that one explanation is clear after a trial to come
    HANDS = "hands"  # trials of a class that are significant in favour
    HANDS_AGAINST = "hands_against"  # the same, in favour of the worse arm
    PUBLISHED = "published"  # trials of a class
    POWER_INTERACTION = "power_interaction"  # P(the test of interaction rejects), in any scenario
    INTERACTION = "interaction"  # effect in a subgroup relative to the first; per SD of a covariate
    SUBGROUP_EFFECTIVE = "subgroup_effective"  # P(some subgroup is significant in favour)
    SUBGROUP_ALONE = "subgroup_alone"  # the same, in a trial whose overall test finds nothing
    SUBGROUPS_AS_FAR_APART = "subgroups_as_far_apart"  # P(two differ at least as published)
    SUBGROUPS_OPPOSITE = "subgroups_opposite"  # the same, on opposite sides of no effect
    MILESTONE_MONTHS = "milestone_months"  # mean, from the first invitation of a site
    PATIENTS = "patients"  # mean number in `category`, of `arm` where that is one
    DOSES = "doses"  # mean number in `category`, of `arm`
    DRUG_USED = "drug_used"  # mean over trials, in `unit`
    KITS = "kits"  # mean number in `category`, of all arms together
    EXPOSURE = "exposure"  # share of the planned doses taken, mean over patients of `arm`
    STOCK_OUTS = "stock_outs"  # doses due without a kit there, mean number
    SITE_RATE = "site_rate"  # patients per open site and month, of the site in `category`
    MONTHS_SAVED = "months_saved"  # until everybody is enrolled, by the sites in `category`
    ON_TIME = "on_time"  # share of trials that enrol everybody by the planned day
    POWER_LOST = "power_lost"  # what of it `analysis` loses in a trial's conduct, same trials
    SHORTCUT = "shortcut"  # of `category`, drawn at once or event by event, by `analysis`
    NOT_ENROLLED = "not_enrolled"  # share of trials that never enrol everybody


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
    estimand: str | None = None
    horizon: str | None = None
    clock: str | None = None
    arm: str | None = None
    look: int | None = None
    lag: str | None = None
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
    regimen: str | None = None  # where several are compared
    missing: str | None = None  # how missing read-outs are dealt with
    mechanism: str | None = None  # flaws of conduct, by their ids; "all" of the profile's
    strength: float | None = None  # of that mechanism, 0 to 1
    stratum: str | None = None  # "factor" of subgroups, "factor=level" of one; a split's alike
    conduct: str | None = None  # how the trials of a literature were carried out, by its id
    milestone: str | None = None  # of a trial's calendar
    category: str | None = None  # of patients, doses, kits or cost
    why: str | None = None

    @classmethod
    def about(
        cls, measure: Measure, scenario: str, endpoint: str, read_out: Time, variant: str = ""
    ) -> Row:
        """Return a row without a number yet: what it is of, where, and when that is read."""
        return cls(
            measure=measure,
            value=None,
            scenario=scenario,
            variant=variant or None,
            endpoint=endpoint,
            horizon=str(read_out.after),
            clock=read_out.clock.value,
        )

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
    n_replicates : int
        Replicates per scenario it rests on.
    """

    rows: tuple[Row, ...]
    observed: tuple[Row, ...] = ()
    findings: tuple[Finding, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Caution, ...] = ()
    figure_data: Mapping[str, Any] = field(default_factory=dict)
    n_replicates: int = 0

    def table(self) -> list[dict[str, Any]]:
        """Return one dict per number, as in the JSON document; ``pandas.DataFrame`` takes it.

        `part` tells "rows" from "observed"; keys that do not apply to a number are absent.
        """
        parts = (("rows", self.rows), ("observed", self.observed))
        return [{"part": name, **row.as_dict()} for name, rows in parts for row in rows]
