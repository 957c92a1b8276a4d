"""A first protocol file from a few answers: what is left out is assumed, and says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from textwrap import dedent

__all__ = ["EFFECTS", "QUESTIONS", "Draft", "DraftKind", "Question"]


class DraftKind(StrEnum):
    """Kinds of primary endpoint a first draft can have."""

    BINARY = "binary"
    CONTINUOUS = "continuous"
    TIME_TO_EVENT = "time-to-event"


EFFECTS = {
    DraftKind.BINARY: ("odds_ratio", "risk_ratio", "risk_difference", "treated_risk"),
    DraftKind.CONTINUOUS: ("mean_difference",),
    DraftKind.TIME_TO_EVENT: ("hazard_ratio",),
}


@dataclass(frozen=True)
class Question:
    """One thing a draft needs: its option, how to ask for it, and what is assumed without it."""

    name: str
    words: str
    assumed: str
    kinds: tuple[DraftKind, ...] = tuple(DraftKind)

    @property
    def option(self) -> str:
        """As it is typed."""
        return f"--{self.name.replace('_', '-')}"


_BINARY, _CONTINUOUS, _TIMES = (
    (DraftKind.BINARY,),
    (DraftKind.CONTINUOUS,),
    (DraftKind.TIME_TO_EVENT,),
)
QUESTIONS = (
    Question("title", "What is the trial called?", "New drug for a disease"),
    Question("condition", "Who is treated: the condition?", "a disease, adults"),
    Question("drug", "The treatment under test?", "new drug"),
    Question("control", "What is it compared with?", "usual care"),
    Question("event", "Which event is counted?", "death", _BINARY + _TIMES),
    Question("variable", "What is measured?", "symptom score", _CONTINUOUS),
    Question("unit", "In which unit?", "points", _CONTINUOUS),
    Question("at", "Read when, from entry (28 d, 12 wk, 6 mo)?", "28 d", _BINARY),
    Question("at", "Read when, from entry (28 d, 12 wk, 6 mo)?", "12 wk", _CONTINUOUS),
    Question("at", "Survival is shown at (28 d, 12 wk, 6 mo)?", "12 mo", _TIMES),
    Question("better", "Is lower or higher better for a patient?", "lower"),
    Question("total", "How many patients in both arms together?", "400"),
    Question("control_risk", "Share of control patients with the event (0 to 1)?", "0.3", _BINARY),
    Question("odds_ratio", "Odds ratio hoped for, treated to control?", "0.7", _BINARY),
    Question("control_mean", "Mean in the control arm?", "10", _CONTINUOUS),
    Question("sd", "Standard deviation between patients?", "5", _CONTINUOUS),
    Question(
        "mean_difference", "Difference hoped for, treated minus control?", "-1.5", _CONTINUOUS
    ),
    Question("control_median", "Median time to the event in the control arm?", "12 mo", _TIMES),
    Question("hazard_ratio", "Hazard ratio hoped for, treated to control?", "0.7", _TIMES),
    Question("enrolment", "How long does it take to enrol everybody?", "24 mo", _TIMES),
    Question("follow_up", "How long is the last patient followed?", "12 mo", _TIMES),
)
_UPWARD = {"odds_ratio": "1.43", "hazard_ratio": "1.43", "mean_difference": "1.5"}


@dataclass(frozen=True)
class Draft:
    """Answers, each as it stands in the file; one left out (None) is assumed.

    Attributes
    ----------
    odds_ratio, risk_ratio, risk_difference, treated_risk : str or None
        The effect on a binary endpoint, on one of these scales.
    """

    id: str
    endpoint: DraftKind = DraftKind.BINARY
    title: str | None = None
    condition: str | None = None
    drug: str | None = None
    control: str | None = None
    event: str | None = None
    variable: str | None = None
    unit: str | None = None
    at: str | None = None
    better: str | None = None
    total: str | None = None
    control_risk: str | None = None
    odds_ratio: str | None = None
    risk_ratio: str | None = None
    risk_difference: str | None = None
    treated_risk: str | None = None
    control_mean: str | None = None
    sd: str | None = None
    mean_difference: str | None = None
    control_median: str | None = None
    hazard_ratio: str | None = None
    enrolment: str | None = None
    follow_up: str | None = None

    @property
    def questions(self) -> tuple[Question, ...]:
        """What there is to ask of this kind of endpoint."""
        return tuple(q for q in QUESTIONS if self.endpoint in q.kinds)

    def assumed(self, name: str) -> str:
        """Return what stands for a question nobody answered; the effect hoped for is a benefit."""
        stated = next(q.assumed for q in self.questions if q.name == name)
        upward = (self.better or "").strip().lower() == "higher"
        return _UPWARD.get(name, stated) if upward else stated

    @property
    def foreign(self) -> tuple[str, ...]:
        """Options that were given and belong to another kind of endpoint."""
        own = {*(q.name for q in self.questions), *EFFECTS[self.endpoint], "id", "endpoint"}
        given = (f.name for f in fields(self) if getattr(self, f.name) is not None)
        return tuple(f"--{name.replace('_', '-')}" for name in given if name not in own)

    @property
    def effects(self) -> tuple[str, ...]:
        """The scales on which an effect was given."""
        return tuple(n for n in EFFECTS[self.endpoint] if getattr(self, n) is not None)

    @property
    def text(self) -> str:
        """The file, commented; numbers nobody gave are marked as such."""
        return "\n".join([*self._protocol(), "", *self._nature(), "", *self._scenarios(), ""])

    def _said(self, name: str) -> str:
        """Return an answer, or what is assumed without it."""
        given: str | None = getattr(self, name)
        if given is None:
            return self.assumed(name)
        return given if re.fullmatch(r"[-+.\w ]+", given) else json.dumps(given)

    @property
    def _titled(self) -> str:
        """Return the title, made of treatment and condition where only these were given."""
        if self.title is None and self.drug and self.condition:
            return json.dumps(f"{self.drug} for {self.condition}", ensure_ascii=False)
        return self._word("title")

    def _mark(self, *names: str) -> str:
        left_out = [n.replace("_", " ") for n in names if getattr(self, n) is None]
        return f" # left out, so assumed: {', '.join(left_out)}" if left_out else ""

    def _word(self, name: str) -> str:
        given: str | None = getattr(self, name)
        return json.dumps(self._said(name) if given is None else given, ensure_ascii=False)

    def _protocol(self) -> Iterator[str]:
        drug, control = self._arms
        yield from dedent(f"""\
            # Numbers without a source are shown as assumed. To say where one comes from:
            # {{value: 0.30, source: an-evidence-id}}. Format: docs/protocol-format.md
            schema_version: 1
            id: {self.id}
            title: {self._titled}

            protocol: # what the team decides
              population: {{condition: {self._word("condition")}}}{self._mark("condition")}
              arms: # add for example regimen: {{drug: ..., dose: 10 mg, every: 1 d, for: 12 wk}}
                - {{id: {drug}, role: experimental, title: {self._word("drug")}}}
                - {{id: {control}, role: control, title: {self._word("control")}}}
              blinding: [] # participants, carers, assessors, analysts
              endpoints:
                - {self._endpoint()}{self._mark("at", "better")}
              sample_size: {{total: {self._said("total")}}}{self._mark("total")}
              test: {{alpha: 0.05, sides: 2}}""").splitlines()
        if self.endpoint is DraftKind.TIME_TO_EVENT:
            days = f"{self._said('enrolment')} + {self._said('follow_up')}"
            yield "  looks: # one, at the end: " + days + self._mark("enrolment", "follow_up")
            yield f"    - {{at: {{calendar: {self._last_day}}}}}"

    @property
    def _arms(self) -> tuple[str, str]:
        drug, control = (_id_of(json.loads(self._word(n))) for n in ("drug", "control"))
        return drug, control if control != drug else f"{control}-control"

    def _endpoint(self) -> str:
        measured = self.endpoint is DraftKind.CONTINUOUS
        what = "variable" if measured else "event"
        at = f"[{self._said('at')}]" if measured else self._said("at")
        parts = [f"id: {self._endpoint_id}", "level: primary", f"kind: {self.endpoint}"]
        parts += [f"{what}: {self._word(what)}"]
        if measured:
            parts.append(f"unit: {self._word('unit')}")
        parts += [f"at: {at}", f"better: {self._said('better')}"]
        return f"{{{', '.join(parts)}}}"

    @property
    def _endpoint_id(self) -> str:
        what = "variable" if self.endpoint is DraftKind.CONTINUOUS else "event"
        return _id_of(json.loads(self._word(what)))

    @property
    def _last_day(self) -> str:
        from trialsim.protocol.quantities import Duration

        days = sum(Duration.parse(self._said(name)).days for name in ("enrolment", "follow_up"))
        return f"{days:.0f} d"

    def _nature(self) -> Iterator[str]:
        yield "nature: # what nature decides, in every scenario"
        match self.endpoint:
            case DraftKind.BINARY:
                yield f"  control_risk: {self._said('control_risk')}{self._mark('control_risk')}"
            case DraftKind.CONTINUOUS:
                mean, sd = self._said("control_mean"), self._said("sd")
                yield f"  outcomes:{self._mark('control_mean', 'sd')}"
                yield f"    {self._endpoint_id}: {{mean: {mean}, sd: {sd}}}"
            case _:
                yield f"  enrolment: {{uniform: {self._said('enrolment')}}}"
                median = self._said("control_median")
                yield f"  survival: {{median: {median}}}{self._mark('control_median')}"

    def _scenarios(self) -> Iterator[str]:
        name = self.effects[0] if self.effects else EFFECTS[self.endpoint][0]
        effect = f"{{{name}: {self._said(name)}}}"
        under = {
            DraftKind.BINARY: f"{self._beside(name)}effect: {effect}",
            DraftKind.CONTINUOUS: f"outcomes: {{{self._endpoint_id}: {effect}}}",
            DraftKind.TIME_TO_EVENT: f"survival: {effect}",
        }[self.endpoint]
        yield "scenarios: # truths the trial is run under"
        yield "  - {id: no-effect, title: no effect}"
        yield f"  - {{id: hoped-for, title: as hoped for, {under}}}{self._mark(name)}"

    def _beside(self, name: str) -> str:
        """Return the control risk that a treated risk must stand beside."""
        return f"control_risk: {self._said('control_risk')}, " if name == "treated_risk" else ""


def _id_of(words: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:40].strip("-")
    return name if name and not name.isdigit() else f"x-{name}".strip("-")
