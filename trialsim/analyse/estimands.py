"""One estimand of an endpoint whose patients have intercurrent events: strategy -> data -> test.

Each strategy (ICH E9(R1), A.3.2) makes of the same patients the data set its question needs; the
endpoint's own test then compares it. `potential_arms` asks the same question of everyone under
both treatments, with nothing missing: what the answer should be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse import ordered
from trialsim.analyse.binary import Columns, analyse_counts
from trialsim.analyse.contrasts import confidence_level, read_once
from trialsim.analyse.measured import compared
from trialsim.analyse.response import responding
from trialsim.generate.intercurrent import (
    CountLatent,
    EventfulBatch,
    MeasuredLatent,
    OrderedLatent,
    ResponseLatent,
    RiskLatent,
)
from trialsim.kernels.contrasts import ArmContrast, wald
from trialsim.kernels.counted import rate_ratio
from trialsim.kernels.imputation import (
    BinaryDraws,
    Covariance,
    Draws,
    Model,
    impute,
    multiply_impute_binary,
    pool,
)
from trialsim.kernels.imputation import Strategy as Reference
from trialsim.kernels.mmrm import fit_mmrm
from trialsim.kernels.ordered import counts_by_arm
from trialsim.kernels.proportions import Scale
from trialsim.protocol.endpoints import Better, MeasuredTest, MissingData, Strategy, Summary
from trialsim.protocol.intercurrent import PlannedEstimand
from trialsim.streams import Decision
from trialsim.trial import AnalysisPlan, LookResults

__all__ = [
    "Potential",
    "analyse_estimand",
    "event_shares",
    "is_analysed",
    "patients",
    "potential_arms",
    "trials_of",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_IMPUTED = 10  # of a further estimand, one trial in so many of a block is imputed
_REFERENCES = {
    MissingData.MULTIPLE_IMPUTATION: Reference.MISSING_AT_RANDOM,
    MissingData.JUMP_TO_REFERENCE: Reference.JUMP_TO_REFERENCE,
    MissingData.COPY_REFERENCE: Reference.COPY_REFERENCE,
    MissingData.COPY_INCREMENTS: Reference.COPY_INCREMENTS,
}
_SCALES = {
    Summary.ODDS_RATIO: Scale.ODDS_RATIO,
    Summary.RISK_RATIO: Scale.RISK_RATIO,
    Summary.RISK_DIFFERENCE: Scale.RISK_DIFFERENCE,
}


class _Events(NamedTuple):
    """When what matters to an estimand comes first to each patient; infinity for never.

    Attributes
    ----------
    days : dict of str to ndarray
        Of every event in this world.
    worst, until, taken_away, lost : ndarray, shape (n_patients, n_reps)
        Of composite, while on treatment and hypothetical strategies, and of loss.
    stratum : ndarray of bool, or None
        Who has none of the events of a principal stratum; None for everyone.
    """

    days: dict[str, Floats]
    worst: Floats
    until: Floats
    taken_away: Floats
    lost: Floats
    stratum: Bools | None


def _events(batch: EventfulBatch, plan: AnalysisPlan, treated: Bools, *, seen: bool) -> _Events:
    """Return what happens: as a trial sees it, or in the world the estimand is about."""
    asked = _asked(plan)
    hypothetical = asked.events(Strategy.HYPOTHETICAL)
    days = batch.days_under(treated, () if seen else hypothetical)
    never = np.full(treated.shape, np.inf)
    losses = [days[event.id] for event in batch.events if event.lost] if seen else []
    lost = np.minimum.reduce(losses) if losses else never
    if losses:  # what comes after is not seen
        days = {name: np.where(own <= lost, own, np.inf) for name, own in days.items()}

    def first(names: Sequence[str]) -> Floats:
        own = [days[name] for name in names if name in days]
        return np.minimum.reduce(own) if own else never

    stratum = None
    if excluded := asked.events(Strategy.PRINCIPAL_STRATUM):
        worlds = [days]
        if not seen:  # under either treatment
            worlds = [
                batch.days_under(np.full(treated.shape, bool(arm)), hypothetical) for arm in (0, 1)
            ]
        own = [world[name] > batch.day for world in worlds for name in excluded if name in world]
        stratum = np.logical_and.reduce(own)
    return _Events(
        days,
        first(asked.events(Strategy.COMPOSITE_VARIABLE)),
        first(asked.events(Strategy.WHILE_ON_TREATMENT)),
        first(hypothetical) if seen else never,
        lost,
        stratum,
    )


def _asked(plan: AnalysisPlan) -> PlannedEstimand:
    assert plan.estimand is not None  # or it is not asked here
    return plan.estimand


def is_analysed(plan: AnalysisPlan, replicates: Ints, block_width: int) -> Bools:
    """Whether a trial is analysed: imputing a further estimand is left to one in ten."""
    asked = plan.estimand
    if asked is None or plan.is_main or not _imputes(plan):
        return np.ones(len(replicates), dtype=bool)
    return np.asarray(replicates % block_width < _columns(block_width))


def _columns(width: int) -> int:
    return max(1, -(-width // _IMPUTED))


def _imputes(plan: AnalysisPlan) -> bool:
    return _asked(plan).missing.imputes


def analyse_estimand(batch: EventfulBatch, plan: AnalysisPlan) -> LookResults:
    """Analyse one estimand.

    Returns
    -------
    LookResults
        Arrays of shape (n_reps, 1). Trials that `is_analysed` leaves out have failed.
    """
    width = batch.assigned.shape[1]
    if _imputes(plan) and not plan.is_main:
        some = _columns(width)
        return _padded(_analysed(trials_of(batch, slice(some)), plan), width)
    return _analysed(batch, plan)


def _analysed(batch: EventfulBatch, plan: AnalysisPlan) -> LookResults:
    match batch.latent:
        case RiskLatent() | ResponseLatent():
            return _risks(batch, plan)
        case MeasuredLatent() as latent:
            return _measurements(batch, latent, plan)
        case OrderedLatent() as latent:
            return _scores(batch, latent, plan)
        case CountLatent() as latent:
            return _counts(batch, latent, plan)


def trials_of(batch: EventfulBatch, some: slice) -> EventfulBatch:
    """Return some trials of a batch; trials are the last axis of every array."""

    def cut(thing: Any) -> Any:
        arrays = {
            name: value[..., some]
            for name, value in vars(thing).items()
            if isinstance(value, np.ndarray) and value.ndim > 1
        }
        return replace(thing, **arrays)

    latent: Any = batch.latent
    if isinstance(latent, RiskLatent):
        control, treated = (x[..., some] if isinstance(x, np.ndarray) else x for x in latent.logits)
        latent = replace(latent, logits=(control, treated))
    if isinstance(latent, ResponseLatent):
        latent = replace(latent, batch=cut(latent.batch))
    whole: EventfulBatch = cut(batch)
    return replace(whole, latent=cut(latent))


def _padded(found: LookResults, width: int) -> LookResults:
    """Return results of so many trials; those added have failed."""
    missing = width - len(found.z)

    def longer(name: str) -> NDArray[Any]:
        column = getattr(found, name)
        fill: Any = np.nan if column.dtype == float else name == "failed"
        return np.concatenate([column, np.full((missing, 1), fill, dtype=column.dtype)])

    return LookResults(**{name: longer(name) for name in vars(found)})


# -- risks, and response at a visit ------------------------------------------------------------


def _had(batch: EventfulBatch, plan: AnalysisPlan, treated: Bools, events: _Events) -> Bools:
    """Return who counts as having the endpoint's event (or responding), nothing missing."""
    changes = batch.changes(events.days)
    match batch.latent:
        case RiskLatent() as latent:
            had = latent.days(treated, changes) <= np.minimum(events.until, batch.day)
        case ResponseLatent() as latent:
            had = _responded(latent, plan, treated, changes, events.until)
        case _:
            raise AssertionError("no risk")
    failure = plan.better is Better.LOWER
    return np.where(events.worst <= batch.day, failure, had)


