"""The room Size: how many patients, the power curve, other beliefs, the paragraph."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from markupsafe import Markup

from trialsim.app.about import About
from trialsim.app.charts import line_chart
from trialsim.app.rooms.room import Choices, Room
from trialsim.app.state import Choice, Number, State, Switch, Text, entered
from trialsim.app.worker import Answer

__all__ = ["ROOM", "SizeState"]

_BOUNDS = (
    ("", "one analysis at the end"),
    ("obf", "O'Brien-Fleming bounds"),
    ("pocock", "Pocock bounds"),
    ("ldof", "Lan-DeMets spending, O'Brien-Fleming like"),
    ("ldpocock", "Lan-DeMets spending, Pocock like"),
)
_SPENDING = ("ldof", "ldpocock")
_TESTS = (
    ("", "as in the protocol"),
    ("{sides: 1, alpha: 0.025}", "one-sided, 2.5%"),
    ("{sides: 2, alpha: 0.05}", "two-sided, 5%"),
)
_FUTILITY = (("", "none"), ("0", "stop where z is below 0"), ("0.5", "stop where z is below 0.5"))


@dataclass(frozen=True)
class SizeState(State):
    """What may be entered; values at rest are those of ``trialsim size``."""

    command: ClassVar[tuple[str, ...]] = ("size",)

    scenario: str = entered(
        Choice("Truth planned for", option="--scenario", hint="A scenario of the protocol."), ""
    )
    effect: str = entered(
        Text(
            "Or an effect of your own",
            40,
            "OR 0.70",
            "--effect",
            "OR, RR, HR or GMR with a ratio; RD or MD with a difference.",
        ),
        "",
    )
    control_risk: float | None = entered(
        Number(
            "Control risk",
            0.001,
            0.999,
            0.001,
            unit="%",
            percent=True,
            option="--control-risk",
            hint="With an effect of your own; empty: the protocol's.",
        ),
        None,
    )
    power: float = entered(
        Number("Power aimed at", 0.5, 0.99, 0.01, "%", slider=True, percent=True, option="--power"),
        0.8,
    )
    total: int | None = entered(
        Number(
            "Or: the power of so many",
            4,
            1_000_000,
            2,
            "patients in all",
            whole=True,
            option="--total",
            hint="Empty: as many as the power needs.",
        ),
        None,
    )
    dropout: float | None = entered(
        Number(
            "Without outcome",
            0.0,
            0.9,
            0.01,
            "%",
            percent=True,
            option="--dropout",
            hint="Empty: the protocol's.",
        ),
        None,
    )
    ratio: str = entered(
        Choice(
            "Treated to control",
            (("", "as in the protocol"), ("1:1", "1:1"), ("2:1", "2:1"), ("3:1", "3:1")),
            "--ratio",
        ),
        "",
    )
    test: str = entered(Choice("Test", _TESTS), "")
    prior: str = entered(
        Choice(
            "Assurance over",
            option="--prior",
            hint="Power averaged over what a published result says of the effect.",
        ),
        "",
    )
    looks: str = entered(
        Text(
            "Interim looks at",
            60,
            "0.5,1",
            hint="Shares of the information, the last one 1; with bounds.",
        ),
        "",
    )
    bounds: str = entered(Choice("Stopping for efficacy", _BOUNDS), "")
    futility: str = entered(
        Choice("Stopping for futility", _FUTILITY, hint="Of a one-sided test."), ""
    )
    accept_claim: bool = entered(
        Switch("Plan for a number that only a document states", "--accept-claim"), False
    )

    def words(self) -> tuple[str, ...]:
        """Return the command; bounds need looks, and futility repeats at each but the last."""
        words = list(super().words())
        if self.test:
            words += ["--set", f"protocol.test={self.test}"]
        if self.looks or self.bounds or self.futility:
            looks = self.looks or "0.5,1"
            words.append(f"--looks={looks}")
            if self.bounds:
                words += ["--spending" if self.bounds in _SPENDING else "--bounds", self.bounds]
            if self.futility:
                interim = max(1, len(looks.split(",")) - 1)
                words.append(f"--futility={','.join([self.futility] * interim)}")
        return tuple(words)


def choices(about: About | None) -> Choices:
    """Return the scenarios of the protocol, and the results it is held against."""
    listed = about.scenarios if about else ()
    named = ((id_, f"{title} ({status})") for id_, title, status in listed)
    records = ((id_, id_) for id_ in (about.observed if about else ()))
    return {
        "scenario": [("", "the protocol's own choice"), *named],
        "prior": [("", "none"), *records],
    }


def _row(rows: Sequence[Mapping[str, Any]], measure: str, **given: str) -> Mapping[str, Any] | None:
    """Return the first row of a measure, with these keys or without an analysis."""
    return next(
        (
            r
            for r in rows
            if r["measure"] == measure and all(r.get(k) == v for k, v in given.items())
        ),
        None,
    )


@dataclass(frozen=True)
class Belief:
    """One row of the belief matrix: sized for one truth, its power if each is true."""

    scenario: str
    status: str
    total: float | None
    why: str
    powers: tuple[float | None, ...]


_SIZED_FOR = re.compile(r"sized for (\S+), truth (\S+)")


def beliefs(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[Belief]]:
    """Return the truths, and one row for each belief, read off the document's rows."""
    powers: dict[tuple[str, str], float | None] = {}
    for row in rows:
        if found := _SIZED_FOR.fullmatch(str(row.get("analysis", ""))):
            powers[found[1], found[2]] = row["value"]
    truths = tuple(dict.fromkeys(truth for _, truth in powers))
    matrix = [
        Belief(
            row["scenario"],
            row.get("status", ""),
            row["value"],
            row.get("why", ""),
            tuple(powers.get((row["scenario"], truth)) for truth in truths),
        )
        for row in rows
        if row["measure"] == "n_total" and row.get("analysis") == "if planned for"
    ]
    return truths, matrix


