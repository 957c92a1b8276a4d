"""Trials carried out with flaws as tables: what is reported, and what would be without the flaws.

Shaped as `exported_tables`. ``AVAL`` is what was written down, ``TRTA`` where a patient counts,
``ANL01FL`` who is in the analysis reported; variables that begin with ``PL`` are those of the same
patient of the same trial without the flaws. Of the primary endpoint alone: flaws act on no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.engine.flawed_trials import FlawedTrial
from trialsim.engine.replay import ReplayedTrial, planned_doses
from trialsim.protocol.conduct import Conduct, Mechanism
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import ResponseEndpoint
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.parts.exported_tables import (
    ExportedTable,
    ShortNames,
    Variable,
    exported_tables,
)
from trialsim.trial import AnalysisPlan

__all__ = ["exported_flawed", "how_to_read"]

_Row = dict[str, Any]
_WITHOUT = "without the flaws"
_NOT_REACHED = "not reached"

_TWINS = {  # by the variable reported: what it is called without the flaws
    "AVAL": "PLAVAL",
    "AVALC": "PLAVALC",
    "CHG": "PLCHG",
    "EXPDAYS": "PLEXPD",
    "CNSR": "PLCNSR",
    "EVNTDESC": "PLEVDESC",
    "REASND": "PLREASND",
}
_COUNTED = (
    Variable("TRTA", "Treatment as counted", "text", "id of the arm counted in when reported"),
    Variable("TRTAN", "Treatment as counted (N)", "integer", "1 experimental, 0 control"),
)
_ANALYSED = (
    Variable("ANL01FL", "Analysed", "text", "Y: the read-out, and in the analysis reported"),
    Variable("PLANLFL", "Analysed without the flaws", "text", "Y: the read-out, and in that one"),
)
_OF_RESULTS = (
    Variable("CONDUCT", "Conduct", "text", f"the flaws it was carried out with; or {_WITHOUT}"),
    Variable("CHOSENFL", "Chosen", "text", "Y: one of several results, not that of these records"),
    Variable("PUBLFL", "Published", "text", "Y or N; empty where nothing is filtered"),
)


def how_to_read(conduct: Conduct, trials: Sequence[FlawedTrial]) -> str:
    """Return which flaws trials have, which variable says what, and whose result is chosen."""
    told = (
        f"Carried out with conduct '{conduct.id}' ({conduct.in_words() or 'no flaw acts'}). "
        "AVAL is what was written down, TRTA the arm a patient counts in, ANL01FL who is in the "
        "analysis reported; TRTP, PLANLFL and what begins with PL are the same patient of the same "
        "trial without the flaws."
    )
    chosen = [str(trial.replicate) for trial in trials if not trial.counts_are_reported]
    if not chosen:
        return told
    return (
        f"{told} The result of trial {', '.join(chosen)} is one of several, chosen: these records "
        "do not give it (CHOSENFL)."
    )


def exported_flawed(
    resolved: ResolvedTemplate, plan: AnalysisPlan, trials: Sequence[FlawedTrial]
) -> tuple[ExportedTable, ...]:
    """Return the tables of trials with flaws, of one scenario and one conduct.

    Parameters
    ----------
    resolved : ResolvedTemplate
    plan : AnalysisPlan
        Of the primary endpoint.
    trials : sequence of FlawedTrial
        At least one.
    """
    own = (replace(plan, conduct=None),)
    reported, planned = (
        {
            table.name: table
            for table in exported_tables(
                resolved, own, [_as(trial, when, resolved.template.protocol) for trial in trials]
            )
        }
        for when in ("reported", "planned")
    )
    result = reported.pop("RESULTS")
    found = []
    for name, table in reported.items():
        if name == "ADSL":
            found.append(_patients(table, planned[name], trials))
        else:
            found.append(_records(table, planned[name], trials, own[0], resolved))
    return (*found, _results(result, planned["RESULTS"], trials))


def _entered(trial: FlawedTrial) -> int:
    """Return how many patients had entered when the trial ended, with flaws or without."""
    n = len(trial.patients["patient"])
    both = [float(results.enrolled[0, -1]) for results in (trial.planned, trial.reported)]
    analysed = trial.patients["analysed_reported"] | trial.patients["analysed_planned"]
    last = int(np.flatnonzero(analysed)[-1]) + 1 if analysed.any() else 0
    return max(last, min(n, int(max(both)))) if np.isfinite(both).all() else n


def _as(trial: FlawedTrial, when: str, protocol: Protocol) -> ReplayedTrial:
    """Return the trial as it was planned or reported, as if replayed."""
    n, results = _entered(trial), getattr(trial, when)
    ours = {mechanism.key for mechanism in trial.touched} | {"touched_by"}
    seen: dict[str, NDArray[Any]] = {}
    for name, values in trial.patients.items():
        stem, _, said = name.rpartition("_")
        if said == when and stem not in ("analysed", "unfavourable"):
            seen[stem] = values[:n]
        elif said not in ("planned", "reported") and name not in ours:
            seen[name] = values[:n]
    seen |= _doses(seen["arm"], protocol)
    if trial.counts_planned is not None:
        seen |= _read(trial, when, n)
    return ReplayedTrial(trial.truth, trial.replicate, results, results, 0, False, seen)


def _doses(arms: NDArray[Any], protocol: Protocol) -> dict[str, NDArray[Any]]:
    of = {arm.id: planned_doses(arm) for arm in (protocol.control, protocol.experimental)}
    if all(number is None for number in of.values()):
        return {}
    return {"planned_doses": np.array([of[arm] or 0 for arm in arms])}


def _read(trial: FlawedTrial, when: str, n: int) -> dict[str, NDArray[Any]]:
    """Return the event of each patient where the trial read it out, and why it did not."""
    patients = {name: values[:n] for name, values in trial.patients.items()}
    analysed, before = patients[f"analysed_{when}"], patients["analysed_planned"]
    late = ~analysed & ~before
    why = np.where(late, "not read out yet", "")
    if when == "reported":
        missed = _told(trial, Mechanism.UNDECLARED_LOOKS)[:n] == _NOT_REACHED
        why = np.where(missed, _NOT_REACHED, why)
    event = np.where(why == "", patients[f"event_{when}"].astype(float), np.nan)
    return {"event": event, "why_not_seen": why}


def _told(trial: FlawedTrial, mechanism: Mechanism) -> NDArray[np.str_]:
    nobody = np.full(len(trial.patients["patient"]), "")
    return trial.touched.get(mechanism, nobody)


def _places(table: ExportedTable, trials: Sequence[FlawedTrial]) -> Iterator[tuple[int, int]]:
    """Yield the trial of each row of a table and the patient's place in it, both from 0."""
    number = {trial.replicate: index for index, trial in enumerate(trials)}
    for row in table.rows:
        yield number[row["REPLIC"]], int(row["USUBJID"].rpartition("-")[2]) - 1


