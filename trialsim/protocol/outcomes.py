"""What nature decides about measurements, scores, counts and further risks: ``outcomes:``.

``nature.outcomes`` states the control arm by endpoint id, ``outcomes`` of a scenario what treatment
does to it. Resolved, each is a frozen truth; pure Python, so that ``check`` can tell an impossible
one. Effects are marginal: whatever patients share, each arm as a whole is as stated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import erfc, exp, expm1, inf, isfinite, lgamma, log, pi, sqrt
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    CompetingEndpoint,
    ContinuousEndpoint,
    CountEndpoint,
    DaysAliveEndpoint,
    MeasuredScale,
    MilestoneTest,
    OrdinalEndpoint,
    OutcomeSummary,
    RestrictedMeanTest,
    SimulatedEndpoint,
    TimeToEventEndpoint,
)
from trialsim.protocol.further_times import (
    GRID,
    FurtherLifetime,
    LifetimeTruth,
    limiting_log_ratio,
)
from trialsim.protocol.quantities import (
    Difference,
    Duration,
    Frozen,
    Id,
    Number,
    OneOf,
    Rate,
    Ratio,
    Risk,
    SourcedNumber,
    Text,
    Whole,
    broken,
    one_of,
)
from trialsim.protocol.survival import (
    DAYS_PER_YEAR,
    HazardPiece,
    ImpossibleLifetimeError,
)

__all__ = [
    "AnyOutcome",
    "CompetingTruth",
    "Correlated",
    "CountTruth",
    "FORMS",
    "Form",
    "ImpossibleOutcomeError",
    "LifetimeTruth",
    "MeasuredTruth",
    "OrderedTruth",
    "OutcomeEffect",
    "OutcomeTruth",
    "RiskTruth",
    "Selection",
    "cholesky",
    "correlation_matrix",
    "normal_share",
    "outcome_truth",
    "selected_together",
    "truncated_moments",
]

Floats = tuple[float, ...]
Positive = Annotated[Number, Field(gt=0)]
Within = Annotated[Number, Field(gt=-1, lt=1)]


class ImpossibleOutcomeError(ValueError):
    """An outcome that cannot be: where in the file under its id, why, and what to do."""

    def __init__(self, why: str, remedy: str, *, of_effect: bool = False) -> None:
        super().__init__(why)
        self.remedy, self.of_effect = remedy, of_effect


class Correlation(OneOf):
    """How measurements of one patient at different times correlate."""

    model_config = one_of(
        "exchangeable",
        "autoregressive",
        "matrix",
        remedy="Write for example {autoregressive: 0.7}.",
    )

    exchangeable: Within | None = None
    autoregressive: Within | None = None  # per step from one time to the next
    matrix: (
        Annotated[tuple[tuple[Number, ...], ...], Field(min_length=2, max_length=100)] | None
    ) = None

    def rows(self, n: int) -> tuple[Floats, ...]:
        """Return the matrix for `n` times (ImpossibleOutcomeError)."""
        if self.matrix is not None:
            if len(self.matrix) != n or any(len(row) != n for row in self.matrix):
                raise ImpossibleOutcomeError(
                    f"must have a correlation matrix of {n} x {n}, one row per time",
                    "Add or remove rows.",
                )
            if any(
                abs(self.matrix[i][j] - self.matrix[j][i]) > 1e-12 or abs(self.matrix[i][i] - 1) > 0
                for i in range(n)
                for j in range(n)
            ):
                raise ImpossibleOutcomeError(
                    "must have a symmetric correlation matrix with 1 on its diagonal",
                    "Write each correlation twice, above and below the diagonal.",
                )
            return self.matrix
        step, same = self.autoregressive, self.exchangeable
        return tuple(
            tuple(
                1.0 if i == j else (same if step is None else step ** abs(i - j)) or 0.0
                for j in range(n)
            )
            for i in range(n)
        )


class ImbalanceSeen(Frozen):
    """Means at entry that differed in a published trial, as a result of its record.

    `change` names the result with the change from entry that the trial published.
    """

    source: Id
    result: Id
    change: Id | None = None
    patients_per_arm: Annotated[Whole, Field(ge=2, le=10_000)]
    note: Text | None = None


class Baseline(Frozen):
    """The same measurement before treatment, and its correlation with every later one.

    Without one stated, 0.5 (assumed). With `at_most` or `at_least` only patients with such a
    baseline are eligible; means and SDs are those of everybody before that cut.
    """

    mean: Number | None = None
    sd: Positive | None = None
    geometric_mean: Positive | None = None
    geometric_sd: Annotated[Number, Field(gt=1)] | None = None
    correlation: Within = 0.5
    at_most: Number | None = None
    at_least: Number | None = None
    imbalance_seen: ImbalanceSeen | None = None


class Quotient(Frozen):
    """Two log-normal measurements, one divided by the other (CD4:CD8)."""

    numerator: Lognormal
    denominator: Lognormal
    correlation: Within = 0.0  # of the two logarithms


class Lognormal(Frozen):
    """A log-normal measurement."""

    geometric_mean: Positive
    geometric_sd: Annotated[Number, Field(gt=1)]


Quotient.model_rebuild()


class Measured(OneOf):
    """A measurement in the control arm: one mean and SD, or one per time of the endpoint.

    On the log scale geometric means and geometric standard deviations (2: within a factor of 2).
    `lost_per_visit` leave for good before each time after the first, whatever was measured; nobody
    unless stated. Times correlate by 0.5 unless stated (assumed).
    """

    model_config = one_of(
        "mean",
        "geometric_mean",
        "quotient",
        remedy="Write {mean: 7, sd: 3}, {geometric_mean: 35, geometric_sd: 2.1} or a quotient.",
        pairs=(("mean", "sd"), ("geometric_mean", "geometric_sd")),
    )

    mean: SourcedNumber | tuple[SourcedNumber, ...] | None = None
    sd: Positive | tuple[Positive, ...] | None = None
    geometric_mean: Ratio | tuple[Ratio, ...] | None = None
    geometric_sd: Annotated[Number, Field(gt=1)] | None = None
    quotient: Quotient | None = None
    baseline: Baseline | None = None
    correlation: Correlation | None = None
    lost_per_visit: Annotated[Number, Field(ge=0, lt=1)] = 0.0


class Scored(Frozen):
    """The control arm's shares in every category, from the lowest."""

    probabilities: Annotated[tuple[Number, ...], Field(min_length=3, max_length=40)]


