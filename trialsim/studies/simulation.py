"""A protocol run thousands of times: power under every scenario, and observed v simulated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from trialsim.characteristics import Z95
from trialsim.engine.blocks import Job
from trialsim.engine.record import RunRecord
from trialsim.engine.replay import ReplayedTrial, replay
from trialsim.engine.run import MAX_REPLICATES, Progress, Simulation, check_kernel, run
from trialsim.engine.store import InMemory, Store, series_of
from trialsim.engine.workers import Workers
from trialsim.errors import Problem, RequestError, SimulationError
from trialsim.protocol.published.cautions import (
    Caution,
    assumption,
    cautions_about,
    imprecise,
    weak_claim,
)
from trialsim.protocol.reading.load import shipped_evidence
from trialsim.protocol.scenario import Piece, Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.site_enrolment import enrolment_in_words, left_out_of
from trialsim.studies.estimands import estimand_rows, plans_of
from trialsim.studies.historical import alone_job, historical_rows, steps_shown
from trialsim.studies.imbalance import imbalance_rows
from trialsim.studies.observed import (
    finding,
    observed_pools,
    observed_rows,
    observed_trials,
    placements,
    sentence,
)
from trialsim.studies.power import power_rows, survival_curves
from trialsim.studies.safety import safety_rows
from trialsim.studies.subgroups import subgroup_findings, subgroup_plans, subgroup_rows
from trialsim.studies.together import correlation_rows, multiplicity_rows
from trialsim.trial import Kernel, Row, StudyResult

__all__ = ["PlannedSimulation", "Precision", "plan_simulation"]

MIN_REPLICATES_FOR_PRECISION = 1_000


@dataclass(frozen=True)
class Precision:
    """Run until the headline numbers are known to so much.

    Attributes
    ----------
    target : float
        Largest error allowed: Wilson half-width over 1.96 of a proportion, else the MCSE.
    max_replicates : int
        The most to be tried; whole blocks of it.
    """

    target: float
    max_replicates: int = 1_000_000

    @property
    def replicates_at_worst(self) -> int:
        """Replicates a probability of one half needs, or the most."""
        return min(
            self.max_replicates, max(MIN_REPLICATES_FOR_PRECISION, ceil(0.25 / self.target**2))
        )


@dataclass(frozen=True)
class PlannedSimulation:
    """Everything to be simulated, decided before any work starts.

    Attributes
    ----------
    resolved : ResolvedTemplate
    jobs : tuple of Job
        The protocol's own trial first, then each observed trial that can be simulated; of a
        single arm last what moves it from its historical control, each thing alone.
    """

    resolved: ResolvedTemplate
    scenarios: tuple[Scenario, ...]
    jobs: tuple[Job, ...]

    def record(self, seed: int) -> RunRecord:
        """Return the identity of a run of this plan."""
        own = tuple(
            record.model_dump(mode="json", by_alias=True, exclude_none=True)
            for name, record in self.resolved.evidence.records.items()
            if name not in shipped_evidence().records
        )
        job = self.jobs[0]
        return RunRecord(
            self.resolved.document,
            self.resolved.sha256,
            seed,
            own,
            job.path,
            job.kernel,
            left_out_of(self.resolved.template),
        )

    def computed_by(
        self, kernel: Kernel, *, installed: bool = True, recorded: bool = False
    ) -> PlannedSimulation:
        """Return the same plan for another kernel.

        Parameters
        ----------
        kernel : Kernel
        installed : bool
            False to read what it computed elsewhere.
        recorded : bool
            Whether a run that is already there was begun with it.

        Raises
        ------
        RequestError
            If it should be installed and is not.
        """
        if installed:
            check_kernel(kernel, recorded=recorded)
        own, *others = self.jobs
        plans = tuple(replace(plan, kernel=kernel) for plan in own.plans)
        return replace(self, jobs=(replace(own, plans=plans, kernel=kernel), *others))

    def simulate(
        self,
        *,
        replicates: int = 10_000,
        seed: int = 1,
        workers: Workers = 1,
        precision: Precision | None = None,
        store: Store | None = None,
        on_progress: Progress | None = None,
    ) -> StudyResult:
        """Run it.

        Parameters
        ----------
        replicates : int
            Simulated trials per scenario. 10,000 give a power to +-0.5 points (1 MCSE).
        seed : int
        workers : int, Executor or Cluster
            Processes, any executor, or a Dask cluster; the answer does not depend on it.
        precision : Precision, optional
            Run until the headline numbers are known so well, whatever `replicates` says.
        store : Store, optional
            Where blocks are kept, and found again.
        on_progress : callable, optional
            Called with work done and work in all, in estimated seconds of one core.
        """
        store = store or InMemory()

        def simulated(jobs: Sequence[Job], n: int) -> tuple[Simulation, ...]:
            return run(
                jobs,
                n_replicates=n,
                seed=seed,
                workers=workers,
                store=store,
                on_progress=on_progress,
            )

        reached: float | None = None
        if precision:
            replicates, reached = self._until(precision, simulated)
        result = self._result(simulated(self.jobs, replicates), seed)
        if precision and reached is not None and reached > precision.target:
            missed = imprecise(precision.target, reached, replicates)
            result = replace(result, warnings=(missed, *result.warnings))
        return result

    def read(self, store: Store, seed: int, at_most: int | None = None) -> StudyResult | None:
        """Return what a run that was stopped has found; None where it has not a single block.

        The replicates of all blocks that every scenario has, counted from the first and up to
        `at_most`; an observed trial that has fewer is placed among these.
        """
        most = at_most or MAX_REPLICATES
        simulations: list[Simulation] = []
        for job in self.jobs:
            n = min(self.n_kept(store, seed), _kept_of(job, store, seed), most)
            if n:
                simulations += run([job], n_replicates=n, seed=seed, store=store)
        there = [simulation.job for simulation in simulations]
        return self._result(simulations, seed) if self.jobs[0] in there else None

    def n_kept(self, store: Store, seed: int) -> int:
        """Return how many replicates of the protocol's own trial every scenario has."""
        return _kept_of(self.jobs[0], store, seed)

    def only_scenario(self) -> str:
        """Return the scenario, where there is one (RequestError)."""
        if len(self.scenarios) > 1:
            names = ", ".join(scenario.id for scenario in self.scenarios)
            remedy = f"Name one with --scenario: {names}."
            raise RequestError(Problem("has several scenarios", remedy, "the run"))
        return self.scenarios[0].id

    def replay(
        self, scenario: str, seed: int, replicate: int, store: Store | None = None
    ) -> ReplayedTrial:
        """Return one trial of the protocol's own, patient by patient.

        Parameters
        ----------
        scenario : str
        seed : int
        replicate : int
            From 1.
        store : Store, optional
            The run it belongs to; its row there must be the same.

        Raises
        ------
        RequestError
            If there is no such scenario or replicate.
        SimulationError
            If the row in the store is another.
        """
        (chosen,) = self.resolved.scenarios([scenario])
        job = self.jobs[0]
        truth = self.resolved.truth(chosen)
        series = series_of(job, truth, seed)
        if store and replicate > (most := store.n_replicates(series)):
            if not most:
                rule = f"holds no simulated trials of scenario {scenario}"
                remedy = "Run 'trialsim simulate' into it, or name the template instead of the run."
                raise RequestError(Problem(rule, remedy, "RUN"))
            rule = f"must be at most {most:,}, which the run has"
            raise RequestError(Problem(rule, "Name another.", "--replicate", f"{replicate:,}"))
        trial = replay(job, truth, seed, replicate)
        if store and (replicate - 1) // job.block_width in store.blocks(series):
            there = store.row(series, replicate - 1)[0]
            if not there.same_as(trial.looks):
                raise SimulationError(
                    Problem(
                        "is not what the run has: it was computed on another kind of machine",
                        "Run it again here, into a new folder.",
                        f"replicate {replicate} of {scenario}",
                    )
                )
        return trial

    def _until(
        self,
        precision: Precision,
        simulated: Callable[[Sequence[Job], int], tuple[Simulation, ...]],
    ) -> tuple[int, float | None]:
        """Return how many replicates are enough, or the most, and the precision they reach."""
        width = self.jobs[0].block_width
        if precision.max_replicates < width:
            rule = f"must be at least {width:,}: replicates are drawn in blocks of so many"
            given = f"{precision.max_replicates:,}"
            raise RequestError(Problem(rule, "Allow more.", "--max-replicates", given))
        most = precision.max_replicates // width * width
        n = min(most, -(-MIN_REPLICATES_FOR_PRECISION // width) * width)
        while True:
            own = simulated(self.jobs, n)[0]
            reached = _worst_error(power_rows(self.resolved, own))
            if reached is None or reached <= precision.target or n >= most:
                return n, reached
            wanted = n * (reached / precision.target) ** 2
            n = min(most, max(n + width, int(-(-wanted // width)) * width))

    def _result(self, simulations: Sequence[Simulation], seed: int) -> StudyResult:
        own = next(s for s in simulations if s.job == self.jobs[0])
        alone = next((s for s in simulations if s.job == self.jobs[-1] != self.jobs[0]), None)
        by_unit = {**{simulation.job.unit: simulation for simulation in simulations}, "": own}
        single = self.resolved.template.protocol.is_single_arm
        trials = []
        for trial in observed_trials(self.resolved, self.scenarios):
            simulation = by_unit.get(trial.record.id)
            known = trial if simulation else trial.not_yet_simulated()
            trials.append((known, placements(known, simulation, self.resolved)))
        pools = observed_pools(self.resolved)
        moved = tuple(historical_rows(self.resolved, own, alone)) if single and alone else ()
        primary = self.resolved.template.protocol.primary.id
        subgroups = tuple(subgroup_rows(self.resolved, own))
        told = enrolment_in_words(self.resolved.template)
        return StudyResult(
            rows=(
                *power_rows(self.resolved, own),
                *estimand_rows(self.resolved, own),
                *multiplicity_rows(self.resolved, own),
                *correlation_rows(self.resolved, own),
                *moved,
                *subgroups,
                *safety_rows(self.resolved, self.scenarios),
                *imbalance_rows(self.resolved, self.scenarios, own.n_replicates, seed),
            ),
            observed=tuple(observed_rows(trials, pools, self.resolved)),
            findings=(
                *(finding(trial, placed) for trial, placed in trials),
                *subgroup_findings(self.resolved, subgroups),
            ),
            texts={
                **{trial.record.id: sentence(trial, placed) for trial, placed in trials},
                **({"enrolment": told} if told else {}),
            },
            warnings=self._cautions(),
            figure_data={
                "observed": (trials, pools),
                "survival": survival_curves(self.resolved, own),
                "historical": steps_shown(moved, primary) if moved else None,
            },
            n_replicates=own.n_replicates,
        )

    def _cautions(self) -> tuple[Caution, ...]:
        resolved, cited = self.resolved, [r.evidence for r in self.resolved.template.observed]
        explained = {conflict.used for conflict in resolved.evidence.conflicts}
        protocol, weak = resolved.template.protocol, []
        cited += resolved.template.about
        values = (protocol.control.historical or {}).values()
        cited += [value.number.source for value in values if value.number.source]
        for scenario in self.scenarios:
            pieces = _pieces(scenario)
            weak += [assumption(piece.note, scenario.id) for piece in pieces if piece.note]
            cited += [p.source for p in pieces if p.source]
            number = scenario.effect.number if scenario.effect else None
            cited += [scenario.as_observed] if scenario.as_observed else []
            outcomes = scenario.outcomes.values()
            cited += [e.number.source for e in outcomes if e.number.source]
            if number is None or number.source is None:
                continue
            cited.append(number.source)
            status = resolved.status_of(scenario)
            if status in ("document", "unverified") and number.source not in explained:
                weak.append(
                    weak_claim(
                        scenario.id,
                        resolved.truth(scenario).label,
                        number.source,
                        status,
                        resolved.evidence,
                    )
                )
        found = (*weak, *cautions_about(cited, resolved.evidence))
        return tuple(sorted(found, key=lambda caution: caution.level == "note"))


def _kept_of(job: Job, store: Store, seed: int) -> int:
    return min(store.n_replicates(series_of(job, truth, seed)) for truth in job.truths)


def _worst_error(rows: Sequence[Row]) -> float | None:
    """Return the largest error of a headline number; None where none could be given.

    Of a proportion the half-width of its Wilson interval over 1.96, which is not 0 where the
    proportion is 0 or 1; else the Monte Carlo standard error.
    """
    errors = [
        (row.upper - row.lower) / (2 * Z95)
        if row.lower is not None and row.upper is not None
        else row.mcse
        for row in rows
        if row.headline and row.value is not None
    ]
    return max((error for error in errors if error is not None), default=None)


def _pieces(scenario: Scenario) -> tuple[Piece, ...]:
    response = scenario.response
    return (*response.control, *(response.treated or ())) if response else ()


def plan_simulation(resolved: ResolvedTemplate, scenarios: Sequence[str] = ()) -> PlannedSimulation:
    """Decide what to simulate, computed by numpy.

    Parameters
    ----------
    resolved : ResolvedTemplate
    scenarios : sequence of str
        Ids; all scenarios of the file for none.

    Raises
    ------
    RequestError
        For a scenario the file does not have.
    """
    chosen = resolved.scenarios(scenarios)
    protocol = resolved.template.protocol
    plans = (*plans_of(resolved), *subgroup_plans(resolved))
    own = Job(protocol, plans, tuple(resolved.truth(s) for s in chosen))
    observed = (trial.job for trial in observed_trials(resolved, chosen) if trial.truths)
    alone = (alone_job(own),) if protocol.is_single_arm else ()
    jobs = tuple(job.on_its_shortest_path() for job in (own, *observed, *alone))
    return PlannedSimulation(resolved, chosen, jobs)