def _patients(
    reported: ExportedTable, planned: ExportedTable, trials: Sequence[FlawedTrial]
) -> ExportedTable:
    place = [v.name for v in planned.variables].index("TRT01PN") + 1
    variables = [
        *planned.variables[:place],
        *(replace(v, name=v.name.replace("TRTA", "TRT01A")) for v in _COUNTED),
        *planned.variables[place:],
    ]
    names = ShortNames([v.name for v in variables])
    touched = list(dict.fromkeys(m for trial in trials for m in trial.touched))
    flaws = [
        Variable(
            names.of(mechanism.key),
            str(mechanism).replace("-", " ").capitalize(),
            "text",
            "what this flaw did to the patient; empty: nothing",
        )
        for mechanism in touched
    ]
    every = names.of("touched")
    flaws.append(Variable(every, "Flaws that touched", "text", "in the order they act; or empty"))
    table = ExportedTable("ADSL", planned.title, (*variables, *flaws))
    places = _places(planned, trials)
    for row, other, (which, patient) in zip(planned.rows, reported.rows, places, strict=True):
        trial = trials[which]
        told = [str(_told(trial, mechanism)[patient]) for mechanism in touched]
        table.rows.append(
            row
            | {"TRT01A": other["TRT01P"], "TRT01AN": other["TRT01PN"]}
            | dict(zip([v.name for v in flaws[:-1]], told, strict=True))
            | {every: str(trial.patients["touched_by"][patient])}
        )
    return table