class DaysAlive(Frozen):
    """The control arm's risk of death, and survivors' days: a beta-binomial mean and SD."""

    death: Risk
    mean_days: Positive
    sd_days: Positive

    @model_validator(mode="before")
    @classmethod
    def _has_deaths(cls, value: Any) -> Any:
        death = value.get("death") if isinstance(value, dict) else None
        stated = death.get("value") if isinstance(death, dict) else death
        if isinstance(value, dict) and (not stated or stated == 0):
            raise broken(
                "has no deaths, and a score with death as its worst value needs them",
                "Add death: 0.24, or use an endpoint of kind ordinal or continuous.",
            )
        return value


class Counted(Frozen):
    """The control arm's rate; the variance of a count is ``mean + dispersion * mean**2``.

    Unless stated counts are Poisson's, dispersion 0, and nobody is lost (assumed).
    """

    rate_per_year: Rate
    dispersion: Annotated[Number, Field(ge=0, le=100)] = 0.0
    lost_per_year: Rate = Rate(value=0.0)


class Cause(OneOf):
    """The cause-specific hazard of one event, constant or in pieces."""

    model_config = one_of("hazard_per_year", "pieces", remedy="Keep one.")

    hazard_per_year: Rate | None = None
    pieces: Annotated[tuple[HazardPiece, ...], Field(min_length=1, max_length=50)] | None = None

    @model_validator(mode="after")
    def _pieces_in_order(self) -> Self:
        ends = [piece.until.days if piece.until else None for piece in self.pieces or ()]
        stated = [end for end in ends[:-1] if end]
        if ends and (ends[-1] is not None or stated != sorted(set(stated)) or None in ends[:-1]):
            raise broken(
                "must have pieces that end one after another, the last without 'until'",
                "Write [{until: 4 mo, hazard_per_year: 0.5}, {hazard_per_year: 1}].",
            )
        return self

    @property
    def in_words(self) -> str:
        """The hazard per year, piece by piece."""
        if self.hazard_per_year is not None:
            return f"{self.hazard_per_year.value:g}"
        return ", then ".join(
            f"{piece.hazard_per_year.value:g}" + (f" until {piece.until}" if piece.until else "")
            for piece in self.pieces or ()
        )

    def per_day(self, ratio: float) -> tuple[Floats, Floats]:
        """Return breaks in days and hazards per day, times a ratio."""
        if self.pieces is None:
            assert self.hazard_per_year is not None
            return (), (self.hazard_per_year.value * ratio / DAYS_PER_YEAR,)
        breaks = tuple(piece.until.days for piece in self.pieces if piece.until)
        return breaks, tuple(p.hazard_per_year.value * ratio / DAYS_PER_YEAR for p in self.pieces)


class Competing(Frozen):
    """The control arm's cause-specific hazards of the event and of the competing one.

    Nobody is lost unless stated (assumed).
    """

    event: Cause
    competing: Cause
    lost_per_year: Rate = Rate(value=0.0)


class FurtherRisk(Frozen):
    """The control arm's risk of a binary endpoint that is not the primary one.

    `treated` is the other arm's, in every scenario that states no effect: of safety endpoints only.
    """

    risk: Risk
    treated: Risk | None = None


@dataclass(frozen=True)
class Form:
    """How a file states an endpoint of one kind.

    Attributes
    ----------
    model : type
        Of the control arm, under ``nature.outcomes.<id>``.
    marks : tuple of str
        Keys that tell the model from all others; the first names it in the union.
    example : str
        Of the model, for remedies.
    effects : tuple of str
        Keys of `OutcomeEffect` that may be stated of it.
    """

    model: type[Frozen]
    marks: tuple[str, ...]
    example: str
    effects: tuple[str, ...]


