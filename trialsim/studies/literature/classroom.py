"""A class: every student replays one trial of the same seed, and the trials are pooled.

Student i replays trial i. What is pooled is exactly what those replays show, as planned and as
reported, and what of it is published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trialsim.conduct.reporting import evidence
from trialsim.engine.blocks import Job
from trialsim.engine.reported_tables import ReportedTables, reported_tables
from trialsim.errors import Problem, RequestError
from trialsim.kernels.pooling import Pooled, Tables, Uninformative, effects, mantel_haenszel
from trialsim.kernels.proportions import Scale
from trialsim.kernels.random_effects import Estimator, RandomEffects, random_effects
from trialsim.protocol.conduct import RIGOROUS, Conduct, Mechanism
from trialsim.protocol.published.cautions import Caution, assumption
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.studies.conduct.bias import before_publication, plan_bias
from trialsim.studies.literature.synthesis import check_template, which_are_published
from trialsim.studies.power import theta_of
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import AnalysisPlan, LookResults, Measure, Row, StudyResult

__all__ = ["MOST_STUDENTS", "Class", "ClassTrials", "PooledClass", "plan_class"]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

MOST_STUDENTS = 1_000
PLANNED, REPORTED = "as planned", "as reported"


@dataclass(frozen=True)
class PooledClass:
    """Trials of a class pooled; arrays of shape (1,)."""

    common: Pooled
    random: RandomEffects
    n_trials: int


@dataclass(frozen=True)
class ClassTrials:
    """What the students of a class find; student i stands at i - 1.

    Attributes
    ----------
    planned, reported : ReportedTables
        Without flaws, and with them; counts of shape (n_students, 4), results (n_students, 1).
    published : ndarray of bool, shape (n_students,)
        Which of the trials reported are.
    plan : AnalysisPlan
    """

    planned: ReportedTables
    reported: ReportedTables
    published: Bools
    plan: AnalysisPlan

    @property
    def n(self) -> int:
        """Students."""
        return len(self.published)

    def hands(self, found: ReportedTables) -> tuple[Bools, Bools]:
        """Return whose trial is significant in favour, and whose against, shape (n_students,)."""
        results = found.results
        sure, z = results.rejected[:, -1], evidence(results, self.plan)[:, -1]
        return sure & (z > 0), sure & (z < 0)

    def pooled(self, found: ReportedTables, chosen: Bools | None = None) -> PooledClass:
        """Pool all trials, or those chosen, on the scale of the protocol's effect."""
        counts = found.counts if chosen is None else found.counts[chosen]
        known = (counts[:, [1, 3]] > 0).all(axis=1)  # an arm may be empty
        tables = Tables(*np.where(known, counts.T, np.nan)[:, None, :])
        scale = Scale(str(self.plan.summary))
        which = (
            Uninformative.CORRECTED if scale is Scale.RISK_DIFFERENCE else Uninformative.LEFT_OUT
        )
        own = effects(tables, scale, which)
        random = random_effects(
            own.estimates, own.variances, Estimator.RESTRICTED_MAXIMUM_LIKELIHOOD
        )
        return PooledClass(mantel_haenszel(tables, scale), random, len(counts))


