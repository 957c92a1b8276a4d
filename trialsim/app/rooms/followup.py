"""The room Follow-up: the same patients read out at several horizons.

All horizons are answered by one command; the slider and the choice of a truth only select among
its numbers, so that they take no time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup

from trialsim.app.about import About
from trialsim.app.charts import line_chart
from trialsim.app.rooms.room import Choices, Room
from trialsim.app.state import Choice, Number, State, Text, entered
from trialsim.app.worker import Answer, Line, Panel

__all__ = ["ROOM", "FollowupState", "horizons"]

_DAYS_PER_MONTH = 30.4375
_CLOCKS = (("", "as in the protocol"), ("entry", "entry"), ("end-of-therapy", "end of therapy"))


@dataclass(frozen=True)
class FollowupState(State):
    """What may be entered; values at rest are those of ``trialsim followup``."""

    command: ClassVar[tuple[str, ...]] = ("followup",)

    template: str = entered(Choice("Protocol"), "chronic-hepatitis-b")
    truth: str = entered(Choice("If the truth is", hint="A scenario of the protocol."), "")
    horizon: float | None = entered(
        Number(
            "Read out at",
            0.0,
            60.0,
            0.5,
            "months since entry",
            slider=True,
            hint="The nearest time that is compared; empty: the reference.",
        ),
        None,
    )
    at: str = entered(
        Text("Compare these times", 80, "3 mo,6 mo,12 mo", "--at", "Empty: those of the file."), ""
    )
    clock: str = entered(Choice("which count from", _CLOCKS, "--from"), "")


def choices(about: About | None) -> Choices:
    """Return the scenarios of the protocol."""
    listed = about.scenarios if about else ()
    first = ("", "the first with an effect")
    return {"truth": [first, *((id_, f"{title} ({status})") for id_, title, status in listed)]}


@dataclass(frozen=True)
class Horizon:
    """One time of reading out, and what a trial finds there if one scenario is true.

    Attributes
    ----------
    words : str
        On both clocks, "12 mo after therapy = 18 mo after entry".
    since_entry : float
        In the unit of the figure, days or months.
    rows : mapping of str to row
        The document's rows by measure, of one scenario.
    """

    words: str
    since_entry: float
    months: float
    rows: Mapping[str, Mapping[str, Any]]
    risks: Sequence[Mapping[str, Any]]  # of the arms


def view(
    state: FollowupState, answer: Answer | None, about: About | None, more: Mapping[str, Answer]
) -> Mapping[str, object]:
    """Return what the template shows."""
    del more
    if answer is None or about is None:
        return {}
    rows = answer.document["rows"]
    drawn = answer.figures["followup"].panels
    unit = "days" if "days" in drawn[0].x_label else "months"
    scenario = _scenario(state.truth, rows)
    times = list(horizons(rows, scenario, drawn[1].lines[0].x, unit))
    chosen = _chosen(times, state.horizon)
    return {
        "scenario": scenario,
        "title": next((t for id_, t, _ in about.scenarios if id_ == scenario), scenario),
        "horizons": times,
        "chosen": chosen,
        "reference": _reference(rows),
        "charts": list(_charts(drawn, scenario, times, chosen, unit)),
    }


def _scenario(wanted: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the truth asked for, or the first with an effect."""
    true: dict[str, Mapping[str, Any]] = {
        r["scenario"]: r for r in reversed(rows) if r["measure"] == "true_effect"
    }
    listed: list[str] = list(dict.fromkeys(r["scenario"] for r in rows))
    if wanted in listed:
        return wanted
    with_effect = (s for s in listed if s in true and true[s]["status"] != "-")
    return next(with_effect, listed[0])


def horizons(
    rows: Sequence[Mapping[str, Any]], scenario: str, since_entry: Sequence[float], unit: str
) -> Iterator[Horizon]:
    """Yield the times that are compared, if one scenario is true.

    Parameters
    ----------
    rows : sequence of row
        Of the document.
    scenario : str
    since_entry : sequence of float
        Each time since entry, in `unit`.
    unit : str
        ``days`` or ``months``.
    """
    own: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        apart = "lag" in row or "missing" in row  # other analyses, other data
        if row["scenario"] == scenario and "horizon" in row and not apart:
            own.setdefault((row["horizon"], row["clock"]), []).append(row)
    for found, at in zip(own.values(), since_entry, strict=True):
        months = at / _DAYS_PER_MONTH if unit == "days" else at
        words = found[0]["horizon"]
        if found[0]["clock"] == "end-of-therapy":
            words = (
                f"{words} after therapy = {at:.3g} {'d' if unit == 'days' else 'mo'} after entry"
            )
        sized = (r for r in reversed(found) if r.get("level") == 0.8)
        named = {f"{r['measure']}_for_80": r for r in sized}
        plain = {
            r["measure"]: r for r in reversed(found) if r.get("level") != 0.8 and "arm" not in r
        }
        risks = [r for r in found if r["measure"] == "risk"]
        yield Horizon(words, at, months, {**named, **plain}, risks)


def _chosen(times: Sequence[Horizon], months: float | None) -> Horizon:
    """Return the horizon nearest to the slider, else the reference, else the last."""
    if months is not None:
        return min(times, key=lambda h: abs(h.months - months))
    reference = (h for h in times if h.rows.get("power", {}).get("headline"))
    return next(reference, times[-1])


def _reference(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return in words the horizon whose effect counts."""
    named = (r["analysis"] for r in rows if r["measure"] == "wrong_verdict")
    return re.sub("^against ", "", next(named, ""))


def _charts(
    drawn: Sequence[Panel],
    scenario: str,
    times: Sequence[Horizon],
    chosen: Horizon,
    unit: str,
) -> Iterator[tuple[Markup, str, tuple[str, ...]]]:
    """Yield charts with captions and the names of their lines."""
    curves = drawn[0]
    index = next(i for i, line in enumerate(curves.lines) if line.label == scenario)
    treated, control = curves.lines[index], curves.lines[index - 1]
    observed = [line for line in curves.lines if line.points]
    seen = [line for pair in zip(observed[1::2], observed[::2], strict=True) for line in pair]
    named = [
        Line("treated", treated.x, treated.y, treated.colour, points=False),
        Line("control", control.x, control.y, control.colour, points=False),
        *(
            Line(f"{line.label or 'its control arm'}, published", line.x, line.y, "", points=True)
            for line in seen
        ),
    ]
    at = chosen.since_entry
    caption = f"Response if {scenario} is true; marks: what trials published"
    panel = Panel(curves.x_label, curves.y_label, "", tuple(named))
    names = tuple(line.label for line in named)
    yield line_chart(panel, f"{curves.y_label}. {caption}", rule_at=at), caption, names
    xs = tuple(h.since_entry for h in times)
    found, wrong = (
        tuple(h.rows[m]["value"] if m in h.rows else float("nan") for h in times)
        for m in ("power", "wrong_verdict")
    )
    lines = (
        Line("found", xs, found, "", points=False),
        Line("wrong verdict", xs, wrong, "", False),
    )
    caption = "Trials that find an effect, and that end in a wrong verdict, by when they are read"
    panel = Panel(f"read out at, {unit} since entry", "of trials", "", lines)
    chart = line_chart(panel, caption, y_percent=True, rule_at=at)
    yield chart, caption, ("found", "wrong verdict")


QUESTION = "How long should patients be followed?"
ROOM = Room("followup", "Follow-up", QUESTION, FollowupState, view, choices, long=True)