FORMS: dict[type, Form] = {
    BinaryEndpoint: Form(
        FurtherRisk, ("risk",), "{risk: 0.3}", ("odds_ratio", "risk_ratio", "risk_difference")
    ),
    ContinuousEndpoint: Form(
        Measured,
        ("mean", "geometric_mean", "quotient"),
        "{mean: 7, sd: 3}",
        ("mean_difference", "ratio_of_geometric_means"),
    ),
    OrdinalEndpoint: Form(
        Scored, ("probabilities",), "{probabilities: [0.2, 0.3, 0.5]}", ("odds_ratio",)
    ),
    DaysAliveEndpoint: Form(
        DaysAlive,
        ("death", "mean_days"),
        "{death: 0.24, mean_days: 18, sd_days: 8}",
        ("odds_ratio",),
    ),
    CountEndpoint: Form(
        Counted, ("rate_per_year",), "{rate_per_year: 1.2, dispersion: 0.5}", ("rate_ratio",)
    ),
    CompetingEndpoint: Form(
        Competing,
        ("competing",),
        "{event: {hazard_per_year: 1}, competing: {hazard_per_year: 0.2}}",
        ("hazard_ratio", "competing_hazard_ratio"),
    ),
    TimeToEventEndpoint: Form(
        FurtherLifetime,
        ("median", "hazard_per_year", "survives", "pieces"),
        "{median: 12 mo}",
        ("hazard_ratio",),
    ),
}


def _by_key(value: Any) -> str:
    for form in FORMS.values():
        if any(
            key in value if isinstance(value, dict) else hasattr(value, key) for key in form.marks
        ):
            return f"<{form.marks[0]}>"
    return "<mean>"


AnyOutcome = Annotated[
    Annotated[Measured, Tag("<mean>")]
    | Annotated[Scored, Tag("<probabilities>")]
    | Annotated[DaysAlive, Tag("<death>")]
    | Annotated[Counted, Tag("<rate_per_year>")]
    | Annotated[Competing, Tag("<competing>")]
    | Annotated[FurtherRisk, Tag("<risk>")]
    | Annotated[FurtherLifetime, Tag("<median>")],
    Discriminator(_by_key),
]


_ONE_SCALE = (
    "mean_difference",
    "ratio_of_geometric_means",
    "odds_ratio",
    "risk_ratio",
    "risk_difference",
    "rate_ratio",
)
_TWO_EVENTS = ("hazard_ratio", "competing_hazard_ratio")
_ONE_EFFECT: list[Any] = [
    *({"required": [key]} for key in _ONE_SCALE),
    {"anyOf": [{"required": [key]} for key in _TWO_EVENTS]},
]


