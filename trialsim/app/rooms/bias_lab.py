"""The room Bias lab: one true effect, one switch and one dial per flaw, and a funnel of trials.

What flaws do on average is `bias`; the trials of the funnel are classes of `synthesise`, one for
each size, so that every trial is there as planned and as reported.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from trialsim.app.about import About
from trialsim.app.lab_charts import Scale, Step, Trial, funnel, waterfall
from trialsim.app.lab_figures import FunnelOrder
from trialsim.app.rooms.lessons import LESSONS, Lesson, titles
from trialsim.app.rooms.room import Choices, Drawing, Room
from trialsim.app.state import Choice, Number, State, Switch, entered
from trialsim.app.worker import Answer, Want
from trialsim.errors import Problem

__all__ = ["DIALS", "ROOM", "BiasState", "Dial"]

PROFILE = "bias-lab"
FIRST_TRUTH = {"sepsis": "or-082"}  # of `bias` all; a lab begins with one
SIZES = (60, 150, 400, 1_000)  # patients a trial of the funnel: assumed
FIRST_TRIALS = 256  # of the answer that comes first: the trials that are drawn in one go
MOST_PATIENTS = 50_000_000  # of an answer: under a minute of one core
EACH = 25  # trials of each size
_ODDS = Scale("odds ratio")  # of the lessons
_Z95 = 1.959963984540054
_ID = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Dial:
    """One flaw: what it is, which domain it belongs to, and how strong it is at rest.

    Attributes
    ----------
    mechanism : str
        The word of ``--flaw``.
    name : str
    domain : str
        Of RoB 2 (Sterne et al. 2019, BMJ 366:l4898).
    at_rest : float
        As in the profile; 0 is off.
    source : str
        Where measured strengths of it come from.
    """

    mechanism: str
    name: str
    domain: str
    at_rest: float = 0.0
    source: str = "assumed"

    @property
    def key(self) -> str:
        """Return the field of its strength."""
        return self.mechanism.replace("-", "_")


_RANDOMISATION = "1, randomisation process"
_DEVIATIONS = "2, deviations from intended interventions"
_MISSING = "3, missing outcome data"
_MEASUREMENT = "4, measurement of the outcome"
_SELECTION = "5, selection of the reported result"
_BRANDO = "double blinding: brando-2012, metablind-2020"
DIALS = (
    Dial(
        "foreseen-allocation",
        "Allocation foreseen",
        _RANDOMISATION,
        0.5,
        "strength assumed; ratios: brando-2012, page-2016, herbison-2011, unverzagt-2013",
    ),
    Dial("historical-controls", "Historical controls", _RANDOMISATION),
    Dial("co-intervention", "Other care for the treated", _DEVIATIONS, source=_BRANDO),
    Dial("per-protocol", "Analysed per protocol", _DEVIATIONS),
    Dial("as-treated", "Analysed as treated", _DEVIATIONS),
    Dial("immortal-time", "Immortal time", _DEVIATIONS),
    Dial(
        "exclusion",
        "Bad outcomes left out",
        _MISSING,
        0.17,
        "abraha-2015 (0.17 gives its 0.83)",
    ),
    Dial("differential-loss", "Loss that depends on outcome", _MISSING),
    Dial(
        "assessment",
        "Outcomes misread",
        _MEASUREMENT,
        source="brando-2012, page-2016, metablind-2020 (subjective outcomes)",
    ),
    Dial("best-of", "Best of three endpoints reported", _SELECTION),
    Dial("undeclared-looks", "Five undeclared looks", _SELECTION),
    Dial("extension", "Extended when just not significant", _SELECTION),
    Dial(
        "publication",
        "Without a benefit, not published",
        "Beside RoB 2: the literature, not a trial",
        0.438,
        "hopewell-2009 (1 - 41% / 73%)",
    ),
)


def _dial(key: str) -> float:
    dial = next(d for d in DIALS if d.key == key)
    entry = Number(f"{dial.name}: strength", 0.0, 1.0, 0.01, "%", slider=True, percent=True)
    found: float = entered(entry, dial.at_rest)
    return found


def _switch(key: str) -> bool:
    dial = next(d for d in DIALS if d.key == key)
    found: bool = entered(Switch(dial.name), dial.at_rest > 0)
    return found


@dataclass(frozen=True)
class BiasState(State):
    """What may be entered; strengths at rest are those of the profile."""

    command: ClassVar[tuple[str, ...]] = ("bias",)

    scenario: str = entered(
        Choice("If the truth is", hint="A scenario of the protocol; one of them is shown."), ""
    )
    odds_ratio: float | None = entered(
        Number(
            "True odds ratio instead",
            0.1,
            3.0,
            0.01,
            slider=True,
            hint="Of a scenario that states one; empty: its own.",
        ),
        None,
    )
    total: int | None = entered(
        Number(
            "Size of a trial",
            20,
            20_000,
            2,
            "patients in all",
            whole=True,
            option="--total",
            hint="Empty: the protocol's.",
        ),
        None,
    )
    seed: int = entered(
        Number("Seed", 1, 1_000_000, 1, whole=True, option="--seed", hint="Another: other trials."),
        1,
    )
    trials: int = entered(
        Number("Simulated trials", 200, 20_000, 100, whole=True, hint="More: smaller MCSE."), 1_000
    )
    foreseen_allocation: float = _dial("foreseen_allocation")
    foreseen_allocation_on: bool = _switch("foreseen_allocation")
    historical_controls: float = _dial("historical_controls")
    historical_controls_on: bool = _switch("historical_controls")
    co_intervention: float = _dial("co_intervention")
    co_intervention_on: bool = _switch("co_intervention")
    per_protocol: float = _dial("per_protocol")
    per_protocol_on: bool = _switch("per_protocol")
    as_treated: float = _dial("as_treated")
    as_treated_on: bool = _switch("as_treated")
    immortal_time: float = _dial("immortal_time")
    immortal_time_on: bool = _switch("immortal_time")
    exclusion: float = _dial("exclusion")
    exclusion_on: bool = _switch("exclusion")
    differential_loss: float = _dial("differential_loss")
    differential_loss_on: bool = _switch("differential_loss")
    assessment: float = _dial("assessment")
    assessment_on: bool = _switch("assessment")
    best_of: float = _dial("best_of")
    best_of_on: bool = _switch("best_of")
    undeclared_looks: float = _dial("undeclared_looks")
    undeclared_looks_on: bool = _switch("undeclared_looks")
    extension: float = _dial("extension")
    extension_on: bool = _switch("extension")
    publication: float = _dial("publication")
    publication_on: bool = _switch("publication")

    def strength(self, dial: Dial) -> float:
        """Return how strong a flaw is; one that is switched on and stands at 0 does nothing."""
        on: bool = getattr(self, f"{dial.key}_on")
        value: float = getattr(self, dial.key)
        return value if on else 0.0

    @property
    def domains(self) -> list[tuple[str, list[Dial]]]:
        """Return the dials by the domain of RoB 2 they belong to."""
        named = dict.fromkeys(dial.domain for dial in DIALS)
        return [(domain, [d for d in DIALS if d.domain == domain]) for domain in named]

    @property
    def truth(self) -> str:
        """Return the scenario asked for; "" for all of them."""
        return self.scenario or FIRST_TRUTH.get(self.template, "")

    def _about_truth(self) -> list[str]:
        words = ["--conduct", PROFILE]
        if self.truth:
            words += ["--scenario", self.truth]
        if self.odds_ratio is not None and _ID.fullmatch(self.truth):
            where = f"scenarios.{self.truth}.effect.odds_ratio"
            words += ["--set", f"{where}={self.odds_ratio:.10g}"]
        for dial in DIALS:
            if (strength := self.strength(dial)) != dial.at_rest:
                words += ["--flaw", f"{dial.mechanism}={strength:.10g}"]
        if self.seed != 1:
            words += ["--seed", str(self.seed)]
        return words

    def too_dear(self) -> tuple[Problem, ...]:
        """Return why so many patients are not simulated here."""
        patients = self.trials * (self.total or 0)
        if patients <= MOST_PATIENTS:
            return ()
        rule = f"times their size must be at most {MOST_PATIENTS:,} patients"
        remedy = "Ask for fewer or smaller trials, or use the command line."
        return (Problem(rule, remedy, "Simulated trials", f"{patients:,}"),)

    @property
    def lesson(self) -> Lesson | None:
        """Return the lesson that the address names in place of a protocol."""
        return LESSONS.get(self.template)

    @property
    def lessons(self) -> Sequence[tuple[str, str]]:
        """Return ids and titles of all lessons."""
        return titles()

    def words(self) -> tuple[str, ...]:
        """Return the command: what the flaws do on average, or that of a lesson."""
        if self.lesson:
            return self.lesson.first
        own = ["--total", str(self.total)] if self.total is not None else []
        words = ("bias", self.template, *self._about_truth(), *own)
        return (*words, "--replicates", str(self.trials))

    @property
    def first(self) -> BiasState | None:
        """Return the state of one block of trials: what a dial shows while it is turned."""
        return None if self.lesson else self.but(trials=min(self.trials, FIRST_TRIALS))

    def class_of(self, size: int) -> tuple[str, ...]:
        """Return the command of the funnel's trials of one size."""
        own = ("--class", str(EACH), "--total", str(size))
        return ("synthesise", self.template, *own, *self._about_truth())