def _responded(
    latent: ResponseLatent,
    plan: AnalysisPlan,
    treated: Bools,
    changes: Sequence[Any],
    until: Floats,
) -> Bools:
    course = latent.course(treated, changes)
    if _asked(plan).missing is not MissingData.FAILURE:
        stays = np.where(course.died, course.leaving, np.inf)
        course = replace(course, leaving=stays, attended=np.ones_like(course.attended))
    had = responding(course, plan)
    if np.isinf(until).all():
        return had
    last = np.zeros(had.shape, dtype=bool)
    for visit in range(plan.visit + 1):  # the last visit before the event counts
        here = course.attended[visit] & (course.visits[visit] < until)
        last = np.where(here, responding(course, replace(plan, visit=visit)), last)
    return np.where(until <= course.visits[plan.visit], last, had)


def _unseen(batch: EventfulBatch, plan: AnalysisPlan, events: _Events) -> Bools:
    """Return whose outcome is missing: lost, away, or taken away by a hypothetical strategy."""
    unseen = (events.taken_away <= batch.day) & (events.worst > batch.day)
    unseen |= events.lost <= batch.day
    if isinstance(batch.latent, ResponseLatent) and _asked(plan).missing is not MissingData.FAILURE:
        own = batch.latent.batch
        gone = (own.leaving <= own.visits[plan.visit]) & ~own.died
        unseen |= gone | ~own.attended[plan.visit]
    return unseen