class OutcomeEffect(Frozen):
    """What treatment does to one endpoint, under the key that says on which scale.

    Means may state one number for all times or one per time. A cause-specific hazard ratio may
    stand with that of the competing event, which is 1 unless stated.
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": _ONE_EFFECT})

    mean_difference: SourcedNumber | tuple[SourcedNumber, ...] | None = None
    ratio_of_geometric_means: Ratio | tuple[Ratio, ...] | None = None
    odds_ratio: Ratio | None = None
    risk_ratio: Ratio | None = None
    risk_difference: Difference | None = None
    rate_ratio: Ratio | None = None
    hazard_ratio: Ratio | None = None
    competing_hazard_ratio: Ratio | None = None

    @model_validator(mode="after")
    def _one_scale(self) -> Self:
        if len(self.stated) != 1 and set(self.stated) != set(_TWO_EVENTS):
            raise broken("must state one effect on one scale", "Keep one of its keys.")
        return self

    @property
    def stated(self) -> tuple[str, ...]:
        """The keys in the file."""
        return tuple(n for n in type(self).model_fields if getattr(self, n) is not None)

    @property
    def number(self) -> SourcedNumber:
        """The number the effect rests on; the last of several."""
        own: Any = getattr(self, self.stated[0])
        found: SourcedNumber = own[-1] if isinstance(own, tuple) else own
        return found

    @property
    def label(self) -> str:
        """The effect in a few words."""
        words = {
            "mean_difference": "MD",
            "ratio_of_geometric_means": "GMR",
            "odds_ratio": "OR",
            "risk_ratio": "RR",
            "risk_difference": "RD",
            "rate_ratio": "rate ratio",
            "hazard_ratio": "HR",
            "competing_hazard_ratio": "competing HR",
        }
        name = self.stated[0]
        sign = "+" if name.endswith("difference") else ""
        digits = "g" if sign else ".2f"
        return f"{words[name]} {self.number.value:{sign}{digits}}"


class Correlated(Frozen):
    """How endpoints, intercurrent events and latent severity correlate on the latent normal scale.

    High is a larger measurement, a higher category, more events, and the event itself of a risk;
    of a time to an event it is a later one, of a response or an intercurrent event an earlier one.
    """

    between: tuple[Id, Id]
    value: Within
    source: Id | None = None


# -- resolved ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RiskTruth:
    """Marginal risks of a binary endpoint."""

    control: float
    treated: float

    @property
    def arms(self) -> tuple[float, float]:
        """What each arm shows: its risk."""
        return self.control, self.treated

    unit = "per patient"

    @property
    def is_null(self) -> bool:
        """Whether treatment changes nothing."""
        return self.control == self.treated


@dataclass(frozen=True)
class Selection:
    """Who is eligible by a baseline, and what that is to a measurement.

    Attributes
    ----------
    window : (least, most)
        Standardised baselines that are eligible.
    loadings : (baseline, read-out)
        Correlations of a measurement's own baseline and read-out with the one that selects.
    correlation : float or None
        Of the two measurements, at baseline as at the read-out; None where it is its own baseline.
    """

    window: tuple[float, float]
    loadings: tuple[float, float]
    correlation: float | None = None


@dataclass(frozen=True)
class MeasuredTruth:
    """Normal measurements, of logarithms where `log`.

    Attributes
    ----------
    control, treated, sds : tuple of float, one per time
    baseline : (mean, sd) or None
    correlation : tuple of tuples
        Of all times; baseline first where there is one.
    lost_per_visit : float
    log : bool
    unit : str
    selection : Selection or None
        Means and SDs are those before it.
    """

    control: Floats
    treated: Floats
    sds: Floats
    baseline: tuple[float, float] | None
    correlation: tuple[Floats, ...]
    lost_per_visit: float
    log: bool
    unit: str
    selection: Selection | None = None

    def moved(self, *, change: bool) -> float:
        """Return how far selection moves the mean at the read-out, or of the change from baseline.

        The latter is regression to the mean: ``(rho sd1 / sd0 - 1) (E[baseline | eligible] -
        mean)`` (James 1973, Biometrics 29:121-130; Davis 1976, American Journal of Epidemiology
        104:493-498, there with one SD).
        """
        if self.selection is None:
            return 0.0
        return self._slope(change) * truncated_moments(*self.selection.window)[0]

    def spread(self, *, change: bool) -> float:
        """Return the SD at the read-out, or of the change from baseline, among the eligible."""
        variance = self.sds[-1] ** 2
        if change and self.baseline:
            shared = self.correlation[0][-1] * self.sds[-1] * self.baseline[1]
            variance += self.baseline[1] ** 2 - 2 * shared
        if self.selection:
            lost = 1 - truncated_moments(*self.selection.window)[1]
            variance -= self._slope(change) ** 2 * lost
        return sqrt(variance)

    def _slope(self, change: bool) -> float:
        """Per standard deviation of the baseline that selects."""
        assert self.selection is not None
        baseline, read_out = self.selection.loadings
        slope = read_out * self.sds[-1]
        return slope - baseline * self.baseline[1] if change and self.baseline else slope

    @property
    def arms(self) -> tuple[float, float]:
        """Mean, or geometric mean, at the read-out, of the eligible."""
        moved = self.moved(change=False)
        both = self.control[-1] + moved, self.treated[-1] + moved
        return (exp(both[0]), exp(both[1])) if self.log else both

    @property
    def is_null(self) -> bool:
        """Whether treatment changes nothing."""
        return self.control == self.treated

    def theta(self, summary: OutcomeSummary) -> float:
        """Return the true effect on the analysis scale."""
        del summary
        return self.treated[-1] - self.control[-1]


@dataclass(frozen=True)
class OrderedTruth:
    """Shares in ordered categories, lowest first; of `days` death, then 0, 1, ... days."""

    control: Floats
    treated: Floats
    odds_ratio: float
    days: bool

    @property
    def arms(self) -> tuple[float, float]:
        """Mean category, from 0; of days alive and free, mean days with death as 0."""
        first = 1 if self.days else 0  # death counts no day
        both = [
            sum(p * max(k - first, 0) for k, p in enumerate(arm))
            for arm in (self.control, self.treated)
        ]
        return both[0], both[1]

    @property
    def unit(self) -> str:
        """What the mean counts."""
        return "days, death as 0" if self.days else "mean category, from 0"

    @property
    def is_null(self) -> bool:
        """Whether treatment changes nothing."""
        return self.control == self.treated

    def theta(self, summary: OutcomeSummary) -> float:
        """Return the true effect on the analysis scale."""
        if summary is OutcomeSummary.COMMON_ODDS_RATIO:
            return log(self.odds_ratio)
        if self.is_null:
            return 0.0
        net = 0.0
        for k, treated in enumerate(self.treated):
            net += treated * (sum(self.control[:k]) - sum(self.control[k + 1 :]))
        return net


@dataclass(frozen=True)
class CountTruth:
    """Rates per day, dispersion of a patient's count, loss per day, and days of follow-up."""

    control: float
    treated: float
    dispersion: float
    loss: float
    days: float

    unit = "per patient-year"

    @property
    def arms(self) -> tuple[float, float]:
        """Events per patient-year."""
        return self.control * DAYS_PER_YEAR, self.treated * DAYS_PER_YEAR

    @property
    def is_null(self) -> bool:
        """Whether treatment changes nothing."""
        return self.control == self.treated

    def theta(self, summary: OutcomeSummary) -> float:
        """Return the true effect on the analysis scale."""
        del summary
        return log(self.treated / self.control)


