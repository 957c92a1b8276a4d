"""The room Evidence: what was published on a protocol's question, and where sources disagree.

Three things may be asked: all results with their verdicts, why two trials disagree, and which
explanation fits. Each is a command; what does not apply to a protocol says why not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup

from trialsim.app.about import About
from trialsim.app.charts import Mark, forest_chart
from trialsim.app.rooms.room import Choices, Room
from trialsim.app.state import Choice, State, entered
from trialsim.app.worker import Answer
from trialsim.protocol.reading.places import reconciliation_paths, template_paths

__all__ = ["ROOM", "EvidenceState"]

_ASKED = (
    ("", "All results, their verdicts, documents v publications"),
    ("explain", "Why do two trials disagree?"),
    ("reconcile", "Which explanation fits them all?"),
)
_OUTCOMES = (
    ("", "as the endpoint says"),
    ("objective", "objective: it needs no judgement"),
    ("subjective", "subjective: judgement decides"),
)
_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_WEAK = ("document", "unverified")
_MODELS = ("equal effects", "random effects, REML")

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class EvidenceState(State):
    """What may be entered; values at rest ask for all results."""

    command: ClassVar[tuple[str, ...]] = ("evidence",)

    look: str = entered(Choice("Show", _ASKED), "")
    outcomes: str = entered(
        Choice("Kind of outcome", _OUTCOMES, hint="Ratios of bias are published by it."), ""
    )
    first: str = entered(Choice("One trial", hint="To ask why two disagree."), "")
    second: str = entered(Choice("The other trial"), "")

    @property
    def reconciled(self) -> list[str]:
        """Return the protocols that ship with explanations to weigh."""
        return [name for name in template_paths() if name in reconciliation_paths()]

    @property
    def kind(self) -> tuple[str, ...]:
        """Return the option that says the kind of outcome."""
        return ("--outcomes", self.outcomes) if self.outcomes else ()

    def changed(self) -> Iterator[tuple[str, Any]]:
        """Yield the fields that are not at rest and matter for what is asked."""
        beside = {"": ("first", "second"), "reconcile": ("first", "second", "outcomes")}
        idle = beside.get(self.look, ())
        yield from ((name, value) for name, value in super().changed() if name not in idle)

    def words(self) -> tuple[str, ...]:
        """Return the command of what is asked; none while two trials are not chosen."""
        if self.look == "reconcile":
            return ("reconcile", self.template, "--quick")
        if self.look == "explain":
            pair = (self.first, self.second)
            if not all(map(_ID.fullmatch, pair)) or self.first == self.second:
                return ()
            own = () if self.template in template_paths() else ("--template", self.template)
            return ("explain", *pair, *own, *self.kind)
        return ("evidence", "--template", self.template)


def more(state: EvidenceState) -> Mapping[str, tuple[str, ...]]:
    """Return the verdicts on the records, and their results adjusted for bias."""
    if state.look:
        return {}
    return {
        "checked": ("evidence", "check", "--template", state.template),
        "adjusted": ("evidence", "adjust", state.template, *state.kind),
    }


def choices(about: About | None) -> Choices:
    """Return the trials of the protocol, the second one first where the other is asked for."""
    trials = [
        (id_, title) for id_, title, kind in (about.records if about else ()) if kind == "trial"
    ]
    none = [("", "no trial to choose")]
    return {"first": trials or none, "second": (*trials[1:], *trials[:1]) or none}


def needs_trials(state: EvidenceState) -> bool:
    """Whether two trials are asked about and not both are named."""
    return state.look == "explain" and not (state.first and state.second)


def fitted(state: EvidenceState, about: About) -> EvidenceState:
    """Return the state with the trials that its form shows where none is named."""
    ids = [id_ for id_, _ in choices(about)["first"]]
    first = state.first or next((id_ for id_ in ids if id_ != state.second), "")
    second = state.second or next((id_ for id_ in ids if id_ != first), "")
    return state.but(first=first, second=second)


def view(
    state: EvidenceState, answer: Answer | None, about: About | None, more: Mapping[str, Answer]
) -> Mapping[str, object]:
    """Return what the template shows."""
    if answer is None or about is None:
        return {}
    titles = {id_: title for id_, title, _ in about.records}
    if state.look == "explain":
        return _explained(answer.document, titles)
    if state.look == "reconcile":
        return _reconciled(answer.document)
    return _published(answer.document, about, more)


def _published(document: Numbers, about: About, more: Mapping[str, Answer]) -> dict[str, object]:
    titles = {id_: title for id_, title, _ in about.records}
    estimates = [row for row in document["observed"] if row["measure"] == "estimate"]
    adjusted = more["adjusted"]
    rows = adjusted.document.get("rows", ())
    charts = list(_forests(estimates, titles))
    if rows:
        charts.append(_adjusted_forest(rows, titles))
    return {
        "titles": titles,
        "estimates": estimates,
        "seen": [row for row in document["observed"] if row["measure"] != "estimate"],
        "charts": charts,
        "studies": list(_pairs(rows)),
        "texts": adjusted.document.get("texts", {}),
        "not_adjusted": adjusted.problems,
        "verdicts": list(_verdicts(more["checked"].document["rows"])),
        "disagreements": [_sided(w) for w in document["warnings"]],
        "warnings": [],  # they stand in a table
    }


def _said(row: Numbers) -> str:
    number = f"{row['value']:.2f}"
    return f"{number} ({row['lower']:.2f} to {row['upper']:.2f})" if "lower" in row else number


def _named(row: Numbers, titles: Mapping[str, str]) -> str:
    weak = f" ({row['status'].upper()})" if row.get("status") in _WEAK else ""
    return f"{titles.get(row['evidence'], row['evidence'])}{weak}"


def _forests(
    estimates: Sequence[Numbers], titles: Mapping[str, str]
) -> Iterator[tuple[Markup, str]]:
    """Yield a chart for each scale, with its caption."""
    for scale in dict.fromkeys(row["scale"] for row in estimates):
        entries = []
        for row in (r for r in estimates if r["scale"] == scale):
            shape = "pool" if row.get("analysis") == "pooled" else "trial"
            mark = Mark(
                "as published", row["value"], row.get("lower"), row.get("upper"), shape, _said(row)
            )
            entries.append((_named(row, titles), [mark]))
        ratio = "ratio" in scale.split()
        none_at = 1.0 if ratio else 0.0 if "difference" in scale else None
        told = "; ".join(f"{label} {marks[0].said}" for label, marks in entries)
        chart = forest_chart(entries, f"{scale}: {told}", scale, log=ratio, none_at=none_at)
        several = any(marks[0].shape == "pool" for _, marks in entries)
        shapes = "squares: trials, diamonds: pooled results" if several else "squares: trials"
        yield chart, f"Published results, {scale} with 95% interval; {shapes}"


def _pairs(rows: Sequence[Numbers]) -> Iterator[tuple[str, str, Numbers, Numbers]]:
    """Yield kind, name, the row as published and the adjusted one."""
    found: dict[tuple[str, str], dict[str, Numbers]] = {}
    for row in rows:
        if row["measure"] != "assumption":
            name = row.get("study") or row.get("analysis", "")
            found.setdefault((row["measure"], name), {})[row["which"]] = row
    for (kind, name), pair in found.items():
        yield kind, name, pair["naive"], pair["adjusted"]


def _adjusted_forest(rows: Sequence[Numbers], titles: Mapping[str, str]) -> tuple[Markup, str]:
    entries = [
        (
            titles.get(name, name) if kind == "study" else f"{kind}, {name}" if name else kind,
            [
                Mark("as published", one["value"], one["lower"], one["upper"], "round", _said(one)),
                Mark("adjusted", two["value"], two["lower"], two["upper"], "adjusted", _said(two)),
            ],
        )
        for kind, name, one, two in _pairs(rows)
    ]
    told = "; ".join(f"{n} {a.said} as published, {b.said} adjusted" for n, (a, b) in entries)
    chart = forest_chart(entries, f"odds ratio: {told}", "odds ratio", none_at=1.0)
    caption = (
        "As published (filled circle, solid) and less the bias of trials like them "
        "(hollow square, dashed), odds ratio with 95% interval"
    )
    return chart, caption


def _verdicts(rows: Sequence[Numbers]) -> Iterator[dict[str, Any]]:
    """Yield each record's verdict with the findings behind it that are not plainly right."""
    for row in rows:
        if row["check"] == "record":
            own = [r for r in rows if r["evidence"] == row["evidence"] and r is not row]
            odd = [r for r in own if r["verdict"] not in ("consistent", "cannot be tested")]
            untested = sum(r["verdict"] == "cannot be tested" for r in own)
            yield {"record": row, "odd": odd, "untested": untested}


