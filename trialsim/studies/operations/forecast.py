"""How long a trial takes, whom it passes on the way, what drug and money it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import Characteristic, mean, mid_percentile, proportion
from trialsim.engine.board_decisions import BoardRules, rules_of
from trialsim.engine.conduct_runs import conduct_trials
from trialsim.engine.conducted_power import Analysed, power_as_conducted, simulated_power
from trialsim.engine.outcome_days import OutcomeDays, outcome_days_of
from trialsim.engine.run import Progress
from trialsim.errors import Problem, RequestError, SimulationError, counted
from trialsim.kernels.recruitment import UnreachableTimeError, rate_for_mean_time
from trialsim.operations.conducted import ConductedTrial, Judgement, Verdict
from trialsim.operations.enrolment import accrual_of, draw_conduct
from trialsim.operations.event_log import MILESTONES, Entry
from trialsim.operations.money import CATEGORIES, costs_of
from trialsim.operations.plan import (
    DAYS_PER_MONTH,
    ConductPlan,
    numbers_at_milestones,
    plan_conduct,
)
from trialsim.operations.simulation import conduct_trial
from trialsim.operations.supply import Shortage
from trialsim.protocol.endpoints import CompetingEndpoint, ResponseEndpoint, TimeToEventEndpoint
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.site_enrolment import sites_of
from trialsim.streams import Streams, block_width
from trialsim.studies.estimands import plans_of
from trialsim.studies.operations.assumptions import Stated, stated_of, states_rate
from trialsim.studies.operations.observed_calendar import observed_calendar_rows
from trialsim.trial import AnalysisPlan, Measure, Row, StudyResult

__all__ = [
    "ALL_ENROLLED",
    "AT_ONCE",
    "BY_EVENTS",
    "LOST",
    "MILESTONES",
    "OVERRUNNING",
    "SCREENED",
    "SIMULATED",
    "STOPPED_EARLY",
    "Forecast",
    "PlannedForecast",
    "plan_forecast",
    "rate_to_enrol_in",
]

STOPPED_EARLY, OVERRUNNING = "stopped early", "not in the data that stopped the trial"
SIMULATED = "in 'simulate'"
AT_ONCE, BY_EVENTS = "drawn at once", "event by event"
ALL_ENROLLED, SCREENED = "all enrolled, months", "screened, patients"
LOST = "leave by the read-out, patients"
_AT_ONCE = 1_000  # trials, at least
LEVEL = 0.9  # of the interval that holds the middle simulated trials
MOST_SCREENED = 5_000_000  # in all trials: 80 seconds of one core where nearly nobody enters
_MOST_PER_MONTH = 10_000
_GRID = 80  # days on which the recruitment fan is drawn
_FAN = (0.05, 0.25, 0.5, 0.75, 0.95)

_WHOLE: dict[str, Callable[[ConductedTrial], float]] = {
    "sites opened": lambda t: t.sites_opened,
    "screened": lambda t: t.screened,
    "screening failed": lambda t: t.screening_failed,
    "withdrawn in screening": lambda t: t.screening_withdrawn,
    "in screening when enrolment closed": lambda t: t.in_screening,
    "randomised": lambda t: len(t.enrolled),
}
_OF_ARM = ("randomised", "started", "stopped", "discharged", "left", "died", "followed", "read_out",
           "not_seen", "doses_planned", "doses_taken", "doses_left_in_kits")  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Forecast:
    """A forecast's result, the log of one of its trials, and every trial in numbers.

    Attributes
    ----------
    log : list of Entry
    trials : list of dict
        One a trial, in order: milestones in months, patients, doses, kits and cost by name.
    """

    result: StudyResult
    log: list[Entry]
    trials: list[dict[str, float | str]]


@dataclass(frozen=True)
class PlannedForecast:
    """What is to be simulated, decided."""

    resolved: ResolvedTemplate
    plan: ConductPlan
    scenario: Scenario
    observed_months: float | None = None

    @cached_property
    def stated(self) -> tuple[Stated, ...]:
        """Every number the forecast rests on, and where it comes from."""
        return stated_of(self.resolved, self.plan.sites.per_day * DAYS_PER_MONTH)

    @property
    def money(self) -> str | None:
        """Unit of costs; None where no price is stated."""
        cost = self.resolved.template.cost
        return f"{cost.currency} of {cost.year}" if cost else None

    def forecast(
        self,
        *,
        runs: int,
        seed: int,
        workers: int = 1,
        on_progress: Progress | None = None,
    ) -> Forecast:
        """Simulate so many trials, event by event.

        Raises
        ------
        RequestError
            For more patients than are simulated.
        SimulationError
            If no trial enrols everybody, or processes die again and again.
        """
        self.check_runs(runs)
        trials = conduct_trials(
            self.plan,
            n_runs=runs,
            seed=seed,
            outcomes=self.outcomes,
            rules=self.rules,
            workers=workers,
            on_progress=on_progress,
        )
        result = self._result(trials, seed)
        every = [self._in_numbers(run, trial) for run, trial in enumerate(trials, 1)]
        return Forecast(result, trials[0].log, every)

    def check_runs(self, runs: int, log: int = 1) -> None:
        """Refuse more work than is sensible, and a log of a trial that is not simulated.

        Patients are drawn one by one from their screening on, whoever of them comes through.

        Raises
        ------
        RequestError
        """
        each = self.plan.n_patients / self.plan.sites.passing
        problems = []
        if each * runs > MOST_SCREENED:
            rule = (
                f"would screen about {counted(round(each * runs), 'patient')}, {round(each):,} in "
                f"each trial: more than {MOST_SCREENED:,} are not simulated"
            )
            fine, keys = int(MOST_SCREENED / each), "nature.screening_failures"
            remedies = [f"ask for --runs {fine}"] if fine else []
            if self.plan.sites.passing < 1:
                remedies.append(f"let more come through ({keys}, or screening.withdrawn)")
            remedy = ", or ".join(remedies).capitalize()
            problems.append(Problem(rule, f"{remedy}.", "--runs", f"{runs:,}"))
        if not 1 <= log <= runs:
            number = f"from 1 to {runs:,}, the number of a simulated trial" if runs > 1 else "1"
            rule = f"must be {number}"
            remedy = "Leave it out for the first trial"
            remedy += f", or ask for --runs {log} or more." if log > runs else "."
            problems.append(Problem(rule, remedy, "--log", f"{log:,}"))
        if problems:
            raise RequestError(problems)

    def log_of(self, run: int, seed: int) -> list[Entry]:
        """Simulate one trial again, from 1, and return everything that happened in it."""
        streams = Streams(seed)
        drawn = (
            self.outcomes.drawn(self.plan.n_patients, streams, run - 1) if self.outcomes else None
        )
        judge = None
        if self.rules:
            judge = self.rules.judge_of(self.plan.n_patients, streams, run - 1)
        return conduct_trial(self.plan, streams, run - 1, drawn, judge=judge, keep_log=True).log

    def _in_numbers(self, run: int, trial: ConductedTrial) -> dict[str, float | str]:
        """Return one trial as one line of a table."""
        names = (*MILESTONES, *_look_names(self.plan)[: len(trial.looks)])
        found: dict[str, float | str] = {"trial": run, "full": int(trial.full)}
        months = zip(names, _months(self.plan, trial), strict=True)
        found |= {f"{name} (months)": month for name, month in months}
        if self.rules and trial.looks:
            last = trial.looks[-1]
            found |= {
                "looks held": len(trial.looks),
                "stopped early": int(trial.stopped_early),
                "decision": last.judgement.verdict,
                **_statistic(last.judgement),
                "decided (months)": last.decided / DAYS_PER_MONTH,
            }
        found |= {name: count(trial) for name, count in _WHOLE.items()}
        for arm, counts in zip(self._arms, trial.arms, strict=False):
            own = {n: getattr(counts, n) for n in _OF_ARM if n != "died" or self.deaths}
            own["exposure"] = counts.doses_taken / max(counts.doses_planned, 1)
            found |= {f"{arm.id}: {name}": value for name, value in own.items()}
        found["doses due without a kit"] = trial.stock_outs
        found |= vars(trial.ledger) if trial.ledger else {}
        cost, supply = self.resolved.template.cost, self.plan.supply
        if cost and trial.full:
            costs = costs_of(trial, cost, supply.doses_per_kit if supply else 0)
            found |= {f"cost: {name}": value for name, value in costs.items()}
        return found

    @cached_property
    def truth(self) -> Truth:
        """What the scenario says of outcomes."""
        return self.resolved.truth(self.scenario)

    @property
    def outcomes(self) -> OutcomeDays | None:
        """When outcome events come; None where the endpoint is no event."""
        return outcome_days_of(self.resolved.template.protocol, self.truth)

    @cached_property
    def analysis(self) -> AnalysisPlan:
        """The analysis of the primary endpoint, with its looks."""
        return plans_of(self.resolved)[0]

    @cached_property
    def rules(self) -> BoardRules | None:
        """What the looks may decide; None where none has a bound."""
        exposed = self.scenario.exposure is not None
        protocol = self.resolved.template.protocol
        return rules_of(protocol, self.truth, self.analysis, exposed=exposed)

    @property
    def bounds(self) -> tuple[tuple[float | None, float | None], ...]:
        """Of each look on z, for efficacy and for futility; stages of a single arm have none."""
        if self.analysis.two_stage:
            return ((None, None),) * 2
        return tuple((look.efficacy_z, look.futility_z) for look in self.analysis.looks)

    @property
    def deaths(self) -> bool:
        """Whether the outcome is death, the only one that is simulated."""
        return self.outcomes is not None and self.outcomes.fatal

    def _result(self, trials: Sequence[ConductedTrial], seed: int) -> StudyResult:
        full = [trial for trial in trials if trial.full]
        if not full:
            which = f"any of {len(trials):,} simulated trials"
            which = which if len(trials) > 1 else "the one simulated trial"
            raise SimulationError(
                Problem(
                    f"is not full within 100 years in {which}, though expected after "
                    f"{self._expected_months():,.1f} months at the mean rate of sites",
                    "Plan more sites, let fewer of them fail (activation.failing), or let them "
                    "differ less (recruitment.shape).",
                    "enrolment",
                )
            )
        rows = [
            *_milestones(self.plan, full),
            *_looks(self.plan, full),
            *self._patients(full),
            *self._stops(full),
            *self._doses(full),
            *_kits(full),
            *self._costs(full),
            *self._powers(full, seed),
            *self._shortcut(full, seed),
            *self._placed(full),
            *observed_calendar_rows(self.resolved),
        ]
        never = proportion(Measure.NOT_ENROLLED, np.array([not t.full for t in trials]))
        rows.append(never.row(Row(measure=Measure.NOT_ENROLLED, value=None)))
        failed = len(trials) - len(full)
        rows = [replace(row, n_failed=failed) if failed else row for row in rows]
        return StudyResult(
            tuple(rows),
            figure_data=self._figure_data(trials, full),
            n_replicates=len(trials),
        )

    def _stops(self, trials: Sequence[ConductedTrial]) -> Iterator[Row]:
        """Yield how often each look ends the trial and why, and what is then still under way."""
        if self.rules is None:
            return
        n = len(self.plan.looks)
        about: dict[str, Any] = {
            "scenario": self.scenario.id,
            "endpoint": self.analysis.endpoint,
        }
        analysed = [t for t in trials if t.looks[-1].judgement.verdict is not Verdict.FAILED]
        for index, bounds in enumerate(self.bounds):
            reasons = [Verdict.EFFICACY, Verdict.END if index == n - 1 else Verdict.FUTILITY]
            measures = (Measure.Z_EFFICACY, Measure.Z_FUTILITY)
            for bound, measure in zip(bounds, measures, strict=True):
                if bound is not None:
                    yield Row(measure=measure, value=bound, look=index + 1, **about)
            for reason in reasons:
                hits = [
                    len(t.looks) == index + 1 and t.looks[-1].judgement.verdict is reason
                    for t in analysed
                ]
                yield proportion(Measure.STOP_PROBABILITY, np.array(hits)).row(
                    Row(
                        measure=Measure.STOP_PROBABILITY,
                        value=None,
                        look=index + 1,
                        analysis=reason.value,
                        **about,
                    )
                )
        early = [t for t in trials if t.stopped_early]
        yield proportion(Measure.STOP_PROBABILITY, np.array([t.stopped_early for t in trials])).row(
            Row(
                measure=Measure.STOP_PROBABILITY,
                value=None,
                analysis=STOPPED_EARLY,
                headline=True,
                **about,
            )
        )
        if early:
            months = [t.looks[-1].decided / DAYS_PER_MONTH for t in early]
            yield _row(Measure.MILESTONE_MONTHS, months, milestone=STOPPED_EARLY, unit="months")
            late = [len(t.enrolled) - t.looks[-1].judgement.analysed for t in early]
            yield _row(Measure.PATIENTS, late, category=OVERRUNNING)

    def _expected_months(self) -> float:
        return self.plan.sites.expected_day(self.plan.n_patients) / DAYS_PER_MONTH

    def _patients(self, trials: Sequence[ConductedTrial]) -> Iterator[Row]:
        for name, count in _WHOLE.items():
            yield _row(Measure.PATIENTS, [count(t) for t in trials], category=name)
        names = ("randomised", "started", "stopped", "discharged", "left", "died", "followed")
        words = ("randomised", "had a dose", "stopped the drug", "discharged during treatment",
                 "left the trial", "died", "followed to the end")  # fmt: skip
        for index, arm in enumerate(self._arms):
            for name, category in zip(names, words, strict=True):
                values = [getattr(t.arms[index], name) for t in trials]
                if name in ("started", "stopped", "discharged") and not arm.dose_days:
                    continue
                if name == "died" and not self.deaths:
                    continue
                if name == "followed" and self.plan.read_out is None:
                    continue  # until the last look
                yield _row(Measure.PATIENTS, values, category=category, arm=arm.id)
            if self.plan.read_out is not None:
                for category, name in (("read out", "read_out"), ("not seen", "not_seen")):
                    values = [getattr(t.arms[index], name) for t in trials]
                    yield _row(Measure.PATIENTS, values, category=category, arm=arm.id)

    @property
    def _arms(self) -> tuple[Any, ...]:
        return self.plan.arms[: 1 if self.plan.allocation.single_arm else 2]

    def _doses(self, trials: Sequence[ConductedTrial]) -> Iterator[Row]:
        for index, arm in enumerate(self._arms):
            if not arm.dose_days:
                continue
            own = [trial.arms[index] for trial in trials]
            yield _row(
                Measure.DOSES, [c.doses_planned for c in own], category="planned", arm=arm.id
            )
            yield _row(Measure.DOSES, [c.doses_taken for c in own], category="taken", arm=arm.id)
            reasons = sorted({why for counts in own for why in counts.not_taken})
            for why in reasons:
                values = [c.not_taken.get(why, 0) for c in own]
                yield _row(Measure.DOSES, values, category=f"not taken: {why}", arm=arm.id)
            if self.plan.supply:
                values = [c.doses_left_in_kits for c in own]
                yield _row(Measure.DOSES, values, category="left in opened kits", arm=arm.id)
            if arm.unit:
                amounts = [c.amount for c in own]
                yield _row(Measure.DRUG_USED, amounts, arm=arm.id, unit=arm.unit)
            shares = [
                float(t.exposure[t.in_first_arm == (index == 0)].mean())
                for t in trials
                if (t.in_first_arm == (index == 0)).any()
            ]
            yield _row(Measure.EXPOSURE, shares, arm=arm.id)
        if self.plan.supply:
            yield _row(Measure.STOCK_OUTS, [t.stock_outs for t in trials])
            for why in Shortage:
                found = [t.shortages.count(why) for t in trials]
                if any(found):
                    yield _row(Measure.STOCK_OUTS, found, category=why.value)

    def _costs(self, trials: Sequence[ConductedTrial]) -> Iterator[Row]:
        cost, supply = self.resolved.template.cost, self.plan.supply
        if cost is None:
            return
        found = [costs_of(trial, cost, supply.doses_per_kit if supply else 0) for trial in trials]
        for category in CATEGORIES:
            values = [each[category] for each in found]
            yield _row(Measure.COST, values, category=category, unit=self.money)
        totals = [sum(each.values()) for each in found]
        yield _row(Measure.COST, totals, category="total", unit=self.money, headline=True)

    @property
    def timed(self) -> bool:
        """Whether the primary endpoint is a time to an event: who leaves is censored."""
        return isinstance(self.resolved.template.protocol.primary, TimeToEventEndpoint)

    @property
    def loses_nobody(self) -> bool:
        """Whether nobody can leave the trial or miss the read-out."""
        return self.plan.leaving is None and not self.plan.missed_visits

    @property
    def power_untold(self) -> str:
        """Why nothing is said of power as conducted; empty where it is."""
        protocol = self.resolved.template.protocol
        if protocol.is_single_arm:
            return "it is there for two arms"
        if self.truth.intercurrent:
            return "intercurrent events are not simulated event by event"
        match protocol.primary:
            case ResponseEndpoint():
                return "in a course of response 'simulate' has who is lost already"
            case CompetingEndpoint():
                return "competing events are not simulated event by event"
        return ""

    def _powers(self, trials: Sequence[ConductedTrial], seed: int) -> Iterator[Row]:
        """Yield the chance to find the effect by who is analysed, and with which doses."""
        if self.power_untold:
            return
        exposed = self.scenario.exposure is not None
        if self.rules:
            yield from self._powers_with_looks(trials, seed)
            return
        found = power_as_conducted(
            trials,
            self.resolved.template.protocol,
            self.truth,
            self.analysis,
            Streams(seed),
            exposed=exposed,
        )
        if not found:
            return
        whole = found[Analysed.EVERYONE]
        for who, values in found.items():
            ok = np.isfinite(whole) & np.isfinite(values)
            if not ok.any():
                continue  # no analysis was possible
            yield mean(Measure.POWER, values[ok]).row(self._of_power(Measure.POWER, who))
            if who is not Analysed.EVERYONE:
                lost = mean(Measure.POWER_LOST, (whole - values)[ok])
                yield lost.row(self._of_power(Measure.POWER_LOST, who))

    def _powers_with_looks(self, trials: Sequence[ConductedTrial], seed: int) -> Iterator[Row]:
        """Yield what `simulate` finds, and the share of trials whose looks find the effect."""
        protocol = self.resolved.template.protocol
        rejected, n_failed = simulated_power(protocol, self.truth, self.analysis, Streams(seed))
        if len(rejected):
            row = self._of_power(Measure.POWER, SIMULATED)
            yield replace(proportion(Measure.POWER, rejected).row(row), n_failed=n_failed)
        verdicts = [trial.looks[-1].judgement.verdict for trial in trials]
        hits = [v is Verdict.EFFICACY for v in verdicts if v is not Verdict.FAILED]
        who = Analysed.READ_OUT_DOSED if self.scenario.exposure else Analysed.READ_OUT
        if hits:
            row = self._of_power(Measure.POWER, who)
            yield proportion(Measure.POWER, np.array(hits)).row(row)

    def _of_power(self, measure: Measure, analysis: str) -> Row:
        return Row(
            measure=measure,
            value=None,
            scenario=self.scenario.id,
            endpoint=self.analysis.endpoint,
            analysis=str(analysis),
        )

    def _shortcut(self, trials: Sequence[ConductedTrial], seed: int) -> Iterator[Row]:
        """Yield enrolment and losses as power draws them, beside the same event by event.

        Where it draws them: where operations are stated, and enrolment is not. Looks that stop a
        trial end its enrolment, which the shortcut knows nothing of.
        """
        template = self.resolved.template
        stated = template.protocol.operations or template.nature.operations
        if self.rules or template.nature.enrolment or not stated:
            return
        sites, n = replace(self.plan.sites, leaving=self.plan.leaving), self.plan.n_patients
        width = block_width(n)
        drawn = [
            draw_conduct(sites, n, Streams(seed), block, width)
            for block in range(-(-_AT_ONCE // width))
        ]
        last = np.concatenate([each.entry[-1] for each in drawn])
        opened, whole = np.isfinite(last), [t for t in trials if len(t.enrolled) == n]
        if not (opened.any() and whole):
            return
        day = self.analysis.day
        screened = np.concatenate([each.screened for each in drawn])
        lost = np.concatenate([each.lost(day) for each in drawn])
        pairs: tuple[tuple[str, Floats, list[float]], ...] = (
            (ALL_ENROLLED, last / DAYS_PER_MONTH, [t.enrolled[-1] / DAYS_PER_MONTH for t in whole]),
            (SCREENED, screened, [t.screened for t in whole]),
            (LOST, lost, [int((t.followed.leaves < day).sum()) for t in whole]),
        )
        for category, fast, slow in pairs:
            yield _row(Measure.SHORTCUT, fast[opened], category=category, analysis=AT_ONCE)
            yield _row(Measure.SHORTCUT, slow, category=category, analysis=BY_EVENTS)

    def _placed(self, trials: Sequence[ConductedTrial]) -> Iterator[Row]:
        """Yield where an enrolment that really took so long lies among the simulated."""
        if self.observed_months is None:
            return
        months = np.array([float(t.enrolled[-1]) for t in trials]) / DAYS_PER_MONTH
        placed = mid_percentile(months, self.observed_months)
        yield placed.row(
            Row(
                measure=Measure.PERCENTILE,
                value=None,
                milestone="all enrolled",
                analysis=f"observed: {counted(self.observed_months, 'month', 'g')}",
            )
        )

    def _figure_data(
        self, trials: Sequence[ConductedTrial], full: Sequence[ConductedTrial]
    ) -> dict[str, Any]:
        last = max(float(trial.enrolled[-1]) for trial in full)
        days = np.linspace(0, last, _GRID + 1)
        counts = np.array([np.searchsorted(t.enrolled, days, "right") for t in trials])
        return {
            "fan": {
                "months": (days / DAYS_PER_MONTH).tolist(),
                "shares": _FAN,
                "enrolled": np.quantile(counts, _FAN, axis=0).tolist(),
                "plan": [
                    min(self.plan.sites.expected_enrolled(d), self.plan.n_patients) for d in days
                ],
            },
            "stock": [(day / DAYS_PER_MONTH, *kits) for day, *kits in trials[0].stock],
            "stock_outs": (trials[0].stock_out_days / DAYS_PER_MONTH).tolist(),
        }


def plan_forecast(
    resolved: ResolvedTemplate, scenario: str | None = None, observed_months: float | None = None
) -> PlannedForecast:
    """Decide what to simulate.

    Parameters
    ----------
    resolved : ResolvedTemplate
    scenario : str, optional
        What becomes of patients; left out, the first with an effect.
    observed_months : float, optional
        How long a trial like it took to enrol, to be placed among the simulated.

    Raises
    ------
    DesignError
        Where enrolment cannot be expected to end.
    RequestError
        For an unknown scenario.
    """
    chosen = resolved.scenarios([scenario] if scenario else ())
    own = next((s for s in chosen if not resolved.truth(s).is_null), chosen[0])
    per_day = None
    enrolment = resolved.template.nature.enrolment
    if enrolment and not states_rate(resolved.template):
        per_day = rate_to_enrol_in(resolved, enrolment.last_day / DAYS_PER_MONTH) / DAYS_PER_MONTH
    plan = plan_conduct(resolved.template, per_day)
    return PlannedForecast(resolved, plan, own, observed_months)


def rate_to_enrol_in(resolved: ResolvedTemplate, months: float) -> float:
    """Return the patients per open site and month with which enrolment takes so long on average.

    From the first invitation, given when sites open, how they differ, pauses and screening.

    Raises
    ------
    RequestError
        Where no rate does.
    """
    sites = sites_of(resolved.template)
    n, days = resolved.template.protocol.n_total, months * DAYS_PER_MONTH
    remedy, given = "Give it more time, or open sites sooner.", counted(months, "month", "g")
    try:
        rate = rate_for_mean_time(n, days, accrual_of(sites)) * DAYS_PER_MONTH
    except UnreachableTimeError as error:
        raise RequestError(Problem(str(error), remedy, "--enrol-in", given)) from None
    if rate > _MOST_PER_MONTH:
        rule = f"asks more than {_MOST_PER_MONTH:,} patients a month of every open site"
        raise RequestError(Problem(rule, remedy, "--enrol-in", given))
    return rate


def _row(measure: Measure, values: Sequence[float], **about: Any) -> Row:
    """Return the mean over trials that have it, and the interval that holds the middle 90%."""
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array)]
    if not len(array):
        why = "the last look comes before, in every trial"
        return Row(measure=measure, value=None, why=why, **about)
    low, high = np.quantile(array, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    found: Characteristic = mean(measure, array)
    row = found.row(Row(measure=measure, value=None, **about))
    return replace(row, lower=float(low), upper=float(high), level=LEVEL)


def _milestones(plan: ConductPlan, trials: Sequence[ConductedTrial]) -> Iterator[Row]:
    months = np.array([_months(plan, trial)[: len(MILESTONES)] for trial in trials])
    for name, column in zip(MILESTONES, months.T, strict=True):
        head = True if name == "database lock" else None
        yield _row(Measure.MILESTONE_MONTHS, column, milestone=name, unit="months", headline=head)
    duration = months[:, -1] - months[:, 1]
    yield _row(Measure.DURATION_MONTHS, duration, unit="months")


def _months(plan: ConductPlan, trial: ConductedTrial) -> list[float]:
    """Return when a trial passed `MILESTONES` and its looks; NaN where it did not."""
    n, entered = plan.n_patients, trial.enrolled
    nth = [float(entered[i - 1]) if i <= len(entered) else nan for i in numbers_at_milestones(n)]
    looks = [look.day for look in trial.looks]
    days = [min(trial.openings), *nth, trial.last_visit, trial.locked, *looks]
    return [day / DAYS_PER_MONTH for day in days]


def _statistic(judgement: Judgement) -> dict[str, float | str]:
    """Return what a decision rests on: responses where stages count them, else z."""
    if judgement.good is not None:
        return {"good outcomes at the last look": judgement.good}
    return {"z of the last look": judgement.z}


def _look_names(plan: ConductPlan) -> list[str]:
    """Return what looks are called; a single one is no look of a board."""
    n = len(plan.looks)
    return ["final analysis"] if n == 1 else [f"look {i + 1}" for i in range(n)]


def _looks(plan: ConductPlan, trials: Sequence[ConductedTrial]) -> Iterator[Row]:
    """Yield when each look is held, and who is then where, of the trials that come so far."""
    for index in range(max(len(trial.looks) for trial in trials)):
        held = [trial.looks[index] for trial in trials if len(trial.looks) > index]
        months = [look.day / DAYS_PER_MONTH for look in held]
        number, name = index + 1, _look_names(plan)[index]
        yield _row(Measure.MILESTONE_MONTHS, months, milestone=name, look=number, unit="months")
        for name, category in (
            ("randomised", "randomised by the look"),
            ("settled", "read out by the look"),
            ("in_pipeline", "in the pipeline"),
            ("in_treatment", "in the pipeline, in treatment"),
        ):
            values = [getattr(look, name) for look in held]
            yield _row(Measure.PATIENTS, values, category=category, look=number)


def _kits(trials: Sequence[ConductedTrial]) -> Iterator[Row]:
    if trials[0].ledger is None:
        return
    names = ("made", "dispensed", "damaged", "expired", "in_transit", "in_depots", "at_sites")
    words = ("made", "dispensed", "damaged", "expired", "on their way at the end",
             "in depots at the end", "at sites at the end")  # fmt: skip
    for name, category in zip(names, words, strict=True):
        values = [getattr(trial.ledger, name) for trial in trials]
        yield _row(Measure.KITS, values, category=category)