@dataclass(frozen=True)
class CompetingTruth:
    """Cause-specific hazards per day: (breaks, hazards) of event and competing event per arm.

    Attributes
    ----------
    event, competing : (control, treated), each (breaks, hazards)
    hazard_ratio : float
        Of the event, cause-specific.
    loss : float
        Hazard per day.
    day : float
        Of the read-out; follow-up ends there.
    treated_share : float
        Of the patients: what a subdistribution hazard ratio converges to depends on it.
    """

    event: tuple[tuple[Floats, Floats], tuple[Floats, Floats]]
    competing: tuple[tuple[Floats, Floats], tuple[Floats, Floats]]
    hazard_ratio: float
    loss: float
    day: float
    treated_share: float

    unit = "per patient"

    @property
    def arms(self) -> tuple[float, float]:
        """Cumulative incidence of the event at the read-out."""
        return self._incidence(0)[-1], self._incidence(1)[-1]

    @property
    def is_null(self) -> bool:
        """Whether treatment changes nothing."""
        return self.event[0] == self.event[1] and self.competing[0] == self.competing[1]

    def theta(self, summary: OutcomeSummary) -> float:
        """Return the true effect on the analysis scale.

        The subdistribution hazard ratio is what the Fine-Gray estimate converges to: the root of
        its expected score, with weights that undo loss (Fine and Gray 1999, eq. 5).
        """
        if self.is_null:
            return 0.0
        if summary is OutcomeSummary.CAUSE_SPECIFIC_HAZARD_RATIO:
            return log(self.hazard_ratio)
        control, treated = self._incidence(0), self._incidence(1)
        if summary is OutcomeSummary.INCIDENCE_DIFFERENCE:
            return treated[-1] - control[-1]
        return limiting_log_ratio(control, treated, self.treated_share, self.loss * self.day)

    def _incidence(self, arm: int) -> Floats:
        """Cumulative incidence of the event on a grid of days up to the read-out."""
        days = [self.day * k / GRID for k in range(GRID + 1)]
        breaks = {*self.event[arm][0], *self.competing[arm][0]}
        grid = sorted({*days, *(b for b in breaks if b < self.day)})
        found, free = {0.0: 0.0}, 1.0
        incidence = 0.0
        for start, end in pairwise(grid):
            h1, h2 = (_hazard_at(own[arm], start) for own in (self.event, self.competing))
            lost = -expm1(-(h1 + h2) * (end - start))
            incidence += free * lost * h1 / (h1 + h2) if h1 + h2 else 0.0
            free *= 1 - lost
            found[end] = incidence
        return tuple(found[day] for day in days)


_LEAST_SHARE = 1e-6  # eligible or left out: below this a cut is taken for a slip


def truncated_moments(least: float, most: float) -> tuple[float, float]:
    """Return mean and variance of a standard normal number between two limits.

    Johnson, Kotz and Balakrishnan (1994), Continuous Univariate Distributions 1, chapter 13.
    """
    share = normal_share(least, most)
    at = [0.0 if abs(z) == inf else exp(-(z**2) / 2) / sqrt(2 * pi) for z in (least, most)]
    edges = [0.0 if abs(z) == inf else z * d for z, d in zip((least, most), at, strict=True)]
    mean = (at[0] - at[1]) / share
    return mean, 1 + (edges[0] - edges[1]) / share - mean**2


def normal_share(least: float, most: float) -> float:
    """Return the probability of a standard normal number between two limits."""
    if least > 0:  # in the tail whose digits are kept
        least, most = -most, -least
    return (erfc(-most / sqrt(2)) - erfc(-least / sqrt(2))) / 2


OutcomeTruth = (
    RiskTruth | MeasuredTruth | OrderedTruth | CountTruth | CompetingTruth | LifetimeTruth
)


def _hazard_at(curve: tuple[Floats, Floats], day: float) -> float:
    breaks, hazards = curve
    return hazards[sum(day >= b for b in breaks)]


def correlation_matrix(names: Sequence[str], stated: Sequence[Correlated]) -> tuple[Floats, ...]:
    """Return the latent correlations of some endpoints and severity; 0 where nothing is stated."""
    by_pair = {frozenset(pair.between): pair.value for pair in stated}
    return tuple(
        tuple(1.0 if a == b else by_pair.get(frozenset((a, b)), 0.0) for b in names) for a in names
    )


def cholesky(rows: Sequence[Sequence[float]]) -> tuple[Floats, ...] | None:
    """Return the lower root of a matrix; None where it is not positive definite."""
    n = len(rows)
    root = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            rest = rows[i][j] - sum(root[i][k] * root[j][k] for k in range(j))
            if i == j:
                if rest <= 1e-10:
                    return None
                root[i][i] = sqrt(rest)
            else:
                root[i][j] = rest / root[j][j]
    return tuple(tuple(row) for row in root)


