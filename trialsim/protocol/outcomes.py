"""What nature decides about measurements, scores, counts and further risks: ``outcomes:``.

``nature.outcomes`` states the control arm by endpoint id, ``outcomes`` of a scenario what treatment
does to it. Resolved, each is a frozen truth; pure Python, so that ``check`` can tell an impossible
one. Effects are marginal: whatever patients share, each arm as a whole is as stated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, expm1, isfinite, lgamma, log, sqrt
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    CompetingEndpoint,
    ContinuousEndpoint,
    CountEndpoint,
    DaysAliveEndpoint,
    MeasuredScale,
    OrdinalEndpoint,
    OutcomeSummary,
    SimulatedEndpoint,
)
from trialsim.protocol.quantities import (
    Difference,
    Duration,
    Frozen,
    Id,
    Number,
    Rate,
    Ratio,
    Risk,
    SourcedNumber,
    broken,
    one_of,
)
from trialsim.protocol.survival import DAYS_PER_YEAR, HazardPiece

__all__ = [
    "AnyOutcome",
    "CompetingTruth",
    "Correlated",
    "CountTruth",
    "ImpossibleOutcomeError",
    "MeasuredTruth",
    "OrderedTruth",
    "OutcomeEffect",
    "OutcomeTruth",
    "RiskTruth",
    "cholesky",
    "correlation_matrix",
    "outcome_truth",
]

Floats = tuple[float, ...]
Positive = Annotated[Number, Field(gt=0)]
Within = Annotated[Number, Field(gt=-1, lt=1)]
_GRID = 400  # steps of an integral over time; agreement 1e-5 with 4,000 on a log ratio


class ImpossibleOutcomeError(ValueError):
    """An outcome that cannot be: where in the file under its id, why, and what to do."""

    def __init__(self, why: str, remedy: str, *, of_effect: bool = False) -> None:
        super().__init__(why)
        self.remedy, self.of_effect = remedy, of_effect


class Correlation(Frozen):
    """How measurements of one patient at different times correlate."""

    model_config = one_of("exchangeable", "autoregressive", "matrix")

    exchangeable: Within | None = None
    autoregressive: Within | None = None  # per step from one time to the next
    matrix: (
        Annotated[tuple[tuple[Number, ...], ...], Field(min_length=2, max_length=100)] | None
    ) = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        given = (self.exchangeable, self.autoregressive, self.matrix)
        if sum(item is not None for item in given) != 1:
            raise broken(
                "must have exactly one of 'exchangeable', 'autoregressive' and 'matrix'",
                "Write for example {autoregressive: 0.7}.",
            )
        return self

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


class Baseline(Frozen):
    """The same measurement before treatment, and its correlation with every later one.

    Without one stated, 0.5 (assumed).
    """

    mean: Number | None = None
    sd: Positive | None = None
    geometric_mean: Positive | None = None
    geometric_sd: Annotated[Number, Field(gt=1)] | None = None
    correlation: Within = 0.5


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


class Measured(Frozen):
    """A measurement in the control arm: one mean and SD, or one per time of the endpoint.

    On the log scale geometric means and geometric standard deviations (2: within a factor of 2).
    `lost_per_visit` leave for good before each time after the first, whatever was measured; nobody
    unless stated. Times correlate by 0.5 unless stated (assumed).
    """

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


class Cause(Frozen):
    """The cause-specific hazard of one event, constant or in pieces."""

    model_config = one_of("hazard_per_year", "pieces")

    hazard_per_year: Rate | None = None
    pieces: Annotated[tuple[HazardPiece, ...], Field(min_length=1, max_length=50)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.hazard_per_year is None) == (self.pieces is None):
            raise broken("must have exactly one of 'hazard_per_year' and 'pieces'", "Keep one.")
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
    """The control arm's risk of a binary endpoint that is not the primary one."""

    risk: Risk


_KEYS = {
    "measured": ("mean", "geometric_mean", "quotient"),
    "scored": ("probabilities",),
    "days": ("death", "mean_days"),
    "counted": ("rate_per_year",),
    "competing": ("competing",),
    "risk": ("risk",),
}


def _by_key(value: Any) -> str:
    for name, keys in _KEYS.items():
        if any(key in value if isinstance(value, dict) else hasattr(value, key) for key in keys):
            return f"<{name}>"
    return "<measured>"


