"""The first literature of a run with its flaws, and what the same patients say without them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trialsim.engine.reported_tables import reported_tables
from trialsim.protocol.endpoints import Summary
from trialsim.protocol.published.literature import ConductSet
from trialsim.protocol.published.trials import Counts, Origin, PublishedTrials, StudyStratum
from trialsim.protocol.scenario import Scenario
from trialsim.studies.literature.literature_trials import as_study
from trialsim.studies.literature.published_synthesis import (
    PooledStudies,
    PublishedSynthesis,
    pool_studies,
)
from trialsim.studies.literature.synthesis import (
    PlannedSynthesis,
    PlannedTrial,
    which_are_published,
)

__all__ = ["ONE_LITERATURE", "OneOfTwo", "SimulatedSynthesis", "one_literature"]

ONE_LITERATURE = "one literature"  # the text of a document
_MOST_BLOCKS = 20


@dataclass(frozen=True)
class SimulatedSynthesis(PublishedSynthesis):
    """One simulated literature, split as the file splits it."""

    by: str = ""
    sides: tuple[StudyStratum, ...] = ()

    @property
    def split_name(self) -> str:
        """What it is split by."""
        return self.by

    @property
    def strata(self) -> tuple[tuple[StudyStratum, PooledStudies], ...]:
        """The two strata, pooled."""
        return tuple((side, pool_studies(self.trials, side.chosen)) for side in self.sides)


@dataclass(frozen=True)
class OneOfTwo:
    """A literature twice: the same truth and the same luck, without flaws and with.

    Attributes
    ----------
    honest : SimulatedSynthesis
        The first trial of every stream, as planned, all of them published.
    reported : SimulatedSynthesis
        The first that is published of every stream, with its flaws: literature 1 of the run.
    drawer : tuple of tuple of Counts
        Per trial, the tables of those before it, which are not published.
    """

    conduct: ConductSet
    scenario: Scenario
    honest: SimulatedSynthesis
    reported: SimulatedSynthesis
    drawer: tuple[tuple[Counts, ...], ...]

    def in_words(self) -> str:
        """Return one line per trial: both tables, and how many are in the drawer."""
        lines = []
        both = zip(
            self.honest.trials.studies, self.reported.trials.studies, self.drawer, strict=True
        )
        for honest, reported, hidden in both:
            tables = [
                f"{c.events_treated}/{c.n_treated} v {c.events_control}/{c.n_control}"
                for c in (honest.counts, reported.counts)
                if c
            ]
            lines.append(f"{honest.study}: {tables[0]}; {tables[1]}; {len(hidden)}")
        return "\n".join(lines)


def one_literature(planned: PlannedSynthesis, seed: int) -> OneOfTwo:
    """Return literature 1 under the first truth and the first conduct with flaws, and without.

    Raises
    ------
    SimulationError
        Where a filter publishes hardly anything.
    """
    chosen, scenario = planned.sets[min(1, len(planned.sets) - 1)], planned.scenarios[0]
    trials = planned.trials[chosen.id]
    found = [_first(trial, seed) for trial in trials]

    def literature(place: int, name: str) -> SimulatedSynthesis:
        studies = tuple(
            as_study(planned, trial, own[place][-1])
            for trial, own in zip(trials, found, strict=True)
        )
        first, second = planned.members
        sides = tuple(
            StudyStratum(stratum.id, tuple(map(bool, members)))
            for stratum, members in zip(planned.split.strata, (first, second), strict=True)
        )
        table = PublishedTrials(
            name, Summary.ODDS_RATIO, studies, recorded=False, origin=Origin.SIMULATED
        )
        return SimulatedSynthesis(planned.resolved, table, by=planned.split.id, sides=sides)

    return OneOfTwo(
        chosen,
        scenario,
        literature(0, "rigorous"),
        literature(1, chosen.id),
        tuple(own[1][:-1] for own in found),
    )


def _first(trial: PlannedTrial, seed: int) -> tuple[tuple[Counts, ...], tuple[Counts, ...]]:
    """Return the first table without flaws, and those with them up to the first published."""
    job = replace(trial.job, truths=trial.job.truths[:1])
    plain = replace(job, plans=(replace(job.plans[0], conduct=None),))
    honest = _counts(reported_tables(plain, seed, 0)[0].counts[:1])
    is_out = which_are_published(trial.job, trial.profile)
    tried: list[Counts] = []
    for block in range(_MOST_BLOCKS):  # a filter that passes hardly anything was refused before
        own = reported_tables(job, seed, block)[0]
        out = np.flatnonzero(is_out(own, seed, block))
        tried += _counts(own.counts[: out[0] + 1] if len(out) else own.counts)
        if len(out):
            break
    return honest, tuple(tried)


def _counts(rows: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> tuple[Counts, ...]:
    return tuple(Counts(*map(int, row)) for row in rows)