def outcome_truth(
    endpoint: SimulatedEndpoint,
    model: Any,
    effect: OutcomeEffect | None,
    therapy: Duration | None,
    treated_share: float,
) -> OutcomeTruth:
    """Resolve one endpoint under one scenario.

    Raises
    ------
    ImpossibleOutcomeError
        Where model or effect does not belong to the endpoint's kind, or cannot be.
    """
    day = endpoint.read_out.days_after_entry(therapy)
    kind, form = endpoint.kind, FORMS.get(type(endpoint))
    if form is None:
        raise ImpossibleOutcomeError(
            f"is of kind {kind}, which has no outcome of its own beside the primary endpoint",
            "Remove it.",
        )
    if not isinstance(model, form.model):
        raise ImpossibleOutcomeError(
            f"does not state an endpoint of kind {kind}", f"Write for example {form.example}."
        )
    if effect and not set(effect.stated) <= set(form.effects):
        raise ImpossibleOutcomeError(
            f"must be {' or '.join(form.effects)} for an endpoint of kind {kind}",
            f"Write for example {{{form.effects[0]}: ...}}.",
            of_effect=True,
        )
    match model:
        case FurtherRisk():
            return _risk_truth(model, effect)
        case Measured():
            assert isinstance(endpoint, ContinuousEndpoint)
            return _measured_truth(endpoint, model, effect)
        case Scored():
            assert isinstance(endpoint, OrdinalEndpoint)
            return _scored_truth(endpoint, model, effect)
        case DaysAlive():
            days = _days_alive(model, round(day))
            return _shifted(days, effect, days=True)
        case Counted():
            return _count_truth(model, effect, day)
        case FurtherLifetime():
            assert isinstance(endpoint, TimeToEventEndpoint)
            return _lifetime_truth(endpoint, model, effect, day, treated_share)
        case _:
            assert isinstance(model, Competing)
            return _competing_truth(model, effect, day, treated_share)


def _risk_truth(model: FurtherRisk, effect: OutcomeEffect | None) -> RiskTruth:
    control = treated = model.risk.value
    if effect and effect.odds_ratio:
        odds = effect.odds_ratio.value * control / (1 - control)
        treated = odds / (1 + odds) if effect.odds_ratio.value != 1 else control
    elif effect and effect.risk_ratio:
        treated = control * effect.risk_ratio.value
    elif effect and effect.risk_difference:
        treated = control + effect.risk_difference.value
    if not 0 < treated < 1:
        raise ImpossibleOutcomeError(
            f"takes a risk of {control:g} to {treated:.4g}, which is not between 0 and 1",
            "Use a smaller effect.",
            of_effect=True,
        )
    return RiskTruth(control, treated)


def _measured_truth(
    endpoint: ContinuousEndpoint, model: Measured, effect: OutcomeEffect | None
) -> MeasuredTruth:
    n, log_scale = len(endpoint.at), endpoint.scale is MeasuredScale.LOG
    if log_scale:
        means, sds = _logarithms(model, n)
    else:
        if model.mean is None or model.sd is None:
            raise ImpossibleOutcomeError(
                "must state 'mean' and 'sd' on a plain scale",
                "Write {mean: 7, sd: 3}, or scale: log on the endpoint.",
            )
        means, sds = _values(model.mean, n, "mean"), _values(model.sd, n, "sd")
    change = (0.0,) * n
    if effect:
        stated = effect.ratio_of_geometric_means if log_scale else effect.mean_difference
        if stated is None:
            key = "ratio_of_geometric_means" if log_scale else "mean_difference"
            raise ImpossibleOutcomeError(
                f"must be {key} on this endpoint's scale", "Use that key.", of_effect=True
            )
        change = _values(stated, n, "effect", of_effect=True)
        change = tuple(log(ratio) for ratio in change) if log_scale else change
    baseline = _baseline(model.baseline, log_scale)
    if endpoint.analysis.needs_baseline and baseline is None:
        raise ImpossibleOutcomeError(
            f"needs 'baseline' for the analysis '{endpoint.analysis}'",
            "Write baseline: {mean: 8, sd: 3, correlation: 0.5}.",
        )
    rows = (model.correlation or Correlation(exchangeable=0.5)).rows(n)
    if model.baseline and baseline:
        r = model.baseline.correlation
        rows = ((1.0, *(r,) * n), *((r, *row) for row in rows))
    if cholesky(rows) is None:
        raise ImpossibleOutcomeError(
            "must have correlations that can be together (a positive definite matrix)",
            "Bring them nearer to each other, or nearer to 0.",
        )
    return MeasuredTruth(
        means,
        tuple(m + d for m, d in zip(means, change, strict=True)),
        sds,
        baseline,
        rows,
        model.lost_per_visit,
        log_scale,
        endpoint.unit,
        _selection(model.baseline, baseline, log_scale),
    )