def choices(about: About | None) -> Choices:
    """Return the scenarios of the protocol."""
    listed = about.scenarios if about else ()
    first = FIRST_TRUTH.get(about.id, "") if about else ""
    return {
        "scenario": [
            ("" if id_ == first else id_, f"{title} ({status})") for id_, title, status in listed
        ]
    }


def fitted(state: BiasState, about: About) -> BiasState:
    """Return the state with one truth, and at rest the flaws that can act in the protocol."""
    refused = {mechanism for mechanism, _ in about.flaws}
    at_rest = [d for d in DIALS if d.mechanism in refused and state.strength(d) == d.at_rest]
    truth = state.truth or about.first_truth
    off = {f"{dial.key}_on": False for dial in at_rest}
    return state.but(**off, scenario=truth if truth != FIRST_TRUTH.get(state.template) else "")


def more(state: BiasState) -> Mapping[str, tuple[str, ...]]:
    """Return the commands of the funnel's trials, or the further ones of a lesson."""
    if state.lesson:
        return state.lesson.further
    return {str(size): state.class_of(size) for size in SIZES}


def view(
    state: BiasState, answer: Answer | None, about: About | None, more: Mapping[str, Answer]
) -> Mapping[str, object]:
    """Return what the template shows."""
    if answer is None or about is None:
        return {}
    if state.lesson:
        return _of_lesson(state.lesson, answer, more)
    rows = answer.document["rows"]
    scenario = _scenario(state, rows)
    own = [row for row in rows if row["scenario"] == scenario]
    acting = _acting(own)
    last, scale = acting[-1], _scale(own)
    lines = [{"name": _name(m), "mechanism": m, "rows": _measures(own, m)} for m in acting]
    steps, truth = _steps(own, last, about.better)
    follows = any(str(size) not in more for size in SIZES)
    trials = _trials(more)
    title = next((t for id_, t, _ in about.scenarios if id_ == scenario), scenario)
    return {
        "scenario": scenario,
        "title": title,
        "truth": scale.told(truth),
        "scale": scale,
        "steps": steps,
        "lines": lines,
        "sound": lines[0]["rows"],
        "last": lines[-1]["rows"],
        "waterfall": waterfall(steps, truth, _told(steps, truth, scale), scale),
        "funnel": funnel(trials, truth, _funnel_told(trials, scale), scale) if trials else "",
        "trials": trials,
        "follows": follows,
        "n_published": sum(t.published for t in trials),
        "commands": [state.class_of(size) for size in SIZES],
        "further": (),  # they are among the commands
    }


