"""Simulated trials as tables for a statistics program: shaped like ADaM, which they are not.

``ADSL`` has a row a patient, ``ADTTE`` one a time to an event, ``ADRS`` one a response, category,
count or score, ``ADLB`` one a measurement. Every variable says how it came about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trialsim.engine.replay import ReplayedTrial
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import (
    CompetingEndpoint,
    ContinuousEndpoint,
    CountEndpoint,
    DaysAliveEndpoint,
    OrdinalEndpoint,
    ResponseEndpoint,
    SimulatedEndpoint,
    TimeToEventEndpoint,
)
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.parts.patients import patients_table
from trialsim.trial import AnalysisPlan

__all__ = ["ExportedTable", "ShortNames", "Variable", "exported_tables"]

_Row = dict[str, Any]


@dataclass(frozen=True)
class Variable:
    """A column: its label, its type (integer, float or text), and what it is made of."""

    name: str
    label: str
    type: str
    derivation: str


@dataclass
class ExportedTable:
    """One table."""

    name: str
    title: str
    variables: tuple[Variable, ...]
    rows: list[_Row] = field(default_factory=list)


_KEYS = (
    Variable("STUDYID", "Study", "text", "id of the protocol"),
    Variable("USUBJID", "Unique subject", "text", "study, simulated trial and patient"),
    Variable("REPLIC", "Simulated trial", "integer", "number of the replicate, from 1"),
)
_ARM = (
    Variable("TRTP", "Planned treatment", "text", "id of the arm assigned"),
    Variable("TRTPN", "Planned treatment (N)", "integer", "1 experimental, 0 control"),
)
_PARAMETER = (
    Variable("PARAMCD", "Parameter code", "text", "from the id of the endpoint"),
    Variable("PARAM", "Parameter", "text", "what is counted or measured, and when"),
)
_VALUE = Variable("AVAL", "Analysis value", "float", "as the analysis saw it; empty: not seen")
_REASON = Variable("REASND", "Why it is not seen", "text", "empty where it is")
_VISIT = (
    Variable("AVISITN", "Visit (N)", "integer", "from 1 in order of time; 0 is the baseline"),
    Variable("ADY", "Day since randomisation", "float", "nominal day, or that of the visit"),
)
_TTE = (
    *_KEYS,
    *_ARM,
    *_PARAMETER,
    Variable("AVAL", "Days to the event or to censoring", "float", "from randomisation"),
    Variable("CNSR", "Censoring", "integer", "0 the event, 1 censored, 2 the competing event"),
    Variable("EVNTDESC", "How follow-up ended", "text", "the event, or why it was not seen"),
)
_RS = (
    *_KEYS,
    *_ARM,
    *_PARAMETER,
    *_VISIT,
    _VALUE,
    Variable("AVALC", "Analysis value (C)", "text", "Y or N, a state, or a category"),
    Variable("EXPDAYS", "Days followed", "float", "of counts: the time in which events could come"),
    _REASON,
    Variable("ANL01FL", "Analysed", "text", "Y: the read-out of the endpoint"),
)
_LB = (
    *_KEYS,
    *_ARM,
    *_PARAMETER,
    *_VISIT,
    _VALUE,
    Variable("BASE", "Baseline", "float", "value before randomisation; empty where none is drawn"),
    Variable("CHG", "Change from baseline", "float", "AVAL - BASE"),
    Variable("ABLFL", "Baseline record", "text", "Y: the value before randomisation"),
    _REASON,
    Variable("ANL01FL", "Analysed", "text", "Y: the read-out of the endpoint"),
)
_RESULTS = (
    _KEYS[0],
    _KEYS[2],
    Variable("SCENARIO", "Scenario", "text", "which truth was simulated"),
    Variable("PARAMCD", "Parameter code", "text", "of the primary endpoint"),
    Variable("STAT", "Summary", "text", "experimental to control"),
    Variable("ESTIMATE", "Estimate", "float", "as stored; ratios on their own scale"),
    Variable("LOWER", "Lower limit", "float", "of the interval at the test's level"),
    Variable("UPPER", "Upper limit", "float", "of the interval at the test's level"),
    Variable("PVALUE", "P value", "float", "of the test, at the look at which the trial ended"),
    Variable("FOUND", "Effect found", "text", "Y: the test rejected"),
    Variable("LOOK", "Look", "integer", "at which the trial ended, from 1"),
)


_PATIENT = (
    *_KEYS,
    Variable("SUBJID", "Subject", "integer", "in order of arrival, from 1"),
    Variable("SCENARIO", "Scenario", "text", "which truth was simulated"),
    Variable("TRT01P", "Planned treatment", "text", "id of the arm assigned"),
    Variable("TRT01PN", "Planned treatment (N)", "integer", "1 experimental, 0 control"),
    Variable("ITTFL", "Randomised", "text", "Y for all: no one else is simulated"),
)
_AT_ENTRY = {  # by the column of a replayed trial
    "entry_day": Variable("RANDDY", "Day of randomisation", "float", "since enrolment began"),
    "planned_doses": Variable("PLNDOSE", "Doses planned", "integer", "from the arm's regimen"),
    "stratum": Variable("STRATUM", "Stratum of allocation", "integer", "from 1"),
}


class ShortNames:
    """Short names of variables and codes, each once."""

    def __init__(self, taken: Sequence[str] = ()) -> None:
        self._taken, self._given = set(taken), dict[str, str]()

    def of(self, name: str) -> str:
        """Return at most eight letters and digits for a name, the same ones each time."""
        if name not in self._given:
            letters = re.sub("[^A-Z0-9]", "", name.upper()) or "X"
            short = letters[:8] if letters[0].isalpha() else f"X{letters}"[:8]
            number = 1
            while short in self._taken:
                number += 1
                short = f"{letters[: 8 - len(str(number))]}{number}"
            self._taken.add(short)
            self._given[name] = short
        return self._given[name]


def exported_tables(
    resolved: ResolvedTemplate, plans: Sequence[AnalysisPlan], trials: Sequence[ReplayedTrial]
) -> tuple[ExportedTable, ...]:
    """Return the tables of replayed trials of one scenario; those without a row are left out.

    Parameters
    ----------
    resolved : ResolvedTemplate
    plans : sequence of AnalysisPlan
        Of the run, the primary one first.
    trials : sequence of ReplayedTrial
        At least one.
    """
    return _Exported(resolved, plans, trials).tables()


class _Exported:
    def __init__(
        self,
        resolved: ResolvedTemplate,
        plans: Sequence[AnalysisPlan],
        trials: Sequence[ReplayedTrial],
    ) -> None:
        self._study, self._protocol = resolved.template.id, resolved.template.protocol
        self._trials, self._plan = trials, plans[0]
        self._codes = ShortNames()
        columns = trials[0].patients
        self._endpoints = {
            name: self._protocol.endpoint(name)
            for name in dict.fromkeys(plan.endpoint for plan in plans if plan.is_main)
        }
        self._own = {name: self._columns_of(name, list(columns)) for name in self._endpoints}
        known = ("patient", "arm", *_AT_ENTRY)
        used = {column for own in self._own.values() for column in own.values()}
        self._further = [name for name in columns if name not in {*used, *known}]

    def _columns_of(self, endpoint: str, columns: Sequence[str]) -> dict[str, str]:
        """Return the columns of an endpoint, by what they are without its id."""
        known = "event|events|days|category|ended|why_not_seen|baseline|visit_[0-9]+(_day|_state)?"
        prefix = "" if endpoint == self._plan.endpoint else f"{endpoint}_"
        return {
            column.removeprefix(prefix): column
            for column in columns
            if column.startswith(prefix) and re.fullmatch(known, column.removeprefix(prefix))
        }

    def tables(self) -> tuple[ExportedTable, ...]:
        adsl = ExportedTable("ADSL", "Patients, one row each", self._patient_variables())
        names = [variable.name for variable in adsl.variables[len(_PATIENT) :]]
        tte = ExportedTable("ADTTE", "Times to an event", _TTE)
        rs = ExportedTable("ADRS", "Responses, categories, counts and scores", _RS)
        lb = ExportedTable("ADLB", "Measurements", _LB)
        results = ExportedTable("RESULTS", "What the run stored of each trial", _RESULTS)
        for trial in self._trials:
            results.rows.append(self._result(trial))
            for row in patients_table(trial):
                adsl.rows.append(self._patient(trial, row, names))
                for name, endpoint in self._endpoints.items():
                    own = {key: row[column] for key, column in self._own[name].items()}
                    if not own:
                        continue
                    keys = self._keys(trial, row) | {
                        "PARAMCD": self._codes.of(name),
                        "PARAM": _parameter(endpoint, self._protocol),
                    }
                    match endpoint:
                        case TimeToEventEndpoint() | CompetingEndpoint():
                            tte.rows.append(keys | _time(endpoint, own))
                        case ContinuousEndpoint():
                            lb.rows += [keys | r for r in self._measured(endpoint, own)]
                        case _:
                            rs.rows += [keys | r for r in self._read(endpoint, own)]
        found = (adsl, tte, rs, lb, results)
        return tuple(table for table in found if table.rows)

    def _keys(self, trial: ReplayedTrial, row: _Row) -> _Row:
        subject = f"{self._study}-{trial.replicate:05d}-{row['patient']:05d}"
        arm = row["arm"]
        return {
            "STUDYID": self._study,
            "USUBJID": subject,
            "REPLIC": trial.replicate,
            "TRTP": arm,
            "TRTPN": int(arm == self._protocol.experimental.id),
        }

    def _patient_variables(self) -> tuple[Variable, ...]:
        columns = self._trials[0].patients
        found = [*_PATIENT, *(v for name, v in _AT_ENTRY.items() if name in columns)]
        names = ShortNames([variable.name for variable in found])
        for name in self._further:
            values = columns[name]
            kind = "float" if np.issubdtype(values.dtype, np.floating) else "text"
            kind = "integer" if np.issubdtype(values.dtype, np.integer) else kind
            words = name.removesuffix("_sd").replace("_", " ")
            how = "in standard deviations" if name.endswith("_sd") else "as simulated"
            found.append(Variable(names.of(name), words, kind, how))
        return tuple(found)

    def _patient(self, trial: ReplayedTrial, row: _Row, names: Sequence[str]) -> _Row:
        """Return a row; `names` are those of the variables after `_PATIENT`."""
        keys = self._keys(trial, row)
        found = {key: keys[key] for key in ("STUDYID", "USUBJID", "REPLIC")}
        found |= {
            "SUBJID": row["patient"],
            "SCENARIO": trial.truth.scenario,
            "TRT01P": keys["TRTP"],
            "TRT01PN": keys["TRTPN"],
            "ITTFL": "Y",
        }
        columns = [*(name for name in _AT_ENTRY if name in row), *self._further]
        return found | {v: row[name] for v, name in zip(names, columns, strict=True)}

    def _read(self, endpoint: SimulatedEndpoint, own: _Row) -> Iterator[_Row]:
        """Yield the rows of what is read once, and of the visits of a response."""
        n = sum(key.endswith("_state") for key in own)
        for visit in range(1, n + 1):
            state = own[f"visit_{visit}_state"]
            seen = None if state in ("missed", "death", "loss") else float(state == "response")
            day = own[f"visit_{visit}_day"]
            yield {"AVISITN": visit, "ADY": day, "AVAL": seen, "AVALC": state, "ANL01FL": ""}
        value = own.get("event")
        words = "" if value is None else "Y" if value else "N"
        if isinstance(endpoint, OrdinalEndpoint):
            value = own["category"]
            words = "" if value is None else endpoint.categories[int(value)]
        elif isinstance(endpoint, DaysAliveEndpoint):
            value, words = own["days"], ""
        elif isinstance(endpoint, CountEndpoint):
            value, words = own["events"], ""
        day = endpoint.read_out.days_after_entry(self._protocol.therapy)
        yield {
            "AVISITN": n + 1 if isinstance(endpoint, ResponseEndpoint) else 1,
            "ADY": day,
            "AVAL": None if value is None else float(value),
            "AVALC": words,
            "EXPDAYS": own.get("days") if isinstance(endpoint, CountEndpoint) else None,
            "REASND": own.get("why_not_seen", ""),
            "ANL01FL": "Y",
        }

    def _measured(self, endpoint: ContinuousEndpoint, own: _Row) -> Iterator[_Row]:
        base, why = own.get("baseline"), own.get("why_not_seen", "")
        if "baseline" in own:
            yield {"AVISITN": 0, "ADY": 0.0, "AVAL": base, "BASE": base, "ABLFL": "Y"}
        for number, time in enumerate(endpoint.at, start=1):
            value = own.get(f"visit_{number}")
            change = None if value is None or base is None else float(f"{value - base:.9g}")
            yield {
                "AVISITN": number,
                "ADY": time.days_after_entry(self._protocol.therapy),
                "AVAL": value,
                "BASE": base,
                "CHG": change,
                "ABLFL": "",
                "REASND": why or ("" if value is not None else "missing"),
                "ANL01FL": "Y" if number == len(endpoint.at) else "",
            }

    def _result(self, trial: ReplayedTrial) -> _Row:
        final, plan = trial.final, self._plan
        back = np.exp if plan.summary.is_ratio else float
        failed = bool(final.failed[0, 0])
        numbers = {
            name: None if failed or not np.isfinite(x[0, 0]) else float(f"{back(x[0, 0]):.9g}")
            for name, x in (
                ("ESTIMATE", final.estimate), ("LOWER", final.lower), ("UPPER", final.upper)
            )
        }  # fmt: skip
        p = float(final.p_value[0, 0])
        return {
            "STUDYID": self._study,
            "REPLIC": trial.replicate,
            "SCENARIO": trial.truth.scenario,
            "PARAMCD": self._codes.of(plan.endpoint),
            "STAT": str(plan.summary),
            **numbers,
            "PVALUE": None if failed or not np.isfinite(p) else float(f"{p:.9g}"),
            "FOUND": "" if failed else "Y" if final.rejected[0, 0] else "N",
            "LOOK": trial.stopped_at + 1,
        }


def _parameter(endpoint: SimulatedEndpoint, protocol: Protocol) -> str:
    unit = f" ({endpoint.unit})" if isinstance(endpoint, ContinuousEndpoint) else ""
    if isinstance(endpoint, TimeToEventEndpoint):
        return f"Time to {endpoint.event} (days)"
    return f"{endpoint.event}{unit}, {endpoint.read_out.in_words(protocol.therapy)}"


def _time(endpoint: TimeToEventEndpoint | CompetingEndpoint, own: _Row) -> _Row:
    if isinstance(endpoint, TimeToEventEndpoint):
        event = bool(own["event"])
        ended = endpoint.event if event else own["why_not_seen"]
        return {"AVAL": own["days"], "CNSR": int(not event), "EVNTDESC": ended}
    codes = {"event": (0, endpoint.event), "competing event": (2, endpoint.competing)}
    code, ended = codes.get(own["ended"], (1, own["ended"]))
    return {"AVAL": own["days"], "CNSR": code, "EVNTDESC": ended}