def selected_together(
    outcomes: Sequence[tuple[str, OutcomeTruth]], correlations: Sequence[Correlated]
) -> tuple[tuple[str, OutcomeTruth], ...]:
    """Carry the selection by one measurement's baseline to what correlates with it."""
    by_own = {n: t for n, t in outcomes if isinstance(t, MeasuredTruth) and t.selection}
    if not by_own:
        return tuple(outcomes)
    name, truth = next(iter(by_own.items()))
    assert truth.selection is not None
    by_pair = {frozenset(pair.between): pair.value for pair in correlations}
    found: list[tuple[str, OutcomeTruth]] = []
    for other, own in outcomes:
        value = by_pair.get(frozenset((name, other)), 0.0) if other != name else 0.0
        if value and isinstance(own, MeasuredTruth):
            read_out, baseline = value * truth.correlation[0][-1], 0.0
            if own.baseline:
                baseline = read_out * own.correlation[0][-1]
                baseline += value * _own_part(truth) * _own_part(own)
            carried = Selection(truth.selection.window, (baseline, read_out), value)
            own = replace(own, selection=carried)
        found.append((other, own))
    return tuple(found)


def _own_part(truth: MeasuredTruth) -> float:
    """Return the weight in a baseline of what no later time shares."""
    root = cholesky([row[::-1] for row in reversed(truth.correlation)])
    assert root is not None  # checked on loading
    return root[-1][-1]


def _selection(
    stated: Baseline | None, baseline: tuple[float, float] | None, log_scale: bool
) -> Selection | None:
    """Return who is eligible by a baseline of its own."""
    cuts = (stated.at_least, stated.at_most) if stated else (None, None)
    if baseline is None or cuts == (None, None):
        return None
    limits = []
    for cut, without in zip(cuts, (-inf, inf), strict=True):
        if cut is not None and log_scale and cut <= 0:
            raise ImpossibleOutcomeError(
                "must cut its baseline above 0 on the log scale", "Write it in the unit itself."
            )
        value = without if cut is None else log(cut) if log_scale else cut
        limits.append((value - baseline[0]) / baseline[1])
    least, most = limits
    share = normal_share(least, most) if least < most else 0.0
    if share < _LEAST_SHARE:
        raise ImpossibleOutcomeError(
            "leaves nobody eligible: fewer than one in a million has such a baseline",
            "Move at_most or at_least nearer to the baseline's mean.",
        )
    if share > 1 - _LEAST_SHARE:
        raise ImpossibleOutcomeError(
            "has a baseline cut that leaves out nobody: fewer than one in a million",
            "Move at_most or at_least nearer to the baseline's mean, or remove it.",
        )
    assert stated is not None
    return Selection((least, most), (1.0, stated.correlation))


def _values(stated: Any, n: int, name: str, *, of_effect: bool = False) -> Floats:
    several: tuple[Any, ...] = stated if isinstance(stated, tuple) else (stated,) * n
    if len(several) != n:
        raise ImpossibleOutcomeError(
            f"must have one {name}, or one for each of the {n} times",
            "Add or remove some.",
            of_effect=of_effect,
        )
    return tuple(float(getattr(item, "value", item)) for item in several)


def _logarithms(model: Measured, n: int) -> tuple[Floats, Floats]:
    if model.quotient:
        q = model.quotient
        s1, s2 = log(q.numerator.geometric_sd), log(q.denominator.geometric_sd)
        centre = log(q.numerator.geometric_mean / q.denominator.geometric_mean)
        sd = sqrt(s1**2 + s2**2 - 2 * q.correlation * s1 * s2)
        return (centre,) * n, (sd,) * n
    if model.geometric_mean is None or model.geometric_sd is None:
        raise ImpossibleOutcomeError(
            "must state 'geometric_mean' and 'geometric_sd', or 'quotient', on the log scale",
            "Write {geometric_mean: 35, geometric_sd: 2.1}.",
        )
    means = _values(model.geometric_mean, n, "geometric mean")
    return tuple(log(m) for m in means), (log(model.geometric_sd),) * n


def _baseline(stated: Baseline | None, log_scale: bool) -> tuple[float, float] | None:
    if stated is None:
        return None
    plain, logs = (stated.mean, stated.sd), (stated.geometric_mean, stated.geometric_sd)
    own, other = (logs, plain) if log_scale else (plain, logs)
    if None in own or other != (None, None):
        keys = "'geometric_mean' and 'geometric_sd'" if log_scale else "'mean' and 'sd'"
        raise ImpossibleOutcomeError(f"must state {keys} of its baseline", "Use these two.")
    centre, spread = own
    assert centre is not None
    assert spread is not None
    return (log(centre), log(spread)) if log_scale else (centre, spread)


def _scored_truth(
    endpoint: OrdinalEndpoint, model: Scored, effect: OutcomeEffect | None
) -> OrderedTruth:
    shares = model.probabilities
    if len(shares) != len(endpoint.categories):
        raise ImpossibleOutcomeError(
            f"must have a probability for each of the {len(endpoint.categories)} categories",
            "Add or remove some.",
        )
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ImpossibleOutcomeError(
            f"must have probabilities from 0 that add up to 1, not {sum(shares):.8g}",
            "Change one of them by the rest.",
        )
    return _shifted(shares, effect, days=False)