def _records(
    reported: ExportedTable,
    planned: ExportedTable,
    trials: Sequence[FlawedTrial],
    plan: AnalysisPlan,
    resolved: ResolvedTemplate,
) -> ExportedTable:
    variables: list[Variable] = []
    endpoint = resolved.template.protocol.endpoint(plan.endpoint)
    for variable in reported.variables:
        if variable.name == "ANL01FL":
            continue
        if variable.name == "REASND" and isinstance(endpoint, ResponseEndpoint):
            variables.append(replace(variable, derivation="lost to a flaw; no other is kept"))
            continue
        variables.append(variable)
        if variable.name == "TRTPN":
            variables += _COUNTED
        if variable.name in _TWINS:
            label = f"{variable.label} {_WITHOUT}"
            variables.append(replace(variable, name=_TWINS[variable.name], label=label))
    table = ExportedTable(reported.name, reported.title, (*variables, *_ANALYSED))
    pairs = zip(reported.rows, planned.rows, _places(reported, trials), strict=True)
    for row, other, (which, patient) in pairs:
        trial = trials[which]
        here = row.get("ANL01FL", "" if "ABLFL" in row else "Y") == "Y"
        new = row | {"TRTP": other["TRTP"], "TRTPN": other["TRTPN"]}
        new |= {"TRTA": row["TRTP"], "TRTAN": row["TRTPN"]}
        new |= {twin: other.get(name) for name, twin in _TWINS.items() if name in other}
        for when, flag in (("reported", "ANL01FL"), ("planned", "PLANLFL")):
            analysed = here and trial.patients[f"analysed_{when}"][patient]
            new[flag] = "Y" if analysed else ""
        if row.get("ABLFL") != "Y" and _told(trial, Mechanism.DIFFERENTIAL_LOSS)[patient]:
            new |= _lost(reported)
        if isinstance(endpoint, ResponseEndpoint):  # visits are left out, their numbers are not
            new["AVISITN"] = plan.visit + 2
            new.pop("PLREASND", None)
        table.rows.append(new)
    return table


def _lost(table: ExportedTable) -> _Row:
    """Return what is written down of a patient whom the trial lost to a flaw: nothing."""
    gone = {"REASND": "lost", "EVNTDESC": "lost", "CNSR": 1}
    own = [v for v in table.variables if v.name in _TWINS]
    return {v.name: gone.get(v.name, "" if v.type == "text" else None) for v in own}


def _results(
    reported: ExportedTable, planned: ExportedTable, trials: Sequence[FlawedTrial]
) -> ExportedTable:
    variables = [v for v in reported.variables if v.name != "LOOK"]
    table = ExportedTable("RESULTS", "What each trial found", (*variables, *_OF_RESULTS))
    for row, other, trial in zip(reported.rows, planned.rows, trials, strict=True):
        published = "" if trial.published is None else "Y" if trial.published else "N"
        chosen = "" if trial.counts_are_reported else "Y"
        for own, conduct, flags in (
            (row, trial.conduct.id, (chosen, published)),
            (other, _WITHOUT, ("", "")),
        ):
            kept = {name: value for name, value in own.items() if name != "LOOK"}
            told = dict(zip(("CHOSENFL", "PUBLFL"), flags, strict=True))
            table.rows.append(kept | {"CONDUCT": conduct} | told)
    return table
