"""A protocol run thousands of times: power under every scenario, and observed v simulated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from trialsim.engine.blocks import Job
from trialsim.engine.record import RunRecord
from trialsim.engine.run import check_kernel, run
from trialsim.protocol.cautions import Caution, assumption, cautions_about, weak_claim
from trialsim.protocol.load import shipped_evidence
from trialsim.protocol.resolved import ResolvedTemplate
from trialsim.protocol.scenario import Piece, Scenario
from trialsim.studies.observed import (
    finding,
    observed_pools,
    observed_rows,
    observed_trials,
    placements,
    sentence,
)
from trialsim.studies.power import power_rows, survival_curves
from trialsim.trial import AnalysisPlan, Kernel, StudyResult

__all__ = ["PlannedSimulation", "plan_simulation"]


@dataclass(frozen=True)
class PlannedSimulation:
    """Everything to be simulated, decided before any work starts.

    Attributes
    ----------
    resolved : ResolvedTemplate
    jobs : tuple of Job
        The protocol's own trial first, then each observed trial that can be simulated.
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
            self.resolved.document, self.resolved.sha256, seed, own, job.path, job.kernel
        )

    def computed_by(self, kernel: Kernel) -> PlannedSimulation:
        """Return the same plan for another kernel.

        Raises
        ------
        RequestError
            If it is not installed.
        """
        check_kernel(kernel)
        own, *others = self.jobs
        plans = tuple(replace(plan, kernel=kernel) for plan in own.plans)
        return replace(self, jobs=(replace(own, plans=plans, kernel=kernel), *others))

    def simulate(
        self,
        *,
        replicates: int = 10_000,
        seed: int = 1,
        workers: int = 1,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> StudyResult:
        """Run it.

        Parameters
        ----------
        replicates : int
            Simulated trials per scenario. 10,000 give a power to +-0.5 points (1 MCSE).
        seed : int
        workers : int
            Processes; the answer does not depend on it.
        on_progress : callable, optional
            Called with blocks done and blocks in all.
        """
        simulations = run(
            self.jobs, n_replicates=replicates, seed=seed, workers=workers, on_progress=on_progress
        )
        by_unit = {simulation.job.unit: simulation for simulation in simulations}
        trials = [
            (trial, placements(trial, by_unit.get(trial.record.id), self.resolved))
            for trial in observed_trials(self.resolved, self.scenarios)
        ]
        pools = observed_pools(self.resolved)
        return StudyResult(
            rows=tuple(power_rows(self.resolved, by_unit[""])),
            observed=tuple(observed_rows(trials, pools, self.resolved)),
            findings=tuple(finding(trial, placed) for trial, placed in trials),
            texts={trial.record.id: sentence(trial, placed) for trial, placed in trials},
            warnings=self._cautions(),
            figure_data={
                "observed": (trials, pools),
                "survival": survival_curves(self.resolved, by_unit[""]),
            },
        )

    def _cautions(self) -> tuple[Caution, ...]:
        resolved, cited = self.resolved, [r.evidence for r in self.resolved.template.observed]
        explained = {conflict.used for conflict in resolved.evidence.conflicts}
        weak = []
        for scenario in self.scenarios:
            pieces = _pieces(scenario)
            weak += [assumption(scenario.id, piece.note) for piece in pieces if piece.note]
            cited += [p.reaches.source for p in pieces if p.reaches and p.reaches.source]
            number = scenario.effect.number if scenario.effect else None
            cited += [scenario.as_observed] if scenario.as_observed else []
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
    plans = tuple(AnalysisPlan.of(protocol, endpoint) for endpoint in protocol.simulated)
    own = Job(protocol, plans, tuple(resolved.truth(s) for s in chosen))
    observed = (trial.job for trial in observed_trials(resolved, chosen) if trial.truths)
    jobs = tuple(job.on_its_shortest_path() for job in (own, *observed))
    return PlannedSimulation(resolved, chosen, jobs)
