"""Many simulated trials' conduct, on one process or several: the same whoever computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trialsim.engine.board_decisions import BoardRules
from trialsim.engine.outcome_days import OutcomeDays
from trialsim.engine.workers import each_by_processes
from trialsim.operations.conducted import ConductedTrial
from trialsim.operations.plan import ConductPlan
from trialsim.operations.simulation import conduct_trial
from trialsim.streams import Streams

__all__ = ["conduct_trials"]

_AT_ONCE = 5  # trials handed to a process together


@dataclass(frozen=True)
class _Some:
    """Trials to be simulated together."""

    plan: ConductPlan
    seed: int
    runs: tuple[int, ...]
    logged: int
    outcomes: OutcomeDays | None
    rules: BoardRules | None


def conduct_trials(
    plan: ConductPlan,
    *,
    n_runs: int,
    seed: int,
    outcomes: OutcomeDays | None = None,
    rules: BoardRules | None = None,
    workers: int = 1,
    logged: int = 1,
    on_progress: Callable[[float, float], None] | None = None,
) -> list[ConductedTrial]:
    """Simulate `n_runs` trials event by event; the first `logged` of them keep their log.

    Where there are `rules`, looks may stop a trial.

    Raises
    ------
    SimulationError
        If processes die again and again.
    """
    tasks = [
        _Some(
            plan, seed, tuple(range(first, min(first + _AT_ONCE, n_runs))), logged, outcomes, rules
        )
        for first in range(0, n_runs, _AT_ONCE)
    ]
    found: list[list[ConductedTrial]] = [[] for _ in tasks]
    done = 0
    for number, answer in each_by_processes(_conduct_some, tasks, min(workers, len(tasks))):
        found[number] = answer
        done += len(answer)
        if on_progress:
            on_progress(done, n_runs)
    return [trial for part in found for trial in part]


def _conduct_some(some: _Some) -> list[ConductedTrial]:
    streams, n = Streams(some.seed), some.plan.n_patients
    return [
        conduct_trial(
            some.plan,
            streams,
            run,
            some.outcomes.drawn(n, streams, run) if some.outcomes else None,
            judge=some.rules.judge_of(n, streams, run) if some.rules else None,
            keep_log=run < some.logged,
        )
        for run in some.runs
    ]
