"""Which published ratio speaks about which flaw of conduct, and which speaks about none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from trialsim.errors import Problem, RequestError
from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.published.evidence import (
    BiasEstimate,
    BiasMeasure,
    MetaEpidemiology,
    OutcomeType,
    Status,
)
from trialsim.protocol.reading.catalogue import Evidence
from trialsim.protocol.rules.conduct import names_death, of_any_cause

__all__ = [
    "SPOKEN_OF",
    "FilterTarget",
    "NotIdentified",
    "Target",
    "filter_target",
    "not_identified",
    "outcomes_of_endpoint",
    "targets",
]

_Z95 = 1.959963984540054  # published intervals are taken to be 95% ones
_HOPEWELL = "hopewell-2009"

# The flaw, the record and its estimates; several of them multiply.
_SPEAKS: tuple[tuple[Mechanism, str, tuple[str, ...]], ...] = (
    (Mechanism.FORESEEN_ALLOCATION, "brando-2012", ("sequence-{outcomes}",)),
    (Mechanism.FORESEEN_ALLOCATION, "brando-2012", ("concealment-{outcomes}",)),
    (
        Mechanism.FORESEEN_ALLOCATION,
        "brando-2012",
        ("sequence-{outcomes}", "concealment-{outcomes}"),
    ),
    (Mechanism.FORESEEN_ALLOCATION, "page-2016", ("sequence",)),
    (Mechanism.FORESEEN_ALLOCATION, "page-2016", ("concealment",)),
    (Mechanism.FORESEEN_ALLOCATION, "herbison-2011", ("plain-envelopes",)),
    (Mechanism.FORESEEN_ALLOCATION, "unverzagt-2013", ("sequence",)),
    (Mechanism.CO_INTERVENTION, "brando-2012", ("double-blinding-{outcomes}",)),
    (Mechanism.CO_INTERVENTION, "metablind-2020", ("double-blinding-all",)),
    (Mechanism.EXCLUSION, "abraha-2015", ("mitt",)),
    (Mechanism.EXCLUSION, "abraha-2015", ("mitt-adjusted",)),
    (Mechanism.ASSESSMENT, "brando-2012", ("double-blinding-{outcomes}",)),
    (Mechanism.ASSESSMENT, "page-2016", ("assessors-subjective",)),
    (Mechanism.ASSESSMENT, "metablind-2020", ("assessors-subjective",)),
)
SPOKEN_OF = (*dict.fromkeys(flaw for flaw, _, _ in _SPEAKS), Mechanism.PUBLICATION)


@dataclass(frozen=True)
class Target:
    """A published ratio of odds ratios which a flaw is to reach; below 1 the flaw flatters.

    Attributes
    ----------
    record : str
        Its id.
    estimates : tuple of BiasEstimate
        Several multiply; the interval is then as if they were independent (assumed).
    """

    mechanism: Mechanism
    record: str
    estimates: tuple[BiasEstimate, ...]

    @property
    def source(self) -> str:
        """Ids of its estimates."""
        return " x ".join(e.id for e in self.estimates)

    @property
    def ratio(self) -> float:
        """The ratio itself."""
        return exp(sum(log(e.value) for e in self.estimates))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95% interval; of one estimate as published."""
        intervals = [e.ci for e in self.estimates]
        if len(intervals) == 1 or None in intervals:
            return intervals[0] if len(intervals) == 1 else None
        widths = [log(ci[1] / ci[0]) / (2 * _Z95) for ci in intervals if ci]
        half = _Z95 * sqrt(sum(width**2 for width in widths))
        return self.ratio * exp(-half), self.ratio * exp(half)

    @property
    def kappa(self) -> float | None:
        """SD of the bias between trials, log scale; of several their sum's (independent: assumed).

        None where one of them is not published.
        """
        known = [e.kappa for e in self.estimates if e.kappa is not None]
        if len(known) < len(self.estimates):
            return None
        return sqrt(sum(kappa**2 for kappa in known))

    @property
    def status(self) -> Status:
        """Of the weakest of its estimates; a product is derived."""
        weak = [e.status for e in self.estimates if e.status.is_weak]
        if weak:
            return weak[0]
        return self.estimates[0].status if len(self.estimates) == 1 else Status.DERIVED

    @property
    def adjustment(self) -> str:
        """What the ratio is adjusted for; empty where the record does not say."""
        return self.estimates[0].adjustment or ""


@dataclass(frozen=True)
class FilterTarget:
    """What is published of positive and of negative trials, as the strength of a filter.

    Where positive trials are published with probability p and negative ones with q, published
    trials are those of a filter that publishes every positive one and q / p of the negative ones:
    its strength is 1 - q / p. An odds ratio o of being published gives q from p.
    """

    record: str
    source: str
    status: Status
    positive: float
    negative: float
    odds_ratios: tuple[float, float]  # ends of the interval

    @property
    def negative_interval(self) -> tuple[float, float]:
        """Share of negative trials published at the ends of the odds ratio, p as it is."""
        odds = [self.positive / (1 - self.positive) / ratio for ratio in self.odds_ratios]
        low, high = sorted(o / (1 + o) for o in odds)
        return low, high

    def strength(self, negative: float) -> float:
        """Return the filter's strength where so many negative trials are published."""
        return max(0.0, 1 - negative / self.positive)