def _shifted(shares: Floats, effect: OutcomeEffect | None, *, days: bool) -> OrderedTruth:
    """Return both arms' shares; the odds of every higher category change by the odds ratio."""
    ratio = effect.odds_ratio.value if effect and effect.odds_ratio else 1.0
    if ratio == 1:
        return OrderedTruth(shares, shares, 1.0, days)
    above = [sum(shares[k:]) for k in range(1, len(shares))]
    moved = [1.0, *(ratio * p / (1 - p + ratio * p) for p in above), 0.0]
    treated = tuple(max(0.0, a - b) for a, b in pairwise(moved))
    return OrderedTruth(shares, treated, ratio, days)


def _days_alive(model: DaysAlive, most: int) -> Floats:
    """Return the shares dead and with 0, 1, ... days: beta-binomial among survivors."""
    p, variance = model.mean_days / most, model.sd_days**2
    least = most * p * (1 - p)  # of a binomial
    overlap = (variance / least - 1) / (most - 1) if 0 < p < 1 and most > 1 else -1
    if not 0 < p < 1 or not 0 < overlap < 1:
        raise ImpossibleOutcomeError(
            f"must have mean and SD that days from 0 to {most} can have: a mean of "
            f"{model.mean_days:g} goes with an SD from {sqrt(max(least, 0)):.2f} to "
            f"{sqrt(max(least * most, 0)):.2f}",
            "Change mean_days or sd_days.",
        )
    a, b = p * (1 / overlap - 1), (1 - p) * (1 / overlap - 1)
    logs = [
        lgamma(most + 1)
        - lgamma(k + 1)
        - lgamma(most - k + 1)
        + lgamma(k + a)
        + lgamma(most - k + b)
        - lgamma(most + a + b)
        + lgamma(a + b)
        - lgamma(a)
        - lgamma(b)
        for k in range(most + 1)
    ]
    alive = 1 - model.death.value
    shares = [model.death.value, *(alive * exp(own) for own in logs)]
    assert isfinite(sum(shares))
    return tuple(share / sum(shares) for share in shares)


def _count_truth(model: Counted, effect: OutcomeEffect | None, day: float) -> CountTruth:
    rate = model.rate_per_year.value / DAYS_PER_YEAR
    if rate <= 0:
        raise ImpossibleOutcomeError(
            "must have a rate above 0", "Write events per patient-year, for example 1.2."
        )
    ratio = effect.rate_ratio.value if effect and effect.rate_ratio else 1.0
    loss = model.lost_per_year.value / DAYS_PER_YEAR
    return CountTruth(rate, rate * ratio, model.dispersion, loss, day)


def _lifetime_truth(
    endpoint: TimeToEventEndpoint,
    model: FurtherLifetime,
    effect: OutcomeEffect | None,
    day: float,
    treated_share: float,
) -> LifetimeTruth:
    if getattr(endpoint.analysis, "stratified", False):
        raise ImpossibleOutcomeError(
            "asks for a stratified test, which only the primary endpoint has yet",
            "Remove 'stratified' from its analysis.",
        )
    followed = endpoint.followed_for.days if endpoint.followed_for else day
    match endpoint.analysis:
        case MilestoneTest(at=until) | RestrictedMeanTest(until=until):
            last = until.days
        case _:
            last = followed
    if last > followed:
        raise ImpossibleOutcomeError(
            f"is read on day {last:g}, after the end of follow-up on day {followed:g}",
            "Follow patients for longer (followed_for), or read earlier.",
        )
    try:
        control = model.curve
    except ImpossibleLifetimeError as why:
        raise ImpossibleOutcomeError(str(why), "Write for example {median: 12 mo}.") from None
    if max(control.rates) <= 0:
        raise ImpossibleOutcomeError(
            "must have a hazard above 0", "Write events per year at risk, for example 1."
        )
    ratio = effect.hazard_ratio.value if effect and effect.hazard_ratio else 1.0
    treated = control.times(((followed, ratio),)) if ratio != 1 else control
    loss = model.lost_per_year.value / DAYS_PER_YEAR
    return LifetimeTruth(control, treated, ratio, loss, day, followed, last, treated_share)


def _competing_truth(
    model: Competing, effect: OutcomeEffect | None, day: float, treated_share: float
) -> CompetingTruth:
    ratio = effect.hazard_ratio.value if effect and effect.hazard_ratio else 1.0
    other = 1.0
    if effect and effect.competing_hazard_ratio:
        other = effect.competing_hazard_ratio.value
    event = model.event.per_day(1.0), model.event.per_day(ratio)
    competing = model.competing.per_day(1.0), model.competing.per_day(other)
    if max(event[0][1]) <= 0:
        raise ImpossibleOutcomeError(
            "must have a hazard above 0 of the event",
            "Write events per year at risk, for example 1.",
        )
    loss = model.lost_per_year.value / DAYS_PER_YEAR
    return CompetingTruth(event, competing, ratio, loss, day, treated_share)