def _risks(batch: EventfulBatch, plan: AnalysisPlan) -> LookResults:
    treated, asked = batch.assigned, _asked(plan)
    events = _events(batch, plan, treated, seen=True)
    had, unseen = _had(batch, plan, treated, events), _unseen(batch, plan, events)
    included = np.ones(treated.shape, dtype=bool) if events.stratum is None else events.stratum
    if asked.missing is MissingData.FAILURE:
        had = np.where(unseen, plan.better is Better.LOWER, had)
    elif asked.missing is MissingData.COMPLETE_CASE:
        included = included & ~unseen
    else:
        return _imputed_risks(batch, plan, np.where(unseen, np.nan, had), included)
    groups = (had & treated, treated, had & ~treated, ~treated)
    x1, n1, x0, n0 = (
        np.add.reduce(group & included, axis=0, dtype=np.int32).astype(np.int64) for group in groups
    )
    found = analyse_counts(x1, n1, x0, n0, plan)
    return replace(found, enrolled=np.full_like(found.enrolled, len(treated)))


def _imputed_risks(
    batch: EventfulBatch, plan: AnalysisPlan, had: Floats, included: Bools
) -> LookResults:
    assert included.all()  # refused by the rules beside a principal stratum
    assert isinstance(plan.summary, Summary)
    asked = _asked(plan)
    streams = batch.streams.generator(
        Decision.IMPUTATION, batch.block, f"{batch.endpoint}/{asked.id}"
    )

    def draws() -> Iterator[BinaryDraws]:
        for _ in range(asked.imputations):
            yield BinaryDraws(streams.random((2, had.shape[1])), streams.random(had.shape))

    pooled = multiply_impute_binary(had, batch.assigned, draws(), _SCALES[plan.summary])
    contrast = wald(
        pooled.estimate,
        pooled.standard_error,
        confidence_level(plan),
        degrees_of_freedom=pooled.df,
        failed=pooled.failed,
    )
    return read_once(contrast, plan, np.full(had.shape[1], float(len(had))), len(had))


# -- measurements ------------------------------------------------------------------------------


def _measurements(batch: EventfulBatch, latent: MeasuredLatent, plan: AnalysisPlan) -> LookResults:
    treated, asked = batch.assigned, _asked(plan)
    events = _events(batch, plan, treated, seen=True)
    visits = _seen_visits(batch, latent, events)
    if asked.missing.imputes:
        contrast = _imputed(batch, latent, plan, visits, events.until)
        return read_once(contrast, plan, np.full(treated.shape[1], len(treated)), len(treated))
    value = _read(latent, visits, events.until)
    lost = np.isnan(latent.control[:, -1]) | (events.lost <= batch.day)
    included = np.isfinite(value) & ~lost
    if not isinstance(plan.test, MeasuredTest):
        worst = (events.worst <= batch.day) & ~lost
        if asked.missing is MissingData.FAILURE:
            worst |= ~included
        return _ranked(value, treated, included, worst, events.stratum, plan)
    if events.stratum is not None:
        included &= events.stratum
    level = confidence_level(plan)
    if plan.test is MeasuredTest.MMRM and np.isinf(events.until).all():
        if events.stratum is not None:
            visits = np.where(events.stratum[:, None], visits, np.nan)
        fit = fit_mmrm(visits, treated, latent.baseline)
        estimate, se, df = (c[:, -1] for c in (fit.estimate, fit.standard_error, fit.df))
        contrast = wald(estimate, se, level, degrees_of_freedom=df, failed=~fit.converged)
    else:
        contrast = compared(value, latent.baseline, treated, included, _simple(plan, latent), level)
    return read_once(contrast, plan, included.sum(axis=0), len(treated))