@dataclass(frozen=True)
class Class:
    """Who is in it and what every student runs, decided before any work starts.

    Attributes
    ----------
    resolved : ResolvedTemplate
    conduct : Conduct
        `rigorous` for trials without flaws.
    scenario : Scenario
        The truth of every trial.
    job : Job
        That of the students' replays.
    only : Mechanism or None
        The one flaw of the profile that acts.
    """

    resolved: ResolvedTemplate
    conduct: Conduct
    scenario: Scenario
    job: Job
    n_students: int
    only: Mechanism | None = None

    @property
    def truth(self) -> Truth:
        """The truth of every trial."""
        return self.job.truths[0]

    @property
    def is_flawed(self) -> bool:
        """Whether any flaw acts."""
        return bool(self.conduct.mechanisms)

    @cached_property
    def theta(self) -> float:
        """The true effect, analysis scale."""
        return theta_of(self.resolved, self.job.plans[0], self.scenario, self.truth)

    def trials(self, seed: int) -> ClassTrials:
        """Return the trials the students get."""
        plan = self.job.plans[0]
        planned = self._first(replace(self.job, plans=(plan,)), seed)
        if not self.is_flawed:
            return ClassTrials(planned, planned, ~planned.results.failed[:, -1], plan)
        before = before_publication(self.conduct)
        flawed = replace(plan, conduct=before if before.mechanisms else None)
        job = replace(self.job, plans=(flawed,))
        out = which_are_published(job, self.conduct)
        reported = self._first(job, seed)
        width = job.block_width
        parts = [
            out(_some(reported, slice(start, start + width)), seed, start // width)
            for start in range(0, self.n_students, width)
        ]
        return ClassTrials(planned, reported, np.concatenate(parts), plan)

    def _first(self, job: Job, seed: int) -> ReportedTables:
        """Return the first trials of a run, as many as there are students."""
        blocks = [
            reported_tables(job, seed, block)[0] for block in range(job.n_blocks(self.n_students))
        ]
        joined = ReportedTables(
            np.concatenate([block.counts for block in blocks]),
            LookResults.joined([block.results for block in blocks]),
        )
        return _some(joined, slice(0, self.n_students))

    def result(self, trials: ClassTrials) -> StudyResult:
        """Return every number as a row: of each student, and pooled."""
        rows = [*self._rows(trials, trials.planned, RIGOROUS.id)]
        if self.is_flawed:
            rows += self._rows(trials, trials.reported, self.conduct.id)
            rows.append(self._row(Measure.PUBLISHED, int(trials.published.sum()), self.conduct.id))
            rows += [
                replace(self._row(Measure.PUBLISHED, int(out), self.conduct.id), analysis=who)
                for out, who in zip(trials.published, self._students, strict=True)
            ]
            if self._filters:
                pooled = trials.pooled(trials.reported, trials.published)
                rows += self._pooled(pooled, self.conduct.id, "published")
        return StudyResult(
            tuple(rows),
            texts=dict(self._texts(trials)),
            warnings=tuple(self._cautions()),
            n_replicates=trials.n,
        )

    @property
    def _students(self) -> list[str]:
        return [f"student {i}" for i in range(1, self.n_students + 1)]

    @property
    def _filters(self) -> bool:
        return Mechanism.PUBLICATION in self.conduct.mechanisms

    def _row(self, measure: Measure, value: float | None, conduct: str) -> Row:
        protocol = self.resolved.template.protocol
        row = Row.about(
            measure,
            self.scenario.id,
            protocol.primary.id,
            protocol.primary.read_out,
            self.resolved.variant,
        )
        return replace(row, value=value, conduct=conduct)

    def _rows(self, trials: ClassTrials, found: ReportedTables, conduct: str) -> Iterator[Row]:
        back = np.exp if trials.plan.summary.is_ratio else float
        results, favour = found.results, trials.hands(found)
        for i, (counts, who) in enumerate(zip(found.counts, self._students, strict=True)):
            for arm, (x, n) in (("treated", counts[:2]), ("control", counts[2:])):
                for measure, value in ((Measure.N_EVENTS, x), (Measure.N_PATIENTS, n)):
                    yield replace(self._row(measure, int(value), conduct), analysis=who, arm=arm)
            failed = bool(results.failed[i, -1])
            why = "no analysis was possible" if failed else None
            ends = [
                None if failed else float(back(x[i, -1]))
                for x in (results.estimate, results.lower, results.upper)
            ]
            yield replace(
                self._row(Measure.ESTIMATE, ends[0], conduct),
                analysis=who,
                lower=ends[1],
                upper=ends[2],
                scale=str(trials.plan.summary),
                why=why,
            )
            p = None if failed else float(results.p_value[i, -1])
            yield replace(self._row(Measure.P_VALUE, p, conduct), analysis=who, why=why)
            yield replace(self._row(Measure.HANDS, int(favour[0][i]), conduct), analysis=who)
        for measure, side in zip((Measure.HANDS, Measure.HANDS_AGAINST), favour, strict=True):
            yield self._row(measure, int(side.sum()), conduct)
        yield from self._pooled(trials.pooled(found), conduct, None)

    def _pooled(self, pooled: PooledClass, conduct: str, stratum: str | None) -> Iterator[Row]:
        ratio = self.job.plans[0].summary.is_ratio
        for name, one in (("Mantel-Haenszel", pooled.common), ("REML", pooled.random)):
            ends = [float(x[0]) for x in (one.estimate, one.lower, one.upper)]
            known = bool(np.isfinite(ends).all())
            if ratio and known:
                ends = [float(np.exp(end)) for end in ends]
            yield replace(
                self._row(Measure.ESTIMATE, ends[0] if known else None, conduct),
                analysis=name,
                stratum=stratum,
                lower=ends[1] if known else None,
                upper=ends[2] if known else None,
                level=0.95,
                scale=str(self.job.plans[0].summary),
                why=None if known else "too few trials with events in both arms",
            )

    def _texts(self, trials: ClassTrials) -> Iterator[tuple[str, str]]:
        yield (
            "rule",
            "Student i replays trial i of this seed. The trials are the first of any longer run "
            "with it; another seed is another class.",
        )
        told = [self._hands(trials, trials.planned, PLANNED)]
        if self.is_flawed:
            told.append(self._hands(trials, trials.reported, REPORTED))
        yield "hands", f"Hands up, whose trial is significant? {' '.join(told)}"
        if self._filters:
            n = int(trials.published.sum())
            yield "drawer", f"Published: {n} of {trials.n}; {trials.n - n} stay in the drawer."

    def _hands(self, trials: ClassTrials, found: ReportedTables, when: str) -> str:
        favour, against = (int(side.sum()) for side in trials.hands(found))
        return f"{when[0].upper()}{when[1:]} {favour} of {trials.n} in favour, {against} against."

    def _cautions(self) -> Iterator[Caution]:
        if self.is_flawed:
            note = self.conduct.note or "Its strengths are assumed unless sourced."
            text = f"Conduct '{self.conduct.id}' ({self.conduct.title}). {note}"
            yield assumption(text, self.scenario.id)


def _some(found: ReportedTables, which: slice) -> ReportedTables:
    return ReportedTables(found.counts[which], found.results.only(which))


def plan_class(
    resolved: ResolvedTemplate,
    n_students: int,
    *,
    conduct: Conduct | None = None,
    only: Mechanism | None = None,
    scenarios: Sequence[str] = (),
) -> Class:
    """Decide what every student of a class runs.

    Parameters
    ----------
    resolved : ResolvedTemplate
        With a binary primary endpoint in two arms, of the size of a student's trial.
    n_students : int
        From 2 to `MOST_STUDENTS`.
    conduct : Conduct, optional
        Flaws; none where it is not given.
    only : Mechanism, optional
        This flaw of the profile and no other.
    scenarios : sequence of str
        At most one; the template's first where none is named.

    Raises
    ------
    RequestError
        For a class that cannot be, several scenarios, or flaws that cannot act.
    """
    if not 2 <= n_students <= MOST_STUDENTS:
        rule = f"must be from 2 to {MOST_STUDENTS:,} students"
        remedy = "One trial is no class: see 'trialsim replay'."
        if n_students > MOST_STUDENTS:
            remedy = "Of many trials 'trialsim simulate' or 'trialsim bias' tells the distribution."
        raise RequestError(Problem(rule, remedy, "--class", f"{n_students:,}"))
    if len(scenarios) > 1:
        rule, remedy = "must be one: a class has one truth", "Keep one."
        raise RequestError(Problem(rule, remedy, "--scenario", ", ".join(scenarios)))
    check_template(resolved)
    wanted = list(scenarios) or [resolved.template.scenarios[0].id]
    if only and not (conduct and conduct.mechanisms):
        rule, remedy = f"has no flaw of {only} that acts", "Name 'every-flaw', which has each."
        raise RequestError(Problem(rule, remedy, "--conduct", conduct.id if conduct else ""))
    if conduct is None or not conduct.mechanisms:
        job = plan_simulation(resolved).jobs[0]
        (scenario,) = resolved.scenarios(wanted)
        job = replace(job, truths=(resolved.truth(scenario),), plans=job.plans[:1])
        return Class(resolved, RIGOROUS, scenario, job, n_students)
    planned = plan_bias(resolved, conduct, wanted)
    if only and only not in planned.mechanisms:
        rule = f"is no flaw of conduct '{conduct.id}' that acts"
        remedy = f"Its flaws are {', '.join(planned.mechanisms)}."
        raise RequestError(Problem(rule, remedy, "--only", f"'{only}'"))
    chosen = conduct.only({only}) if only else conduct
    (scenario,) = planned.scenarios
    job = replace(planned.job, plans=planned.job.plans[:1])
    return Class(planned.resolved, chosen, scenario, job, n_students, only)