def _sided(warning: Numbers) -> dict[str, Any]:
    """Part what documents say of a disagreement from what publications say."""
    sides = warning["sides"]
    return {
        **warning,
        "documents": [s for s in sides if s["kind"] == "document"],
        "publications": [s for s in sides if s["kind"] != "document"],
    }


def _explained(document: Numbers, titles: Mapping[str, str]) -> dict[str, object]:
    rows = document["rows"]
    one, other = document["arguments"]["ids"]
    by = {row["measure"]: row for row in reversed(rows)}
    estimates = [row for row in rows if row["measure"] == "estimate"]
    ratio = by.get("ratio")
    charts = []
    if estimates and ratio:
        entries = [
            (titles.get(row["evidence"], row["evidence"]), [_mark(row, "trial")])
            for row in estimates
        ]
        names = [label for label, _ in entries]
        entries.append((f"{names[0]} over {names[1]}", [_mark(ratio, "pool")]))
        told = "; ".join(f"{label} {marks[0].said}" for label, marks in entries)
        scale = estimates[0]["scale"]
        chart = forest_chart(entries, f"{scale}: {told}", scale, none_at=1.0)
        charts.append(
            (chart, "Both trials, and the ratio of the two (diamond), with 95% intervals")
        )
    chance = next((r for r in rows if r["measure"] == "gap_as_large" and "subject" not in r), None)
    return {
        "charts": charts,
        "pair": (titles.get(one, one), titles.get(other, other)),
        "ratio": ratio,
        "chance": chance,
        "differences": list(_differences(rows)),
        "settling": by.get("n_per_arm"),
        "settled": by.get("power_simulated"),
        "texts": document["texts"],
    }