def _seen_visits(batch: EventfulBatch, latent: MeasuredLatent, events: _Events) -> Floats:
    visits = latent.visits(batch.assigned, batch.changes(events.days))
    gone = np.minimum(events.taken_away, events.lost)
    for v, day in enumerate(latent.days):
        visits[:, v] = np.where(gone <= day, np.nan, visits[:, v])
    return visits


def _read(latent: MeasuredLatent, visits: Floats, until: Floats) -> Floats:
    """Return the value at the read-out, or at the last visit before a day; else the baseline."""
    if np.isinf(until).all():
        return visits[:, -1]
    before = np.full(until.shape, np.nan) if latent.baseline is None else latent.baseline
    for v, day in enumerate(latent.days):
        before = np.where(day < until, visits[:, v], before)
    return before


def _simple(plan: AnalysisPlan, latent: MeasuredLatent) -> Any:
    """Return the test of one value per patient: of a mixed model, what it is with one visit."""
    if plan.test is not MeasuredTest.MMRM:
        return plan.test
    return MeasuredTest.T_TEST if latent.baseline is None else MeasuredTest.ANCOVA


def _ranked(
    value: Floats,
    treated: Bools,
    included: Bools,
    worst: Bools,
    stratum: Bools | None,
    plan: AnalysisPlan,
) -> LookResults:
    """Rank the values of every trial, with some patients worst of all (Lachin 1999)."""
    from scipy.stats import rankdata  # half a second to load, and seldom needed

    included = included | worst
    if stratum is not None:
        included &= stratum
    sign = 1.0 if plan.better is Better.HIGHER else -1.0
    score = np.where(worst, -sign * np.inf, np.where(included, value, 0.0))
    category = rankdata(score, method="min", axis=0).astype(np.int64) - 1
    counts = counts_by_arm(category, treated, len(value), included)
    return read_once(ordered.compared(*counts, plan), plan, included.sum(axis=0), len(value))


def _imputed(
    batch: EventfulBatch,
    latent: MeasuredLatent,
    plan: AnalysisPlan,
    visits: Floats,
    until: Floats,
) -> ArmContrast:
    """Impute all visits, compare the completed data by the endpoint's test, and pool."""
    treated, asked, level = batch.assigned, _asked(plan), confidence_level(plan)
    baseline, test = latent.baseline, _simple(plan, latent)
    first = 0 if baseline is None else 1
    rows = visits if baseline is None else np.concatenate([baseline[:, None], visits], axis=1)
    model = Model(_REFERENCES[asked.missing], Covariance.COMMON, baseline is not None)
    generator = batch.streams.generator(
        Decision.IMPUTATION, batch.block, f"{batch.endpoint}/{asked.id}"
    )
    shapes = Draws.shapes(*rows.shape)

    def draws() -> Iterator[Draws]:
        for _ in range(asked.imputations):
            yield Draws(
                generator.standard_normal(shapes[0]),
                generator.random(shapes[1]),
                generator.standard_normal(shapes[2]),
            )

    found = []
    for complete in impute(rows, treated, draws(), model):
        value = _read(latent, complete[:, first:], until)
        found.append(compared(value, baseline, treated, None, test, level))
    estimates = np.array([each.estimate for each in found])
    variances = np.array([each.standard_error**2 for each in found])
    pooled = pool(estimates, variances, found[0].degrees_of_freedom)
    return wald(
        pooled.estimate,
        pooled.standard_error,
        level,
        degrees_of_freedom=pooled.df,
        failed=pooled.failed,
    )


# -- scores and counts -------------------------------------------------------------------------