def _of_lesson(lesson: Lesson, answer: Answer, more: Mapping[str, Answer]) -> Mapping[str, object]:
    """Return what the template shows of a lesson."""
    documents = {next(iter(lesson.commands)): answer.document}
    documents |= {name: found.document for name, found in more.items()}
    shown: dict[str, object] = {
        "answered": lesson.answers(documents),
        "commands": list(lesson.commands.values()),
        "further": (),  # they are among the commands
    }
    if not lesson.classroom:
        return shown
    trials, truth = _trials_of_lesson(lesson, documents)
    return {
        **shown,
        "funnel": funnel(trials, truth, _funnel_told(trials, _ODDS), _ODDS),
        "trials": trials,
        "n_published": sum(t.published for t in trials),
    }


def _trials_of_lesson(
    lesson: Lesson, documents: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Trial], float]:
    """Return the trials of its class, and the truth on the log scale."""
    return list(_of_class(documents[lesson.classroom])), math.log(lesson.true_ratio)


def funnel_order(
    state: BiasState,
    answer: Answer,
    more: Mapping[str, Answer],
    told: Callable[[tuple[str, ...]], str],
) -> FunnelOrder | None:
    """Return what is needed to draw the funnel that the page shows; None where it shows none."""
    if state.lesson:
        if not state.lesson.classroom:
            return None
        documents = {name: found.document for name, found in more.items()}
        trials, truth = _trials_of_lesson(state.lesson, documents)
        scale, words = _ODDS, [state.lesson.commands[state.lesson.classroom]]
    else:
        rows = answer.document["rows"]
        scenario = _scenario(state, rows)
        own = [row for row in rows if row["scenario"] == scenario]
        truth, scale = _steps(own, _acting(own)[-1])[1], _scale(own)
        trials, words = _trials(more), [state.class_of(size) for size in SIZES]
    commands = tuple(told(one) for one in words)
    title = _funnel_told(trials, scale)
    return FunnelOrder(tuple(trials), truth, title, scale, commands) if trials else None


