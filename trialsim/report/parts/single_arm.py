"""What a single arm shows against its historical control, and why, for screen and report alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from trialsim.protocol.historical import Contribution
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.text import historical_in_words
from trialsim.studies.historical import ALL_BUT_EFFECT, EVERYTHING, NOTHING

__all__ = [
    "Told",
    "history_rows",
    "single_arm_sentences",
    "single_arm_tables",
    "without_effect",
]

Rows = Sequence[dict[str, Any]]


class Told(NamedTuple):
    """A table with what stands over it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def history_rows(resolved: ResolvedTemplate) -> Iterator[tuple[str, str, str]]:
    """Yield what a single arm is compared with, and what differs today: name, value, source."""
    protocol, nature = resolved.template.protocol, resolved.template.nature
    if not protocol.is_single_arm:
        return
    for name, value in (protocol.control.historical or {}).items():
        seen = f", seen in {value.n:,}" if value.n else ""
        what = f"historical {value.stated.replace('_', ' ')}, {name}{seen}"
        yield what, f"{value.number}", value.number.source or "assumed"
    for name, departures in (nature.historical or {}).items():
        for key, shift in departures.stated:
            number = getattr(shift, shift.stated)
            what = f"{key.replace('_', ' ')}, {name} ({shift.stated.replace('_', ' ')})"
            yield what, f"{number}", number.source or "assumed"
    for name, model in nature.outcomes.items():
        baseline = getattr(model, "baseline", None)
        for key in ("at_least", "at_most"):
            if baseline and getattr(baseline, key) is not None:
                limit = f"{getattr(baseline, key):g}"
                yield f"eligible with {name} {key.replace('_', ' ')}", limit, "assumed"


def single_arm_sentences(resolved: ResolvedTemplate, rows: Rows) -> Iterator[str]:
    """Yield, per endpoint, how often a trial without any effect would find one."""
    test = resolved.template.protocol.test
    for endpoint in resolved.endpoints:
        own = [row for row in rows if row.get("endpoint") == endpoint.id]
        for group in _groups(own):
            found = _at(own, group[0], "power_alone", ALL_BUT_EFFECT)
            nothing = _at(own, group[0], "power_alone", NOTHING)
            if found is None or nothing is None:
                continue
            yield (
                f"{endpoint.id}: with no effect at all, {_percent(found)} of such trials would "
                f"find one; {_percent(nothing)} if nothing else differed from the historical "
                f"control (planned: at most {100 * test.alpha:g} %)."
            )


def single_arm_tables(resolved: ResolvedTemplate, rows: Rows) -> Iterator[Told]:
    """Yield the pieces of every endpoint's change, what is reported, and what is exact.

    Parameters
    ----------
    resolved : ResolvedTemplate
    rows : sequence of dict
        Rows of a result in the form of its document.
    """
    for endpoint in resolved.endpoints:
        own = [row for row in rows if row.get("endpoint") == endpoint.id]
        against = historical_in_words(resolved.template.protocol.historical_value(endpoint.id))
        for group in _groups(own):
            yield _pieces(resolved, own, group, f"{endpoint.id}, against {against}")
        yield _reported(resolved, own, endpoint.id)
    yield from _exact(resolved, rows)
    yield from _randomised(resolved, rows)


def without_effect(rows: Rows) -> str:
    """Return the sentence that must stand beside the power of a single arm; rows of a scenario."""
    found = _at(rows, rows[0]["scenario"], "power_alone", ALL_BUT_EFFECT)
    if found is None:
        return ""
    return (
        f" Against this historical control it would find an effect in {_percent(found)} of trials "
        "without any."
    )


