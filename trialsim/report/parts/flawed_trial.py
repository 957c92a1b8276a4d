"""One trial before and after its flaws: in words, as tables, and the run it is taken from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trialsim.engine.flawed_trials import BY_ITS_LIST, Counts, FlawedTrial
from trialsim.errors import Problem, RequestError
from trialsim.protocol.conduct import Conduct, Mechanism
from trialsim.protocol.design import Protocol
from trialsim.protocol.survival import DAYS_PER_YEAR
from trialsim.report.parts.patients import patients_table
from trialsim.report.run_reader import FinishedRun, flawed_runs
from trialsim.report.text import endpoint_in_words, table
from trialsim.studies.conduct.bias import PlannedBias, flaw_from_words, plan_bias
from trialsim.trial import AnalysisPlan, LookResults

__all__ = ["before_and_after", "planned_of_run", "tables_of_trial", "touched_patients"]

_PATIENTS_SHOWN = 8
_DONE = {
    Mechanism.FORESEEN_ALLOCATION: "steered to the other arm",
    Mechanism.CO_INTERVENTION: "better off by other care",
    Mechanism.HISTORICAL_CONTROLS: "replaced by one of an earlier time, with another outcome",
    Mechanism.EXCLUSION: "dropped after randomisation",
    Mechanism.DIFFERENTIAL_LOSS: "lost, and left out",
    Mechanism.ASSESSMENT: "misread",
    Mechanism.PER_PROTOCOL: "left out for not adhering",
    Mechanism.AS_TREATED: "counted in the other arm",
    Mechanism.UNDECLARED_LOOKS: "left out by an end at an undeclared look",
    Mechanism.IMMORTAL_TIME: "not counted as treated, for having died too soon",
}


def planned_of_run(
    folder: Path, conduct: str | None, replicate: int, *, asked: bool
) -> PlannedBias | None:
    """Return the study of flaws in a run folder; None where trials without flaws are meant.

    Parameters
    ----------
    folder : Path
    conduct : str or None
        Id of the profile, where the folder holds several.
    replicate : int
        Which trial, from 1; the run must have it.
    asked : bool
        Whether flaws are asked for; otherwise a folder that also holds simulated trials is theirs.

    Raises
    ------
    RequestError
        If flaws are asked for and there are none, or the profile is not told.
    """
    if not asked and any((folder / "results").glob("simulate*.sha256")):
        return None
    runs = flawed_runs(folder)
    if not runs and not asked:
        return None
    profiles: dict[str, FinishedRun] = {}
    for run in sorted(runs, key=_reach):  # the one that reaches furthest is kept
        profiles[run.document["arguments"]["conduct"]["id"]] = run
    if conduct and conduct not in profiles:
        there = f"There are {', '.join(profiles)}." if profiles else "Run 'trialsim bias' first."
        raise RequestError(Problem("is no conduct of this run", there, "--conduct", f"'{conduct}'"))
    if not runs:
        remedy = "Run 'trialsim bias' into it first."
        raise RequestError(Problem("holds no trials with flaws", remedy, "RUN", str(folder)))
    if len(profiles) > 1 and not conduct:
        remedy = f"Name one with --conduct: {', '.join(profiles)}."
        raise RequestError(Problem("holds several conducts", remedy, "RUN", str(folder)))
    return _planned(profiles[conduct] if conduct else next(iter(profiles.values())), replicate)


def _reach(run: FinishedRun) -> tuple[bool, int]:
    """Order runs by whether they have all flaws of the profile, then by their trials."""
    arguments = run.document["arguments"]
    return "only" not in arguments, int(arguments["replicates"])


def _planned(run: FinishedRun, replicate: int) -> PlannedBias:
    arguments = run.document["arguments"]
    most = int(arguments["replicates"])
    if replicate > most:
        rule = f"must be at most {most:,}, which the run has"
        raise RequestError(Problem(rule, "Name another.", "--replicate", f"{replicate:,}"))
    try:
        conduct = Conduct.model_validate(arguments["conduct"])
    except ValidationError:
        remedy = "Run 'trialsim bias' again into a new folder."
        rule = "holds a conduct this version cannot read"
        raise RequestError(Problem(rule, remedy, "RUN", str(run.folder))) from None
    only = flaw_from_words(arguments["only"]) if "only" in arguments else None
    return plan_bias(run.resolved, conduct, arguments.get("scenario", []), only=only)


def before_and_after(planned: PlannedBias, trial: FlawedTrial, seed: int) -> str:
    """Return one trial in words: the truth, as planned, what each flaw did, as reported.

    Returns
    -------
    str
        Lines of a subject, a colon and a sentence.
    """
    protocol, plan = planned.job.protocol, planned.job.plans[0]
    what, counted = endpoint_in_words(protocol), trial.counts_planned is not None
    of = " with " if counted else ", "
    lines = [
        f"{planned.resolved.template.id}: trial {trial.replicate} of seed {seed}, conduct "
        f"'{trial.conduct.id}'. In truth {trial.truth.label} ({trial.truth.title}).",
        f"As planned: {_compared(protocol, trial, 'planned')}{of}{what}. "
        f"{_found(plan, trial.planned)}",
        *_flaws(protocol, trial),
        f"As reported: {_compared(protocol, trial, 'reported')}. {_found(plan, trial.reported)}",
    ]
    if not trial.counts_are_reported:
        this = "this table" if counted else "these records"
        lines.append(f"Chosen: the result reported is one of several, not that of {this}.")
    if trial.imbalance_planned is not None and trial.imbalance_reported is not None:
        lines.append(
            "Prognosis: of the treated less that of controls (larger is better), in standard "
            f"deviations: {trial.imbalance_planned:+.2f} as planned, "
            f"{trial.imbalance_reported:+.2f} among those analysed."
        )
    if trial.published is not None:
        lines.append(f"Publication: it was {'' if trial.published else 'not '}published.")
    return "\n".join(lines)


def _compared(protocol: Protocol, trial: FlawedTrial, when: str) -> str:
    counts: Counts | None = getattr(trial, f"counts_{when}")
    if counts is None:
        both = (protocol.experimental.id, protocol.control.id)
        return " v ".join(_arm_in_words(trial.patients, arm, when) for arm in both)
    arms = (
        (counts.events_treated, counts.n_treated),
        (counts.events_control, counts.n_control),
    )
    return " v ".join(
        f"{events[0]}/{n[0]}" + (f" ({100 * events[0] / n[0]:.1f}%)" if n[0] else "")
        for events, n in arms
    )


def _arm_in_words(patients: dict[str, NDArray[Any]], arm: str, when: str) -> str:
    """Say what is recorded of those analysed in one arm, of an outcome that is no yes or no."""
    own = (patients[f"arm_{when}"] == arm) & patients[f"analysed_{when}"]
    ending = f"_{when}"
    seen = {n.removesuffix(ending): v[own] for n, v in patients.items() if n.endswith(ending)}
    n = int(own.sum())
    if not n:
        return "nobody"
    if "ended" in seen:
        events, others = (int((seen["ended"] == e).sum()) for e in ("event", "competing event"))
        return f"{events} events and {others} competing ones in {n}"
    if "event" in seen:
        return f"{int(seen['event'].sum())} events in {n}"
    if "events" in seen:
        years = seen["days"].sum() / DAYS_PER_YEAR
        return f"{int(seen['events'].sum())} events in {years:.1f} patient-years of {n}"
    if "category" in seen:
        return f"mean category {seen['category'].mean():.2f} of {n}"
    if "days" in seen:
        died = int((seen["days"] < 0).sum())
        return f"mean {np.maximum(seen['days'], 0).mean():.1f} days, {died} of {n} dead"
    last = seen[[name for name in seen if name.startswith("visit_")][-1]]
    spread = f" (SD {last.std(ddof=1):.3g})" if n > 1 else ""
    return f"mean {last.mean():.3g}{spread} of {n}"


def _found(plan: AnalysisPlan, results: LookResults) -> str:
    if results.failed[0, -1]:
        return "No analysis was possible."
    back = np.exp if plan.summary.is_ratio else float
    estimate, lower, upper = (
        f"{float(back(x[0, -1])):.3g}" for x in (results.estimate, results.lower, results.upper)
    )
    level = 100 * (1 - (plan.alpha if plan.sides == 2 else 2 * plan.alpha))
    verdict = "significant" if results.rejected[0, -1] else "not significant"
    return (
        f"{plan.summary.short[0].upper()}{plan.summary.short[1:]} {estimate} ({level:g}% CI "
        f"{lower} to {upper}), P = {results.p_value[0, -1]:.2g}: {verdict}."
    )


def _flaws(protocol: Protocol, trial: FlawedTrial) -> Iterator[str]:
    """Say how many each flaw touched, of which arm as it was planned."""
    arms = trial.patients["arm_planned"]
    for mechanism, told in trial.touched.items():
        listed = np.char.endswith(told, BY_ITS_LIST)
        whose = Counter(arms[(told != "") & ~listed])
        n = sum(whose.values())
        of = " and ".join(
            f"{whose[arm.id]} assigned to {arm.id}"
            for arm in (protocol.experimental, protocol.control)
            if whose[arm.id]
        )
        done = _DONE.get(mechanism, "touched")
        who = f"{n:,} were" if n > 1 else "1 was" if n else "nobody was"
        assigned = f" ({of})" if of else ""
        if listed.any():
            assigned += f"; {listed.sum():,} are in the other arm by its own list alone"
        yield f"{mechanism}: {who} {done}{assigned}.{_guesses(mechanism, trial)}"


def _guesses(mechanism: Mechanism, trial: FlawedTrial) -> str:
    if mechanism is not Mechanism.FORESEEN_ALLOCATION or trial.guessed_right is None:
        return ""
    share = f"{100 * trial.guessed_right:.1f}%"
    return f" Of its list {share} could be guessed from past assignments, a coin where unclear."


def tables_of_trial(planned: PlannedBias, trial: FlawedTrial) -> str:
    """Return the table of arms as planned beside the one reported, for a terminal."""
    protocol = planned.job.protocol
    if trial.counts_planned is None or trial.counts_reported is None:
        told = [
            (arm.id, *(_arm_in_words(trial.patients, arm.id, w) for w in ("planned", "reported")))
            for arm in (protocol.experimental, protocol.control)
        ]
        return table(("arm", "as planned", "as reported"), told, folding=(1, 2))
    header = ("arm", "planned: event", "no event", "n", "reported: event", "no event", "n")
    both = (trial.counts_planned, trial.counts_reported)
    lines = []
    for arm, events, n in (
        (protocol.experimental, "events_treated", "n_treated"),
        (protocol.control, "events_control", "n_control"),
    ):
        cells = []
        for counts in both:
            x, total = int(getattr(counts, events)[0]), int(getattr(counts, n)[0])
            cells += [str(x), str(total - x), str(total)]
        lines.append((arm.id, *cells))
    return table(header, lines)


def touched_patients(trial: FlawedTrial) -> str:
    """Return the first patients touched by a flaw as a table that fits a terminal."""
    touched = [row for row in patients_table(trial) if row["touched_by"]]
    rows = touched[:_PATIENTS_SHOWN]
    if not rows:
        return "No flaw touched a patient of this trial."
    lines = [
        (
            str(row["patient"]),
            *(_state(row, when) for when in ("planned", "reported")),
            row["touched_by"],
        )
        for row in rows
    ]
    header = ("patient", "as planned", "as reported", "touched by")
    shown = table(header, lines, folding=(1, 2, 3))
    rest = len(touched) - len(rows)
    return f"{shown}\n... and {rest:,} more touched by a flaw" if rest else shown


def _outcome(row: dict[str, Any], when: str) -> str:
    """Say what was recorded of one patient."""
    ended = row.get(f"ended_{when}")
    days, event = row.get(f"days_{when}"), row.get(f"event_{when}")
    if ended:
        return f"{ended}, day {days:.4g}"
    if f"unfavourable_{when}" not in row:
        return "event" if event else "no event"
    if event is not None and days is not None:
        return f"{'event' if event else 'no event'}, day {days:.4g}"
    if (events := row.get(f"events_{when}")) is not None:
        return f"{events:g} events"
    if (category := row.get(f"category_{when}")) is not None:
        return f"category {category:g}"
    if days is not None:
        return "died" if days < 0 else f"{days:g} days"
    visits = [k for k in row if k.startswith("visit_") and k.endswith(when)]
    value = row[visits[-1]] if visits else None
    return "nothing seen" if value is None else f"{value:.4g}"


def _state(row: dict[str, Any], when: str) -> str:
    event = _outcome(row, when)
    out = "" if row[f"analysed_{when}"] else ", not analysed"
    return f"{row[f'arm_{when}']}, {event}{out}"