def _scenario(state: BiasState, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the truth asked for, or the first with an effect."""
    listed: list[str] = list(dict.fromkeys(r["scenario"] for r in rows))
    if state.truth in listed:
        return state.truth
    found = (r["scenario"] for r in rows if r["measure"] == "type_m" and r["value"] is not None)
    return next(found, listed[0])


def _acting(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the flaws of a scenario's rows, the last all together."""
    return list(dict.fromkeys(r["mechanism"] for r in rows if r["measure"] == "published_share"))


def _scale(rows: Sequence[Mapping[str, Any]]) -> Scale:
    return Scale.of(_measures(rows, _acting(rows)[-1])["estimate_mean"]["scale"])


def _name(mechanism: str) -> str:
    fixed = {"none": "no flaw", "all": "all of them"}
    known = {dial.mechanism: dial.name for dial in DIALS}
    return fixed.get(mechanism) or known.get(mechanism, mechanism)


def _measures(rows: Sequence[Mapping[str, Any]], mechanism: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the rows of what trials with these flaws report, by measure."""
    found = (r for r in reversed(rows) if r.get("mechanism") == mechanism and "arm" not in r)
    return {r["measure"]: r for r in found}


def _steps(
    rows: Sequence[Mapping[str, Any]], last: str, better: str = "lower"
) -> tuple[list[Step], float]:
    """Return the bars and the truth they begin at: the mean published less all that moved it."""
    bars = [r for r in rows if r["measure"] == "attribution"]
    end = _measures(rows, last)["estimate_mean"]["value"]
    truth = at = end - sum(bar["value"] for bar in bars)
    steps = []
    for bar in bars:
        moved = bar["value"]
        favours = moved < 0 if better == "lower" else moved > 0
        steps.append(Step(_name(bar["mechanism"]), at, at + moved, bar["mcse"], favours))
        at += moved
    return steps, truth


def _told(steps: Sequence[Step], truth: float, scale: Scale) -> str:
    moves = ", ".join(f"{s.name} {scale.moved(s.end - s.start)}" for s in steps)
    end = steps[-1].end if steps else truth
    return f"From the truth, {scale.told(truth)}, to publication, {scale.told(end)}: {moves}"


def _funnel_told(trials: Sequence[Trial], scale: Scale) -> str:
    out = sum(t.published for t in trials)
    return (
        f"Funnel of {len(trials)} trials by {scale.name} and standard error, as planned and as "
        f"reported; {out} are published"
    )


def _trials(more: Mapping[str, Answer]) -> list[Trial]:
    """Return the trials in the order they appear: one of each size in turn; [] until all came."""
    found = [more.get(str(size)) for size in SIZES]
    of_size = [
        [replace(trial, of=of) for trial in _of_class(answer.document)]
        for of, answer in enumerate(found)
        if answer and not answer.problems
    ]
    if None in found:
        return []
    return [trial for together in zip(*of_size, strict=False) for trial in together]


def _of_class(document: Mapping[str, Any]) -> Iterator[Trial]:
    found: dict[str, dict[str, Any]] = {}
    reported = "rigorous"
    for row in document["rows"]:
        who = row.get("analysis", "")
        if not who.startswith("student "):
            continue
        own = found.setdefault(who, {"patients": 0})
        if row["measure"] == "n_patients" and row["conduct"] == "rigorous":
            own["patients"] += row["value"]
        elif row["measure"] == "estimate":
            own[row["conduct"]] = _pair(row)
            reported = row["conduct"]
        elif row["measure"] == "published":
            own["published"] = bool(row["value"])
    for number, own in enumerate(found.values(), 1):
        yield Trial(
            number, own["patients"], own["rigorous"], own[reported], own.get("published", True)
        )


def _pair(row: Mapping[str, Any]) -> tuple[float, float]:
    """Return effect and standard error; not a number where no analysis was possible."""
    ratio = "difference" not in (row.get("scale") or "")
    if row["value"] is None or (ratio and not row["lower"] > 0):
        return math.nan, math.nan
    on = math.log if ratio else float
    return on(row["value"]), (on(row["upper"]) - on(row["lower"])) / (2 * _Z95)


def _grid() -> Iterator[BiasState]:
    """Yield the file without a server: three flaws off and on, and one twice as strong."""
    for foreseen in (True, False):
        for exclusion in (0.17, 0.3, 0.0):
            for publication in (True, False):
                yield BiasState(
                    foreseen_allocation_on=foreseen,
                    exclusion=exclusion or 0.17,
                    exclusion_on=exclusion > 0,
                    publication_on=publication,
                )


QUESTION = "What do flaws of conduct do to an effect?"
ROOM = Room(
    "bias-lab",
    "Bias lab",
    QUESTION,
    BiasState,
    view,
    choices,
    more,
    may_refuse=frozenset(map(str, SIZES)),
    want=Want.NUMBERS,
    long=True,
    fitted=fitted,
    first=lambda state: state.first,
    drawings={"funnel": Drawing(funnel_order, "trialsim.app.lab_figures.funnel_files")},
    precomputed=tuple(_grid()),
)