def _groups(rows: Rows) -> list[list[str]]:
    """Return scenarios, together where the same things move them from the historical control."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        moves = tuple(
            (row["analysis"], row["value"])
            for row in _of(rows, scenario, "attribution")
            if row["analysis"] not in (Contribution.EFFECT, EVERYTHING)
        )
        found.setdefault(moves, []).append(scenario)
    return list(found.values())


def _of(rows: Rows, scenario: str, measure: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["scenario"] == scenario and row["measure"] == measure]


def _at(rows: Rows, scenario: str, measure: str, analysis: str) -> dict[str, Any] | None:
    own = _of(rows, scenario, measure)
    return next((row for row in own if row.get("analysis") == analysis), None)


def _pieces(resolved: ResolvedTemplate, rows: Rows, group: Sequence[str], what: str) -> Told:
    first, lines = group[0], []
    moves = {row["analysis"]: row for row in _of(rows, first, "attribution")}
    lines.append((f"{NOTHING}", "-", _percent(_at(rows, first, "power_alone", NOTHING))))
    for words, row in moves.items():
        if words not in (Contribution.EFFECT, EVERYTHING):
            alone = _at(rows, first, "power_alone", words)
            lines.append((words, _move(row), _percent(alone)))
    for scenario in group:
        effect = _at(rows, scenario, "attribution", Contribution.EFFECT)
        if effect is None:
            continue
        alone = _at(rows, scenario, "power_alone", Contribution.EFFECT)
        lines.append((f"effect: {_truth(resolved, scenario)}", _move(effect), _percent(alone)))
        whole = _at(rows, scenario, "attribution", EVERYTHING)
        power = next(iter(_of(rows, scenario, "power")), None)
        lines.append((f"{EVERYTHING}: {_truth(resolved, scenario)}", _move(whole), _percent(power)))
    scale = moves[EVERYTHING]["scale"]
    how = "ratios multiply" if "ratio" in scale else "differences add up"
    return Told(
        f"A change without effect, piece by piece: {what} ({scale}; {how})",
        ("What alone is there", "moves it by", "chance to find an effect"),
        tuple(lines),
    )


def _reported(resolved: ResolvedTemplate, rows: Rows, endpoint: str) -> Told:
    lines = []
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        found = {
            name: next(iter(_of(rows, scenario, name)), None)
            for name in ("true_effect", "estimate_median", "coverage")
        }
        true, median = found["true_effect"], found["estimate_median"]
        lines.append(
            (
                _truth(resolved, scenario),
                "-" if true is None else f"{true['value']:.3g}",
                "-" if median is None else f"{median['value']:.3g} +-{median['mcse']:.2g}",
                _percent(found["coverage"]),
            )
        )
    summary = resolved.endpoint(endpoint).summary
    return Told(
        f"What such a trial reports: {endpoint}, {summary} against the historical control; the "
        "truth is that against concurrent controls",
        ("If the truth is", "true", "median estimate", "interval holds the truth"),
        tuple(lines),
    )


def _exact(resolved: ResolvedTemplate, rows: Rows) -> Iterator[Told]:
    exact = [row for row in rows if row["measure"] == "power_achieved"]
    if not exact:
        return
    stages = resolved.template.protocol.two_stage
    header = ["If the truth is", "chance to find it"]
    header += ["stops early", "patients", "share", "unbiased"] if stages else []
    lines = []
    for row in exact:
        scenario, cells = row["scenario"], [f"{100 * row['value']:.2f} %"]
        if stages:
            (stop,) = _of(rows, scenario, "stop_probability")
            (patients,) = _of(rows, scenario, "expected_n")
            means = [r for r in _of(rows, scenario, "estimate_mean") if "arm" in r]
            cells += [f"{100 * stop['value']:.2f} %", f"{patients['value']:.2f}"]
            cells += [f"{mean['value']:.4f}" for mean in means]
        several = len(resolved.endpoints) > 1
        lead = f"{row['endpoint']}: " if several else ""
        lines.append((f"{lead}{_truth(resolved, scenario)}", *cells))
    caption = f"Exact, {' and '.join(dict.fromkeys(row['analysis'] for row in exact))}"
    levels = [row["value"] for row in rows if row["measure"] == "alpha_cumulative"]
    if levels:
        caption += f"; the test's own level is {100 * levels[0]:.2f} %"
    if stages:
        caption += f"; two stages, {stages}; what the share of responders and the unbiased "
        caption += "estimate are on average"
    yield Told(caption, tuple(header), tuple(lines))


def _randomised(resolved: ResolvedTemplate, rows: Rows) -> Iterator[Told]:
    sizes = [row for row in rows if row["measure"] == "n_per_arm" and row["value"] is not None]
    if not sizes:
        return
    several = len({row["endpoint"] for row in sizes}) > 1
    lines = tuple(
        (
            (f"{row['endpoint']}: " if several else "") + _truth(resolved, row["scenario"]),
            row["analysis"].replace("randomised 1:1, ", "").replace(", 1:1", ""),
            f"{row['value']:,.0f}",
        )
        for row in sizes
    )
    yield Told(
        "What randomisation would need: 1:1, power 80%; drift, concurrent therapy and selection "
        "then meet both arms",
        ("To find", "analysed by", "patients per arm"),
        lines,
    )


def _truth(resolved: ResolvedTemplate, name: str) -> str:
    (scenario,) = resolved.scenarios([name])
    truth = resolved.truth(scenario)
    return truth.label if truth.label == truth.title else f"{truth.label}  {truth.title}"


def _move(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"x {row['value']:.3g}" if "ratio" in row["scale"] else f"{row['value']:+.3g}"


def _percent(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "not given"
    digits = 2 if 0 < row["mcse"] < 5e-4 else 1
    return f"{100 * row['value']:.{digits}f} % +-{100 * row['mcse']:.{digits}f}"
