"""Which analysis sees a delayed effect: several of the same patients, at every horizon and lag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf, log, log1p, sqrt

from trialsim.analyse.longitudinal import models_installed
from trialsim.characteristics import MIN_REPLICATES, Characteristic, proportion
from trialsim.engine.blocks import Job
from trialsim.engine.run import Progress, Simulation, kernel_for, run
from trialsim.engine.workers import Workers
from trialsim.errors import Problem, RequestError
from trialsim.protocol.design import Look, Trigger
from trialsim.protocol.endpoints import (
    AnySummary,
    AnyTest,
    EstimatingEquations,
    FlemingHarringtonWeight,
    IntervalCensoredTest,
    Level,
    LogRankTest,
    LogRankWeight,
    MaxComboTest,
    MilestoneTest,
    ResponseEndpoint,
    RestrictedMeanTest,
    SurvivalSummary,
    TimeToEventEndpoint,
)
from trialsim.protocol.quantities import Duration, Time
from trialsim.protocol.scenario import Leaving, Piece, Reached, ResponseScenario, Scenario, Truth
from trialsim.protocol.survival import Enrolment, HazardCurve, Lifetimes
from trialsim.protocol.truths.horizons import Horizon, hazard_by, risk_points
from trialsim.protocol.truths.resolved import ImpossiblePieceError, courses_of
from trialsim.studies.horizons.followup import PlannedFollowUp
from trialsim.trial import AnalysisPlan, Measure, Row, StudyResult

__all__ = [
    "GEE_REPLICATES",
    "INTERVAL_REPLICATES",
    "analyses_at",
    "short_name",
    "with_analyses",
    "with_gee",
]

INTERVAL_REPLICATES = 500  # at most, of times between visits: each trial needs an EM algorithm
GEE_REPLICATES = 500  # a fit takes 10 ms, ten thousand times what a chi-square test takes
_NO_VISITS = (
    "GEE is left out: it compares response at every visit, and only an endpoint of kind response "
    "has visits."
)
_NO_MODELS = (
    "GEE is left out: it needs statsmodels, which is not installed. Install it with: pip install "
    "'trialsim[models]'"
)


def analyses_at(plan: AnalysisPlan) -> tuple[AnalysisPlan, ...]:
    """Return the analyses of one horizon: the plan's own, then those of the time to response.

    Log-rank, Fleming-Harrington (0, 1), MaxCombo with its four usual weights, the survival
    difference at the horizon and the restricted mean up to it.
    """
    at = Duration(plan.day, "d")
    late = LogRankWeight(fleming_harrington=FlemingHarringtonWeight(gamma=1.0))
    tests: tuple[tuple[AnyTest, AnySummary], ...] = (
        (LogRankTest(test="log-rank"), SurvivalSummary.HAZARD_RATIO),
        (LogRankTest(test="log-rank", weight=late), SurvivalSummary.HAZARD_RATIO),
        (MaxComboTest(test="maxcombo"), SurvivalSummary.HAZARD_RATIO),
        (MilestoneTest(test="milestone", at=at), SurvivalSummary.SURVIVAL_DIFFERENCE),
        (RestrictedMeanTest(test="restricted-mean", until=at), SurvivalSummary.MEAN_DIFFERENCE),
    )
    return (plan, *(replace(plan, test=test, summary=summary) for test, summary in tests))


def short_name(analysis: str) -> str:
    """Return the words of an analysis without its level, weights and horizon."""
    words = analysis.split(", two-sided")[0].split(", one-sided")[0]
    if words.startswith("MaxCombo"):
        return "MaxCombo"
    return words.partition(" at ")[0].partition(" to ")[0]


def with_analyses(
    planned: PlannedFollowUp,
    result: StudyResult,
    *,
    lags: Sequence[Time] = (),
    seed: int = 1,
    workers: Workers = 1,
    on_progress: Progress | None = None,
) -> StudyResult:
    """Add the share of trials each analysis finds, per scenario and horizon, and per lag.

    Parameters
    ----------
    planned : PlannedFollowUp
    result : StudyResult
        Of its `result`; as many trials are simulated here, `INTERVAL_REPLICATES` at most where
        times are taken to lie between visits.
    lags : sequence of Time
        When the effect starts: until then the treated are as the controls, and at the reference
        horizon they have reached what the scenario says.
    seed : int
    workers : int, Executor or Cluster
    on_progress : callable, optional

    Raises
    ------
    RequestError
        For a lag after which the effect can no longer be reached, or intercurrent events.
    """
    if planned.truths[0][0].intercurrent:
        rule = "cannot stand beside nature.intercurrent_events yet"
        raise RequestError(Problem(rule, "Leave out one of the two.", "--analyses"))
    n = result.n_replicates
    cells = [
        (lag, horizons, _computed(job, n))
        for lag in (None, *lags)
        for horizons, job in _jobs(planned, lag)
        if job.truths
    ]
    jobs = [job for _, _, job in cells]
    simulations = run(jobs, n_replicates=n, seed=seed, workers=workers, on_progress=on_progress)
    between = [(lag, own, job) for lag, own, job in _between_visits(planned, lags) if job.truths]
    few = run(
        [job for _, _, job in between],
        n_replicates=min(n, INTERVAL_REPLICATES),
        seed=seed,
        workers=workers,
        on_progress=on_progress,
    )
    rows = [
        replace(row, lag=None if lag is None else str(lag.after))
        for (lag, horizons, _), simulation in zip(cells, simulations, strict=True)
        for row in _found(planned, horizons, simulation)
    ]
    rows += [
        replace(row, lag=None if lag is None else str(lag.after))
        for (lag, horizons, _), simulation in zip(between, few, strict=True)
        for row in _found(planned, horizons, simulation, only=IntervalCensoredTest.LOG_RANK)
    ]
    paired = [
        row
        for (lag, horizons, _), simulation in zip(between, few, strict=True)
        for row in _against_log_rank(planned, horizons, simulation)
        if lag is None
    ]
    data = {**result.figure_data, "analyses": tuple(rows), "between visits": tuple(paired)}
    own = planned.jobs[0].plans[0].in_words
    added = [row for row in rows if row.lag is not None or row.analysis != own] + paired
    return replace(result, rows=(*result.rows, *added), figure_data=data)


def _between_visits(
    planned: PlannedFollowUp, lags: Sequence[Time]
) -> Iterator[tuple[Time | None, dict[str, Horizon], Job]]:
    """Yield jobs that compare times as known to lie between visits, beside the log-rank test."""
    if not isinstance(planned.resolved.template.protocol.primary, ResponseEndpoint):
        return  # its day is known
    tests = (LogRankTest(test="log-rank"), IntervalCensoredTest.LOG_RANK)
    for lag in (None, *lags):
        for horizons, job in _jobs(planned, lag):
            plans = tuple(
                replace(plan, test=test, summary=SurvivalSummary.HAZARD_RATIO)
                for plan in planned.jobs[0].plans
                for test in tests
            )
            yield lag, horizons, replace(job, plans=plans)


def _against_log_rank(
    planned: PlannedFollowUp, horizons: dict[str, Horizon], simulation: Simulation
) -> Iterator[Row]:
    """Yield what the second of two plans finds more than the first, in the same trials."""
    plans = simulation.job.plans
    for truth, results in zip(simulation.job.truths, simulation.results, strict=True):
        pairs = zip(plans[1::2], results[::2], results[1::2], strict=True)
        for plan, ordinary, own in pairs:
            ok = ~(ordinary.failed | own.failed)[:, -1]
            n, horizon = int(ok.sum()), horizons[plan.endpoint]
            blank = Row.about(
                Measure.POWER_DIFFERENCE,
                truth.scenario,
                plan.endpoint,
                horizon.time,
                planned.resolved.variant,
            )
            words = f"{plan.in_words}, against log-rank of the visit days"
            blank = replace(blank, analysis=words, n_replicates=n, n_failed=int((~ok).sum()))
            if n < MIN_REPLICATES:
                why = f"{n} analysable replicates; at least {MIN_REPLICATES} are needed"
                yield replace(blank, why=why)
                continue
            apart = own.rejected[ok, -1].astype(float) - ordinary.rejected[ok, -1]
            error = float(apart.std(ddof=1)) / sqrt(n)
            yield replace(blank, value=float(apart.mean()), mcse=error)


def with_gee(
    planned: PlannedFollowUp,
    result: StudyResult,
    *,
    seed: int = 1,
    workers: Workers = 1,
    on_progress: Progress | None = None,
) -> StudyResult:
    """Add the share of trials that estimating equations find, per scenario and horizon.

    The model is that of `trialsim.analyse.longitudinal.fit_gee`, of the same patients: those of the
    first `GEE_REPLICATES` trials, or of all where there are fewer. Where it cannot be fitted (no
    visits, no statsmodels) no rows are added, and the text "gee" says why.

    Parameters
    ----------
    planned : PlannedFollowUp
    result : StudyResult
        Of `with_analyses`.
    seed : int
        The same.
    workers : int, Executor or Cluster
    on_progress : callable, optional
    """

    def saying(text: str) -> StudyResult:
        return replace(result, texts={**result.texts, "gee": text})

    if not isinstance(planned.resolved.template.protocol.primary, ResponseEndpoint):
        return saying(_NO_VISITS)
    if not models_installed():
        return saying(_NO_MODELS)
    horizons = {horizon.endpoint: horizon for horizon in planned.horizons}
    jobs = [
        replace(job, plans=(replace(plan, test=EstimatingEquations.GEE),), truths=(truth,))
        for job in planned.jobs
        for plan in job.plans
        for truth in job.truths
    ]
    n = min(GEE_REPLICATES, result.n_replicates)
    simulations = run(jobs, n_replicates=n, seed=seed, workers=workers, on_progress=on_progress)
    rows = [row for simulation in simulations for row in _found(planned, horizons, simulation)]
    data = {**result.figure_data, "analyses": (*result.figure_data.get("analyses", ()), *rows)}
    failed, most = sum(row.n_failed or 0 for row in rows), max(row.n_failed or 0 for row in rows)
    told = (
        f"GEE: response at every visit attended by then, of the first {n:,} trials. It could not "
        f"be fitted in {failed:,} of {n * len(rows):,} (at most {most:,} of {n:,} in one cell: "
        "nobody or everybody of an arm responded there, or it did not converge); these are "
        "failed, and left out: the figures of GEE are not those of the trials above. Where no "
        "visit is missed it is the Wald test of the odds ratio at "
        "the horizon, and earlier visits add nothing."
    )
    return replace(saying(told), rows=(*result.rows, *rows), figure_data=data)


def _computed(job: Job, n_replicates: int) -> Job:
    kernel = kernel_for(job, n_replicates)
    plans = tuple(replace(plan, kernel=kernel) for plan in job.plans)
    return replace(job, plans=plans, kernel=kernel)


_Cells = Iterator[tuple[dict[str, Horizon], Job]]


def _jobs(planned: PlannedFollowUp, lag: Time | None) -> _Cells:
    """Yield jobs with the horizon each of their endpoints is read at."""
    if isinstance(planned.resolved.template.protocol.primary, ResponseEndpoint):
        for job in planned.jobs:
            plans = tuple(own for plan in job.plans for own in analyses_at(plan))
            truths = job.truths if lag is None else tuple(_late_courses(planned, lag))
            by_endpoint = {horizon.endpoint: horizon for horizon in planned.horizons}
            yield by_endpoint, replace(job, plans=plans, truths=truths)
        return
    for index, horizon in enumerate(planned.horizons):
        yield {horizon.endpoint: horizon}, _job_of_times(planned, index, lag)


def _with_effect(planned: PlannedFollowUp) -> Iterator[tuple[int, Scenario, Truth]]:
    at = planned.horizons.index(planned.reference)
    for index, scenario in enumerate(planned.scenarios):
        control, treated = planned.risks(at, index)
        if treated != control:
            yield index, scenario, planned.truths[at][index]


def _too_late(scenario: Scenario, lag: Time, why: str) -> RequestError:
    rule = f"cannot start as late in scenario {scenario.id}: {why}"
    return RequestError(Problem(rule, "Ask for an earlier start.", "--lags", str(lag.after)))


def _late_courses(planned: PlannedFollowUp, lag: Time) -> Iterator[Truth]:
    template, reference = planned.resolved.template, planned.reference
    leaving, therapy = template.nature.response or Leaving(), template.protocol.therapy
    for _, scenario, truth in _with_effect(planned):
        assert scenario.response is not None  # a response endpoint's scenario has one
        assert truth.courses is not None
        _, treated = truth.risks_on(reference.day)
        kept = 1 - leaving.missed_visits.value
        pieces = [Piece(until=reference.time, reaches=Reached(value=treated / kept))]
        if lag.days_after_entry(therapy) >= reference.day:
            raise _too_late(scenario, lag, f"it is read {planned.in_words(reference)}")
        if lag.days_after_entry(therapy) > 0:
            pieces.insert(0, Piece(until=lag, as_control=True))
        late = ResponseScenario(control=scenario.response.control, treated=tuple(pieces))
        try:
            courses = courses_of(late, template.nature, therapy, planned.resolved.evidence)
        except ImpossiblePieceError as why:
            raise _too_late(scenario, lag, str(why)) from None
        yield replace(truth, courses=replace(courses, visit_days=truth.courses.visit_days))


def _job_of_times(planned: PlannedFollowUp, index: int, lag: Time | None) -> Job:
    """Return a risk as the time to its event, everyone followed to a horizon.

    The hazard is constant between the risks stated; treatment multiplies it by one number from
    its start on, so that the risk at the reference is the scenario's (assumed).
    """
    horizon, template = planned.horizons[index], planned.resolved.template
    day, protocol = Duration(horizon.day, "d"), template.protocol
    endpoint = TimeToEventEndpoint(
        id=horizon.endpoint,
        level=Level.PRIMARY,
        kind="time-to-event",
        event=protocol.primary.event,
        at=Time.model_validate(str(day)),
        followed_for=day,
        better=protocol.primary.better,
    )
    end = Duration(horizon.day + 1, "d")  # everyone enters on the first day
    changed = protocol.model_copy(
        update={"endpoints": (endpoint,), "looks": (Look(at=Trigger(calendar=end)),)}
    )
    plans = analyses_at(AnalysisPlan.of(changed, endpoint))[1:]
    return Job(changed, plans, tuple(_late_lifetimes(planned, lag)))


def _late_lifetimes(planned: PlannedFollowUp, lag: Time | None) -> Iterator[Truth]:
    at = planned.horizons.index(planned.reference)
    start = 0.0 if lag is None else lag.days_after_entry(planned.resolved.template.protocol.therapy)
    chosen = [i for i, _, _ in _with_effect(planned)] if lag else range(len(planned.scenarios))
    for index in chosen:
        truth, template = planned.truths[at][index], planned.resolved.template
        last = planned.horizons[-1].day
        stated = {day for day, _ in risk_points(template) if day < last}
        breaks = sorted({0.0, *stated, *(horizon.day for horizon in planned.horizons)})
        # its own control risk keeps its proportion of the cumulative hazard
        share = -log1p(-truth.control_risk) / hazard_by(template, planned.reference.day)
        cumulative = [share * hazard_by(template, day) for day in breaks]
        rates = [
            (b - a) / (end - begin)
            for (begin, end), (a, b) in zip(pairwise(breaks), pairwise(cumulative), strict=True)
        ]
        control = HazardCurve(tuple(breaks[1:-1]), tuple(rates))
        reached = -log1p(-truth.control_risk)
        before = -log(control.survival(min(start, planned.reference.day)))
        left = reached - before
        ratio = (-log1p(-truth.treated_risk) - before) / left if left > 0 else -1.0
        if ratio < 0:
            why = "more have had the event by then than its effect leaves at the reference"
            assert lag is not None  # without a lag nothing has happened before it
            raise _too_late(planned.scenarios[index], lag, why)
        treated = (
            control.times([(start, 1.0), (inf, ratio)]) if start else control.times([(inf, ratio)])
        )
        lifetimes = Lifetimes("", (1.0,), (control,), (treated,))
        yield replace(
            truth, lifetimes=lifetimes, enrolment=Enrolment(even=Duration(1.0, "d")), sites=None
        )


def _found(
    planned: PlannedFollowUp,
    horizons: dict[str, Horizon],
    simulation: Simulation,
    only: AnyTest | None = None,
) -> Iterator[Row]:
    for truth, results in zip(simulation.job.truths, simulation.results, strict=True):
        for plan, found in zip(simulation.job.plans, results, strict=True):
            if only is not None and plan.test != only:
                continue
            horizon, ok = horizons[plan.endpoint], ~found.failed[:, -1]
            n = int(ok.sum())
            power = Characteristic(
                Measure.POWER,
                None,
                None,
                n,
                why=f"{n} analysable replicates; at least {MIN_REPLICATES} are needed",
            )
            if n >= MIN_REPLICATES:
                power = proportion(Measure.POWER, found.rejected[ok, -1])
            name, variant = truth.scenario, planned.resolved.variant
            blank = Row.about(Measure.POWER, name, plan.endpoint, horizon.time, variant)
            own = replace(blank, analysis=plan.in_words, n_failed=int((~ok).sum()))
            yield power.row(own)
