"""Simulated literatures as tables of studies: what is exported, read back and drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trialsim.protocol.conduct import Conduct, Mechanism
from trialsim.protocol.endpoints import Summary
from trialsim.protocol.published.evidence import Trial
from trialsim.protocol.published.trials import Counts, Origin, PublishedStudy, PublishedTrials
from trialsim.studies.literature.classroom import Class, ClassTrials
from trialsim.studies.literature.synthesis import PlannedSynthesis, PlannedTrial

__all__ = [
    "MOST_EXPORTED",
    "OneLiterature",
    "class_literatures",
    "risk_of_bias",
    "simulated_literatures",
]

MOST_EXPORTED = 100  # literatures of each conduct and truth

# Domains of RoB 2 (Sterne et al. 2019, BMJ 366:l4898); which flaw belongs where is ours.
_DOMAINS = {
    "rob_randomisation": (Mechanism.FORESEEN_ALLOCATION, Mechanism.HISTORICAL_CONTROLS),
    "rob_deviations": (
        Mechanism.CO_INTERVENTION,
        Mechanism.PER_PROTOCOL,
        Mechanism.AS_TREATED,
        Mechanism.IMMORTAL_TIME,
    ),
    "rob_missing": (Mechanism.EXCLUSION, Mechanism.DIFFERENTIAL_LOSS),
    "rob_measurement": (Mechanism.ASSESSMENT,),
    "rob_selection": (Mechanism.BEST_OF, Mechanism.UNDECLARED_LOOKS, Mechanism.EXTENSION),
}


@dataclass(frozen=True)
class OneLiterature:
    """One literature, and which it is.

    Attributes
    ----------
    number : int
        From 1.
    scenario, conduct : str
        Ids.
    """

    number: int
    scenario: str
    conduct: str
    trials: PublishedTrials


def risk_of_bias(profile: Conduct) -> dict[str, str]:
    """Return the domains a simulated trial has a flaw in: known by construction, not judged."""
    here = set(profile.mechanisms)
    found = {name: "high" if here.intersection(own) else "low" for name, own in _DOMAINS.items()}
    return {**found, "rob_overall": "high" if "high" in found.values() else "low"}


def simulated_literatures(planned: PlannedSynthesis, n: int, seed: int) -> Iterator[OneLiterature]:
    """Yield the first literatures of a run, up to `MOST_EXPORTED` of each conduct and truth.

    Parameters
    ----------
    planned : PlannedSynthesis
    n : int
        Literatures of the run.
    seed : int
    """
    for own in planned.simulate(min(n, MOST_EXPORTED), seed):
        trials = planned.trials[own.conduct.id]
        cells = (
            own.tables.events_treated,
            own.tables.n_treated,
            own.tables.events_control,
            own.tables.n_control,
        )
        for i in range(len(cells[0])):
            studies = tuple(
                as_study(planned, trial, Counts(*(int(cell[i, k]) for cell in cells)))
                for k, trial in enumerate(trials)
            )
            name = f"literature {i + 1}, {own.scenario.id}, {own.conduct.id}"
            found = PublishedTrials(
                name, Summary.ODDS_RATIO, studies, recorded=False, origin=Origin.SIMULATED
            )
            yield OneLiterature(i + 1, own.scenario.id, own.conduct.id, found)


def as_study(planned: PlannedSynthesis, trial: PlannedTrial, counts: Counts) -> PublishedStudy:
    """Return a simulated trial as a line of a meta-analysis.

    One that has the size of a published trial is called like it, never by its name alone: its
    counts are not what was published.
    """
    own = trial.trial
    record = planned.resolved.evidence.records.get(own.id)
    centres = record.design.centres if isinstance(record, Trial) else None
    if centres is None and own.strata.get("centres") == "single":
        centres = 1
    name = f"like {own.id}" if isinstance(record, Trial) else own.id
    return PublishedStudy(
        name,
        own.title or name,
        counts,
        centres=centres,
        quality=own.strata.get("quality", ""),
        rob=risk_of_bias(trial.profile),
    )


def class_literatures(planned: Class, trials: ClassTrials) -> Iterator[OneLiterature]:
    """Yield the trials of a class as planned, as reported and as published."""
    found = [("rigorous", trials.planned.counts, _NO_FLAW)]
    if planned.is_flawed:
        rob = risk_of_bias(planned.conduct)
        found.append((planned.conduct.id, trials.reported.counts, rob))
        if Mechanism.PUBLICATION in planned.conduct.mechanisms:
            name = f"{planned.conduct.id}, published"
            out = trials.reported.counts.copy()
            out[~trials.published] = 0
            found.append((name, out, rob))
    for name, counts, rob in found:
        studies = tuple(
            PublishedStudy(f"student {i + 1}", f"student {i + 1}", Counts(*map(int, row)), rob=rob)
            for i, row in enumerate(counts)
            if row[1] and row[3]
        )
        summary = Summary(str(trials.plan.summary))
        own = PublishedTrials(name, summary, studies, recorded=False, origin=Origin.SIMULATED)
        yield OneLiterature(1, planned.scenario.id, name, own)


_NO_FLAW = risk_of_bias(Conduct(id="rigorous", title="none"))