@dataclass(frozen=True)
class NotIdentified:
    """A published ratio from which no strength follows, and why."""

    record: str
    estimate: BiasEstimate
    why: str


def outcomes_of_endpoint(event: str, said: str | None) -> OutcomeType:
    """Return which of BRANDO's outcomes an endpoint is.

    Death from any cause is mortality; of everything else the user has to say whether it is
    objective or subjective.

    Raises
    ------
    RequestError
        If that is not said, is no word for it, or contradicts the event.
    """
    died, any_cause = names_death(event), of_any_cause(event)
    own = [OutcomeType.OBJECTIVE, OutcomeType.SUBJECTIVE]
    if any_cause:
        own = [OutcomeType.MORTALITY]
    elif died:
        own.insert(0, OutcomeType.MORTALITY)
    if said is None:
        if any_cause:
            return OutcomeType.MORTALITY
        remedy = (
            f"Say --outcomes {', '.join(own)}: ratios are published by kind of outcome, subjective "
            "where judgement decides whether it happened, and none is taken unasked."
        )
        rule = f"is needed: '{event}' is not called death from any cause"
        raise RequestError(Problem(rule, remedy, "--outcomes"))
    word = said.strip().lower()
    if word in own:
        return OutcomeType(word)
    known = word in (OutcomeType.MORTALITY, OutcomeType.OBJECTIVE, OutcomeType.SUBJECTIVE)
    rule = f"does not fit '{event}'" if known else "is no kind of outcome ratios are published by"
    remedy = f"Write {' or '.join(own)}{', or leave it out' if any_cause else ''}."
    raise RequestError(Problem(rule, remedy, "--outcomes", f"'{said}'"))


def targets(
    mechanisms: Sequence[Mechanism],
    outcomes: OutcomeType,
    conditions: frozenset[str],
    evidence: Evidence,
) -> tuple[Target, ...]:
    """Return the ratios that speak about these flaws, for an endpoint of this kind.

    Multivariable estimates are taken before univariable ones, which stand in where no other is
    recorded; estimates by outcome are of these outcomes only.

    Parameters
    ----------
    conditions : set of str
        Of the trial's evidence: a record about one condition speaks only about this one.
    """
    found = []
    for mechanism, name, ids in _SPEAKS:
        record = evidence.records.get(name)
        if mechanism not in mechanisms or not isinstance(record, MetaEpidemiology):
            continue
        if record.condition not in ("any", *conditions):
            continue
        own = [_estimate(record, identifier, outcomes) for identifier in ids]
        several = [e for e in own if e is not None]
        if len(several) == len(ids):
            found.append(Target(mechanism, name, tuple(several)))
    return tuple(found)


def _estimate(
    record: MetaEpidemiology, identifier: str, outcomes: OutcomeType
) -> BiasEstimate | None:
    own = identifier.format(outcomes=outcomes)
    by_id = {e.id: e for e in record.estimates}
    estimate = by_id.get(own) or by_id.get(f"{own}-univariable")
    if estimate is None or estimate.outcomes not in (outcomes, OutcomeType.ALL):
        return None
    return estimate if estimate.measure is BiasMeasure.RATIO_OF_ODDS_RATIOS else None


def filter_target(mechanisms: Sequence[Mechanism], evidence: Evidence) -> FilterTarget | None:
    """Return what is published of positive and negative trials (Hopewell 2009)."""
    record = evidence.records.get(_HOPEWELL)
    if Mechanism.PUBLICATION not in mechanisms or not isinstance(record, MetaEpidemiology):
        return None
    shares = {q.id: q for q in record.quantities}
    odds = next((e for e in record.estimates if e.id == "publication-odds"), None)
    positive, negative = shares.get("positive-published"), shares.get("negative-published")
    if not (odds and odds.ci and positive and negative and positive.value and negative.value):
        return None
    return FilterTarget(
        _HOPEWELL,
        negative.id,
        negative.status,
        positive.value / 100,
        negative.value / 100,
        odds.ci,
    )


_MIX = "a mix of flaws: no strength of one of them follows"


def not_identified(
    mechanisms: Sequence[Mechanism], outcomes: OutcomeType, n_total: int, evidence: Evidence
) -> Iterator[NotIdentified]:
    """Yield ratios often quoted for such trials that identify no strength.

    Parameters
    ----------
    n_total : int
        Patients, which choose the class of trial size.
    """
    centres = "unverzagt-2013" if outcomes is OutcomeType.MORTALITY else "dechartres-2011"
    sizes = {50: "under-50", 100: "from-50-to-99", 200: "from-100-to-199", 500: "from-200-to-499"}
    sizes[1000] = "from-500-to-999"
    own = next((name for below, name in sizes.items() if n_total < below), None)
    shown = [(centres, "single-centre", _MIX), ("dechartres-2013", "quartile-1", _MIX)]
    shown += [("dechartres-2013", own, _MIX)] if own else []
    if Mechanism.UNDECLARED_LOOKS in mechanisms:
        why = "a ratio of risk ratios, stopped early v not: not trials that look v do not"
        shown.append(("bassler-2010", "truncated", why))
    for name, identifier, why in shown:
        record = evidence.records.get(name)
        if isinstance(record, MetaEpidemiology):
            yield from (NotIdentified(name, e, why) for e in record.estimates if e.id == identifier)