def _differences(rows: Sequence[Numbers]) -> Iterator[dict[str, Any]]:
    """Yield what differs, each once, with the parts of the gap it can carry."""
    found: dict[tuple[str, str], list[Numbers]] = {}
    for row in rows:
        if row["measure"] == "part_of_gap":
            found.setdefault((row["subject"], row["what"]), []).append(row)
    words = {True: "same", False: "differs", None: "not recorded of both"}
    for (subject, what), parts in found.items():
        yield {
            "name": subject if subject == what else f"{subject}, {what}",
            "one": parts[0]["one"],
            "other": parts[0]["other"],
            "same": words[parts[0]["same"]],
            "parts": parts,
        }


def _mark(row: Numbers, shape: str) -> Mark:
    return Mark("as published", row["value"], row.get("lower"), row.get("upper"), shape, _said(row))


def _reconciled(document: Numbers) -> dict[str, object]:
    rows = document["rows"]
    conflict = document["arguments"]["conflict"]
    titles = {each["id"]: each["title"] for each in conflict["explanations"]}
    (finding,) = document["findings"]
    detail = finding["detail"].removeprefix(f"{finding['verdict'].capitalize()}: ")
    prior = {r["analysis"]: r for r in rows if r["measure"] == "prior_weight"}
    after: dict[str, dict[str, Numbers]] = {}
    otherwise: dict[str, list[float]] = {}
    for row in rows:
        if row["measure"] == "posterior_weight":
            after.setdefault(row["set_by"], {})[row["analysis"]] = row
        if row["measure"] == "weight_otherwise" and "why" not in prior[row["analysis"]]:
            otherwise.setdefault(row["analysis"], []).append(row["value"])
    weights = [
        {
            "id": name,
            "title": titles.get(name, name),
            "before": before,
            "after": after["all records"][name],
            "without": after.get("without numbers only a document states", {}).get(name),
            "range": _range(otherwise.get(name, ())),
        }
        for name, before in prior.items()
    ]
    entries = [(w["title"], [_weight(w)]) for w in weights]
    told = "; ".join(f"{label} {marks[0].said}" for label, marks in entries)
    title, axis = f"Weights: {told}", "weight after the records"
    chart = forest_chart(entries, title, axis, log=False, bounds=(0.0, 1.0), width=460)
    caption = "Weight after the records, beside it before and after; line: were one choice another"
    trials: dict[str, dict[str, Numbers]] = {}
    for row in rows:
        if row["measure"] in ("expected_information", "settles"):
            trials.setdefault(row["analysis"], {})[row["measure"]] = row
    return {
        "conflict": conflict,
        "verdict": finding["verdict"],
        "detail": detail[:1].upper() + detail[1:],
        "weights": weights,
        "charts": [(chart, caption)],
        "next_trials": trials,
        "trial_titles": {each["id"]: each["title"] for each in conflict.get("candidates", ())},
        "texts": document["texts"],
    }


def _range(values: Sequence[float]) -> tuple[float, float] | None:
    return (min(values), max(values)) if values else None


def _weight(found: Mapping[str, Any]) -> Mark:
    before, after = found["before"]["value"], found["after"]["value"]
    low, high = found["range"] or (None, None)
    said = "no data" if "why" in found["after"] else f"{before:.2f}, then {after:.2f}"
    return Mark("before and after", after, low, high, "round", said)


QUESTION = "What was published, and where do the sources disagree?"
ROOM = Room(
    "evidence",
    "Evidence",
    QUESTION,
    EvidenceState,
    view,
    choices,
    more,
    may_refuse=frozenset({"adjusted"}),
    fitted=fitted,
    is_unfitted=needs_trials,
    precomputed=(
        EvidenceState(),
        EvidenceState(look="explain", first="etass-2013", second="tests-2025"),
        EvidenceState(look="reconcile"),
    ),
)