def _category(
    batch: EventfulBatch, latent: OrderedLatent, plan: AnalysisPlan, treated: Bools, events: _Events
) -> Ints:
    category = latent.categories(treated, batch.changes(events.days))
    return np.where(events.worst <= batch.day, _worst(latent, plan), category)


def _worst(latent: OrderedLatent, plan: AnalysisPlan) -> int:
    return 0 if plan.better is Better.HIGHER else latent.n_categories - 1


def _scores(batch: EventfulBatch, latent: OrderedLatent, plan: AnalysisPlan) -> LookResults:
    treated = batch.assigned
    events = _events(batch, plan, treated, seen=True)
    category, unseen = _category(batch, latent, plan, treated, events), _unseen(batch, plan, events)
    included = np.ones(treated.shape, dtype=bool) if events.stratum is None else events.stratum
    if _asked(plan).missing is MissingData.FAILURE:
        category = np.where(unseen, _worst(latent, plan), category)
    else:
        included = included & ~unseen
    counts = counts_by_arm(category, treated, latent.n_categories, included)
    contrast = ordered.compared(*counts, plan)
    return read_once(contrast, plan, included.sum(axis=0), len(treated))


def _counts(batch: EventfulBatch, latent: CountLatent, plan: AnalysisPlan) -> LookResults:
    treated = batch.assigned
    events = _events(batch, plan, treated, seen=True)
    count, days = _seen_counts(batch, latent, events)
    level = confidence_level(plan)
    contrast = rate_ratio(count, days, treated, events.stratum, confidence_level=level).contrast
    return read_once(contrast, plan, np.full(treated.shape[1], len(treated)), len(treated))


def _seen_counts(batch: EventfulBatch, latent: CountLatent, events: _Events) -> tuple[Ints, Floats]:
    end = np.minimum(np.minimum(events.until, events.taken_away), events.lost)
    return latent.counts(batch.assigned, batch.changes(events.days), end)


def patients(batch: EventfulBatch, plan: AnalysisPlan, replicate: int) -> Columns:
    """Return what one trial's analysis sees of each patient, and the days of their events.

    Outcomes are those of the plan's estimand before anything is imputed; a day is not a number
    where the event does not come by the read-out.
    """
    one = trials_of(batch, slice(replicate, replicate + 1))
    events = _events(one, plan, one.assigned, seen=True)
    columns: Columns = {"treated": one.assigned[:, 0]}
    match one.latent:
        case RiskLatent() | ResponseLatent():
            had = _had(one, plan, one.assigned, events).astype(float)
            unseen = _unseen(one, plan, events)
            columns["event"] = np.where(unseen, np.nan, had)[:, 0]
            columns["why_not_seen"] = np.where(unseen, "missing", "")[:, 0]
        case MeasuredLatent() as latent:
            back = np.exp if latent.log else np.asarray
            if latent.baseline is not None:
                columns["baseline"] = back(latent.baseline[:, 0])
            visits = _seen_visits(one, latent, events)
            for number in range(visits.shape[1]):
                columns[f"visit_{number + 1}"] = back(visits[:, number, 0])
        case OrderedLatent() as latent:
            category = _category(one, latent, plan, one.assigned, events) - latent.lowest
            unseen = _unseen(one, plan, events)
            name = "days" if latent.lowest else "category"
            columns[name] = np.where(unseen, np.nan, category)[:, 0]
        case CountLatent() as latent:
            count, days = _seen_counts(one, latent, events)
            columns |= {"events": count[:, 0], "days": days[:, 0]}
    for name, days in events.days.items():
        columns[f"{name}_day"] = np.where(days <= one.day, days, np.nan)[:, 0]
    return columns


# -- what is true ------------------------------------------------------------------------------


class Potential(NamedTuple):
    """What everyone would show under control and under treatment.

    Attributes
    ----------
    arms : (control, treated)
        Risk, mean, rate or chance to win, as the estimand asks.
    without : (control, treated) or None
        The same patients without events: what it should be is known, so how far it is from that
        can be taken off `arms`. None where the two are not of the same people.
    theta : float or None
        On the analysis scale, where it does not follow from `arms`.
    share : float
        Of the patients the estimand is about.
    """

    arms: tuple[float, float]
    without: tuple[float, float] | None
    theta: float | None
    share: float