def _otherwise(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """Yield the power of the size where something that was assumed is otherwise."""
    for row in rows:
        words = str(row.get("analysis", ""))
        if row["measure"] == "power_achieved" and "if " not in words and "kept" in words:
            yield words, row["value"]


_LOOK_COLUMNS = (
    ("information", "Read out", "{:,.0f}"),
    ("z_efficacy", "z, efficacy", "{:.4f}"),
    ("z_futility", "z, futility", "{:.4f}"),
    ("p_nominal", "P, one-sided", "{:.5f}"),
    ("alpha_cumulative", "Alpha spent", "{:.4f}"),
    ("power_achieved", "Power", "{:.1%}"),
    ("stop_probability no effect", "Stops, no effect", "{:.1%}"),
    ("stop_probability effect", "Stops, effect", "{:.1%}"),
)


def looks_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of looks; both empty without looks."""
    found: dict[int, dict[str, float | None]] = {}
    for row in rows:
        if "look" in row:
            name = f"{row['measure']} {row.get('analysis', '')}".strip()
            found.setdefault(row["look"], {})[name] = row["value"]
    shown = [c for c in _LOOK_COLUMNS if any(c[0] in values for values in found.values())]
    lines = [
        [
            str(look),
            *("-" if (v := values.get(name)) is None else how.format(v) for name, _, how in shown),
        ]
        for look, values in sorted(found.items())
    ]
    return ["Look", *(title for _, title, _ in shown)] if lines else [], lines


def view(
    state: SizeState, answer: Answer | None, about: About | None, more: Mapping[str, Answer]
) -> Mapping[str, object]:
    """Return what the template shows."""
    del about, more
    if answer is None:
        return {}
    rows: Sequence[Mapping[str, Any]] = answer.document["rows"]
    headline = next((r for r in rows if r.get("headline")), rows[0])
    truths, matrix = beliefs(rows)
    header, lines = looks_table(rows)
    return {
        "looks_header": header,
        "looks_lines": lines,
        "assurance": _row(rows, "assurance"),
        "headline": headline,
        "n_total": _row(rows, "n_total"),
        "per_arm": [r for r in rows if r["measure"] == "n_per_arm" and "analysis" not in r],
        "randomised": _row(rows, "n_total", analysis="randomised, loss allowed for"),
        "achieved": _row(rows, "power_achieved"),
        "simulated": _row(rows, "power_simulated"),
        "otherwise": list(_otherwise(rows)),
        "truths": truths,
        "matrix": matrix,
        "rows": rows,
        "charts": list(_charts(answer)),
        "paragraph": answer.document["texts"].get("paragraph", ""),
        "in_r": answer.document["texts"].get("elsewhere", ""),
        "aimed_at": state.power if state.total is None else None,
    }


def _charts(answer: Answer) -> Iterator[tuple[Markup, str]]:
    """Yield the power curves with their captions: against the size, against the true effect."""
    captions = ("Power against size", "Power of this size against the true effect")
    drawn = answer.figures.get("power")
    for panel, caption in zip(drawn.panels if drawn else (), captions, strict=False):
        caption += " (shaded: the prior)" if panel.areas else ""
        title = f"{caption}: {drawn.alt_text}" if drawn else caption
        names = (caption, "the design")
        named = replace(panel, y_label="power")
        yield line_chart(named, title, names=names, y_percent=True), caption


_PRECOMPUTED = (
    *(SizeState(power=power / 100) for power in (80, 60, 70, 90, 95)),
    *(SizeState(scenario=scenario) for scenario in ("or-073", "etass-planning")),
    *(SizeState(total=total) for total in (361, 1_106)),
    SizeState(looks="0.5,1", bounds="ldof"),
    *(SizeState(template=template) for template in ("chronic-hepatitis-b", "hbv-aclf")),
)
ROOM = Room(
    "size",
    "Size",
    "How many patients does it need?",
    SizeState,
    view,
    choices,
    precomputed=_PRECOMPUTED,
)