AnyOutcome = Annotated[
    Annotated[Measured, Tag("<measured>")]
    | Annotated[Scored, Tag("<scored>")]
    | Annotated[DaysAlive, Tag("<days>")]
    | Annotated[Counted, Tag("<counted>")]
    | Annotated[Competing, Tag("<competing>")]
    | Annotated[FurtherRisk, Tag("<risk>")],
    Discriminator(_by_key),
]


class OutcomeEffect(Frozen):
    """What treatment does to one endpoint, under the key that says on which scale.

    Means may state one number for all times or one per time. A cause-specific hazard ratio may
    stand with that of the competing event, which is 1 unless stated.
    """

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
        if len(self.stated) != 1 and not {"hazard_ratio", "competing_hazard_ratio"} >= set(
            self.stated
        ):
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
    """

    control: Floats
    treated: Floats
    sds: Floats
    baseline: tuple[float, float] | None
    correlation: tuple[Floats, ...]
    lost_per_visit: float
    log: bool
    unit: str

    @property
    def arms(self) -> tuple[float, float]:
        """Mean, or geometric mean, at the read-out."""
        both = self.control[-1], self.treated[-1]
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
        low, high = -10.0, 10.0
        for _ in range(60):
            middle = (low + high) / 2
            if self._score(middle, control, treated) > 0:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    def _score(self, beta: float, control: Floats, treated: Floats) -> float:
        share, total = self.treated_share, 0.0
        for k in range(1, len(control)):
            d1, d0 = treated[k] - treated[k - 1], control[k] - control[k - 1]
            free1 = 1 - (treated[k] + treated[k - 1]) / 2
            free0 = 1 - (control[k] + control[k - 1]) / 2
            weight = exp(-self.loss * self.day * (k - 0.5) / (len(control) - 1))
            at_risk = share * free1 * exp(beta)
            fraction = at_risk / (at_risk + (1 - share) * free0)
            total += weight * (share * d1 - fraction * (share * d1 + (1 - share) * d0))
        return total

    def _incidence(self, arm: int) -> Floats:
        """Cumulative incidence of the event on a grid of days up to the read-out."""
        days = [self.day * k / _GRID for k in range(_GRID + 1)]
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


OutcomeTruth = RiskTruth | MeasuredTruth | OrderedTruth | CountTruth | CompetingTruth


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
    expected: dict[type, tuple[type, str, tuple[str, ...]]] = {
        BinaryEndpoint: (FurtherRisk, "{risk: 0.3}", ("odds_ratio", "risk_ratio", _RD)),
        ContinuousEndpoint: (
            Measured,
            "{mean: 7, sd: 3}",
            ("mean_difference", "ratio_of_geometric_means"),
        ),
        OrdinalEndpoint: (Scored, "{probabilities: [0.2, 0.3, 0.5]}", ("odds_ratio",)),
        DaysAliveEndpoint: (
            DaysAlive,
            "{death: 0.24, mean_days: 18, sd_days: 8}",
            ("odds_ratio",),
        ),
        CountEndpoint: (Counted, "{rate_per_year: 1.2, dispersion: 0.5}", ("rate_ratio",)),
        CompetingEndpoint: (
            Competing,
            "{event: {hazard_per_year: 1}, competing: {hazard_per_year: 0.2}}",
            ("hazard_ratio", "competing_hazard_ratio"),
        ),
    }
    kind = getattr(endpoint, "kind", "")
    if type(endpoint) not in expected:
        raise ImpossibleOutcomeError(
            f"is of kind {kind}, which has no outcome of its own beside the primary endpoint",
            "Remove it.",
        )
    wanted, example, keys = expected[type(endpoint)]
    if not isinstance(model, wanted):
        raise ImpossibleOutcomeError(
            f"does not state an endpoint of kind {kind}", f"Write for example {example}."
        )
    if effect and not set(effect.stated) <= set(keys):
        raise ImpossibleOutcomeError(
            f"must be {' or '.join(keys)} for an endpoint of kind {kind}",
            f"Write for example {{{keys[0]}: ...}}.",
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
            rate = model.rate_per_year.value / DAYS_PER_YEAR
            if rate <= 0:
                raise ImpossibleOutcomeError(
                    "must have a rate above 0", "Write events per patient-year, for example 1.2."
                )
            ratio = effect.rate_ratio.value if effect and effect.rate_ratio else 1.0
            loss = model.lost_per_year.value / DAYS_PER_YEAR
            return CountTruth(rate, rate * ratio, model.dispersion, loss, day)
        case _:
            assert isinstance(model, Competing)
            return _competing_truth(model, effect, day, treated_share)


_RD = "risk_difference"


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
    )


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