def potential_arms(batch: EventfulBatch, plan: AnalysisPlan) -> Potential:
    """Return what an estimand is among the patients of a batch, all trials together."""
    shape = batch.assigned.shape
    arms = [np.full(shape, bool(arm)) for arm in (0, 1)]
    events = [_events(batch, plan, treated, seen=False) for treated in arms]
    stratum = events[0].stratum
    who = np.ones(shape, dtype=bool) if stratum is None else stratum
    share = float(who.mean())
    match batch.latent:
        case RiskLatent() | ResponseLatent():
            nothing = replace(batch, events=())
            quiet = [
                e._replace(days={}, worst=np.full(shape, np.inf), until=np.full(shape, np.inf))
                for e in events
            ]
            with_events, without = (
                [_had(own, plan, t, e)[who].mean() for t, e in zip(arms, world, strict=True)]
                for own, world in ((batch, events), (nothing, quiet))
            )
            same = stratum is None
            if isinstance(batch.latent, ResponseLatent):
                same &= _asked(plan).missing is MissingData.FAILURE
            return Potential(_pair(with_events), _pair(without) if same else None, None, share)
        case MeasuredLatent() as latent:
            return _potential_values(batch, latent, plan, arms, events, who, share)
        case OrderedLatent() as latent:
            own = [
                _category(batch, latent, plan, t, e)[who] for t, e in zip(arms, events, strict=True)
            ]
            counts = [np.bincount(c, minlength=latent.n_categories)[:, None] for c in own]
            same = np.array_equal(own[0], own[1])
            theta = 0.0 if same else float(ordered.compared(counts[1], counts[0], plan).estimate[0])
            means = [np.maximum(c - latent.lowest, 0).mean() for c in own]
            return Potential(_pair(means), None, theta, share)
        case CountLatent() as latent:
            rates, plain = [], []
            for t, e in zip(arms, events, strict=True):
                count, at_risk = latent.counts(t, batch.changes(e.days), e.until)
                rates.append(count[who].sum() / at_risk[who].sum())
                count, at_risk = latent.counts(t, (), np.inf)
                plain.append(count.sum() / at_risk.sum())
            same = stratum is None
            return Potential(_pair(rates), _pair(plain) if same else None, None, share)


def _pair(values: Sequence[Any]) -> tuple[float, float]:
    control, treated = values
    return float(control), float(treated)


def _potential_values(
    batch: EventfulBatch,
    latent: MeasuredLatent,
    plan: AnalysisPlan,
    arms: Sequence[Bools],
    events: Sequence[_Events],
    who: Bools,
    share: float,
) -> Potential:
    values = [
        _read(latent, latent.visits(t, batch.changes(e.days)), e.until)
        for t, e in zip(arms, events, strict=True)
    ]
    if not isinstance(plan.test, MeasuredTest):
        sign = 1.0 if plan.better is Better.HIGHER else -1.0
        scored = [
            np.where(e.worst <= batch.day, -sign * np.inf, v)[who]
            for v, e in zip(values, events, strict=True)
        ]
        from scipy.stats import rankdata

        n = len(scored[0])
        ranks = rankdata(np.concatenate(scored))
        won = (ranks[n:].mean() - (n + 1) / 2) / n  # of the treated, ties half
        if np.array_equal(scored[0], scored[1]):
            won = 0.5
        return Potential((1 - won, won), None, 2 * won - 1, share)
    seen = who & np.isfinite(values[0]) & np.isfinite(values[1])
    means = [value[seen].mean() for value in values]
    without = [latent.visits(t, ())[:, -1][seen].mean() for t in arms]
    return Potential(_pair(means), _pair(without) if seen.all() else None, None, share)


def event_shares(batch: EventfulBatch) -> dict[str, tuple[float, float]]:
    """Return the share of patients with each event by the read-out, under (control, treated)."""
    found = [batch.days_under(np.full(batch.assigned.shape, bool(arm))) for arm in (0, 1)]
    return {
        event.id: _pair([(days[event.id] <= batch.day).mean() for days in found])
        for event in batch.events
    }
