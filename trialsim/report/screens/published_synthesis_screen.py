"""What ``trialsim synthesise --observed`` prints: published trials, pooled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trialsim.protocol.published.evidence import Status
from trialsim.protocol.published.trials import Origin
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.literature.published_synthesis import Method, PublishedSynthesis
from trialsim.trial import StudyResult

__all__ = [
    "NOT_ADVICE",
    "SynthesisTable",
    "model_tables",
    "published_synthesis_screen",
    "synthesis_tables",
]

_Row = Mapping[str, Any]
_WEAK = tuple(status.value for status in Status if status.is_weak)
_LONG = ("who says so", "why not")
NOT_ADVICE = "A summary of published results. Not evidence about a patient, not treatment advice."
_SHORT = {"odds ratio": "OR", "risk ratio": "RR", "risk difference": "RD"}


class SynthesisTable(NamedTuple):
    """One table with the words above it; `notes` stand below."""

    caption: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def published_synthesis_screen(
    planned: PublishedSynthesis, result: StudyResult, program: str
) -> str:
    """Return the whole screen.

    Parameters
    ----------
    planned : PublishedSynthesis
    result : StudyResult
        Of its `result`.
    program : str
        What to type to run the commands it names.
    """
    template = planned.resolved.template
    rows = [row.as_dict() for row in result.rows]
    observed = [row.as_dict() for row in result.observed]
    published = planned.trials.origin is Origin.PUBLISHED
    setting = f"Simulated trials pooled as they are: {planned.trials.name}."
    if published:
        setting = f"Published results pooled as they are: {planned.trials.name}. "
        setting += "Nothing is simulated."
    parts = [f"{wrapped(f'{template.id.upper()}   {template.title}')}\n{wrapped(setting)}"]
    for told in synthesis_tables(rows, observed):
        below = "".join(f"\n{wrapped(note)}" for note in told.notes)
        folding = (len(told.header) - 1,) if told.header[-1] in _LONG else (0,)
        lines = table(told.header, told.lines, folding)
        parts.append(f"{wrapped(told.caption)}\n{lines}{below}")
    parts += [wrapped(text) for text in result.texts.values()]
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    parts.append(wrapped(NOT_ADVICE if published else DISCLAIMER))
    return "\n\n".join(parts)


def synthesis_tables(rows: Sequence[_Row], observed: Sequence[_Row]) -> list[SynthesisTable]:
    """Return the tables of a result.

    Parameters
    ----------
    rows, observed : sequence of mapping
        As in the document.
    """
    whole = [r for r in rows if "stratum" not in r]
    scale = next(r["scale"] for r in whole if r["measure"] == "estimate")
    found = [
        _studies(observed, scale),
        _pooled(whole, scale),
        _without(whole, scale),
        _findings(whole, scale),
    ]
    if any(r.get("analysis") == "asymmetry, Egger" and r["value"] is not None for r in whole):
        found.append(_asymmetry(whole))
    found += _strata(rows, scale)
    found += _published(rows)
    if beside := [r for r in observed if r.get("why", "").startswith("shown, not pooled")]:
        lines = tuple(
            (r["evidence"], _interval(r), f"{_status(r)}; {r['why'].partition(': ')[2]}")
            for r in beside
        )
        header = ("record", f"{_SHORT[scale]} (95% CI)", "why not")
        found.append(SynthesisTable("Shown, not pooled", header, lines))
    return found


def model_tables(rows: Sequence[_Row]) -> list[SynthesisTable]:
    """Return what a screen has no room for: every model, and the studies added one by one.

    Parameters
    ----------
    rows : sequence of mapping
        As in the document.
    """
    by_model = [r for r in rows if r["measure"] == "estimate_by_model"]
    if not by_model:
        return []
    scale = by_model[0]["scale"]
    tau2 = {r["analysis"]: r for r in rows if r["measure"] == "tau2_by_model"}
    lines = []
    for row in by_model:
        estimator, _, interval = row["analysis"].partition(", ")
        between = tau2.get(estimator, {}).get("value")
        lines.append(
            (
                estimator,
                "-" if between is None else _short(between),
                interval,
                row.get("why") or _interval(row),
            )
        )
    header = ("variance between", "tau2", "interval", f"{_SHORT[scale]} (95% CI)")
    found = [SynthesisTable("Every model", header, tuple(lines))]
    added = [r for r in rows if r["measure"] == "estimate_cumulative"]
    methods = list(dict.fromkeys(r["analysis"] for r in added))
    by = {(r["evidence"], r["analysis"]): r for r in added}
    lines_added = tuple(
        (name, *(_interval(by[name, method]) for method in methods))
        for name in dict.fromkeys(r["evidence"] for r in added)
    )
    caption = f"Studies added one by one, in the order given: {scale} (95% CI)"
    own_header = ("up to and with", *(_brief(method) for method in methods))
    return [*found, SynthesisTable(caption, own_header, lines_added)]


def _studies(observed: Sequence[_Row], scale: str) -> SynthesisTable:
    lines: list[tuple[str, ...]] = []
    for name in dict.fromkeys(r["evidence"] for r in observed if r["measure"] == "weight"):
        own = [r for r in observed if r["evidence"] == name]
        counts = [
            f"{n_of['n_events']:.0f}/{n_of['n_patients']:.0f}" if n_of else "-"
            for n_of in (
                {
                    r["measure"]: r["value"]
                    for r in own
                    if r["measure"] in ("n_events", "n_patients") and r.get("arm") == arm
                }
                for arm in ("treated", "control")
            )
        ]
        (effect,) = (r for r in own if r["measure"] == "estimate")
        weights = [_percent(r["value"]) for r in own if r["measure"] == "weight"]
        weak = [s.upper() for r in own if (s := r.get("status", "")) in _WEAK]
        label = ", ".join((name, *dict.fromkeys(weak)))
        lines.append((label, *counts, _interval(effect), *weights))
    main = next(r["analysis"] for r in observed if r["measure"] == "weight")
    short = "MH" if main == Method.MANTEL_HAENSZEL else "IV"
    header = (
        *("study", "treated", "control"),
        *(f"{_SHORT[scale]} (95% CI)", f"{short} %", "REML %"),
    )
    caption = f"Studies: events/patients, {scale}, weights by {main} and by random effects"
    if all(line[1] == line[2] == "-" for line in lines):
        caption = caption.replace("events/patients, ", "")
        kept = (header[0], *header[3:])
        return SynthesisTable(caption, kept, tuple((line[0], *line[3:]) for line in lines))
    return SynthesisTable(caption, header, tuple(lines))


def _status(row: _Row) -> str:
    """Return how far a published number can be relied on; weak ones stand out."""
    status = Status(row["status"])
    return status.value.upper() if status.is_weak else status.value


def _pooled(rows: Sequence[_Row], scale: str) -> SynthesisTable:
    lines = []
    reasons: dict[str, list[str]] = {}
    for method in Method:
        own = [r for r in rows if r.get("analysis") == method]
        estimate = next((r for r in own if r["measure"] == "estimate"), None)
        if estimate is None:
            continue
        p = next(r for r in own if r["measure"] == "p_value")
        why = estimate.get("why")
        lines.append((method.value, _interval(estimate), "-" if why else _p(p["value"])))
        if why:
            reasons.setdefault(why, []).append(method.value)
    notes = [f"No estimate by {'; '.join(names)}: {why}." for why, names in reasons.items()]
    return SynthesisTable(
        "Pooled",
        ("method", f"{_SHORT[scale]} (95% CI)", "P"),
        tuple(lines),
        (*notes, *_spread(rows)),
    )


def _spread(rows: Sequence[_Row]) -> Iterator[str]:
    """Yield how far studies differ."""
    found = {r["measure"]: r for r in rows if r["measure"] in ("heterogeneity_q", "i2", "tau2")}
    q, i2, tau2 = (found[name] for name in ("heterogeneity_q", "i2", "tau2"))
    (p,) = (r for r in rows if r.get("analysis") == "Cochran's Q")
    if q["value"] is None:
        yield f"Differences between studies: {q['why']}."
        return
    said = [f"Q {q['value']:.2f}, P {_p(p['value'])}"]
    if i2["value"] is not None:
        said.append(f"I2 {i2['value']:.0f} %")
    if tau2["value"] is not None:
        ends = "" if tau2.get("lower") is None else f" ({_short(tau2['lower'])} to "
        ends += f"{_short(tau2['upper'])} by Q-profile)" if ends else ""
        said.append(f"tau2 {_short(tau2['value'])}{ends}")
    yield f"Differences between studies: {'; '.join(said)}."
    (reach,) = (r for r in rows if r["measure"] == "prediction")
    if reach.get("lower") is not None:
        ends = _interval(reach).partition("(")[2].rstrip(")")
        yield f"Where the true effect of a further study lies (95% prediction interval): {ends}."


def _without(rows: Sequence[_Row], scale: str) -> SynthesisTable:
    own = [r for r in rows if r["measure"] == "estimate_without"]
    names = dict.fromkeys(r["evidence"] for r in own)
    methods = list(dict.fromkeys(r["analysis"] for r in own))
    by = {(r["evidence"], r["analysis"]): r for r in own}
    lines = [(name, *(_interval(by[name, method]) for method in methods)) for name in names]
    header = ("without", *(_brief(method) for method in methods))
    return SynthesisTable(f"Without each study in turn: {scale} (95% CI)", header, tuple(lines))


def _brief(method: str) -> str:
    return "random effects, REML" if method == Method.REML else method


def _findings(rows: Sequence[_Row], scale: str) -> SynthesisTable:
    per_1000 = [r for r in rows if r["measure"] == "events_per_1000"]
    (patients,) = (r for r in rows if r["measure"] == "n_patients")
    (certainty,) = (r for r in rows if r["measure"] == "certainty")
    control = next((r for r in per_1000 if r.get("arm") == "control"), None)
    estimates = {r["analysis"]: r for r in rows if r["measure"] == "estimate"}
    differences = [r for r in per_1000 if "analysis" in r]
    shown = differences or [r for r in rows if r.get("headline")]
    said = [
        "-"
        if row["value"] is None or row not in differences
        else f"{row['value']:+.0f} ({row['lower']:+.0f} to {row['upper']:+.0f})"
        for row in shown
    ]
    n = "-" if patients["value"] is None else f"{patients['value']:,.0f}"
    risk = f"{control['value']:.0f}" if control else "-"
    lines = (
        ("participants", *(n for _ in shown)),
        ("control group, per 1,000", *(risk for _ in shown)),
        ("difference, per 1,000 (95% CI)", *said),
        (f"{scale} (95% CI)", *(_interval(estimates[row["analysis"]]) for row in shown)),
        ("certainty of the evidence", *(certainty["why"] for _ in shown)),
    )
    header = ("", *(_brief(row["analysis"]) for row in shown))
    note = "The control group's is the risk of all controls together, taken as known."
    note = note if differences else f"Participants, risks and differences: {patients['why']}."
    return SynthesisTable("Summary of findings", header, lines, (note,))


def _asymmetry(rows: Sequence[_Row]) -> SynthesisTable:
    lines = [
        (r["analysis"].partition(", ")[2], _p(r["value"]))
        for r in rows
        if r.get("analysis", "").startswith("asymmetry")
    ]
    (missing,) = (r for r in rows if r["measure"] == "studies_missing")
    (filled,) = (r for r in rows if r.get("analysis") == "trim and fill, L0, REML")
    note = f"Trim and fill (L0): {missing.get('why', '')}."
    if missing["value"] is not None:
        note = (
            f"Trim and fill (L0): {missing['value']:.0f} missing; with them, by random effects, "
            f"{_interval(filled)}."
        )
    header = ("test", "P")
    return SynthesisTable("Asymmetry of the funnel", header, tuple(lines), (note,))


def _strata(rows: Sequence[_Row], scale: str) -> Iterator[SynthesisTable]:
    names = [n for n in dict.fromkeys(r.get("stratum", "") for r in rows) if "=" in n]
    if not names:
        return
    lines = []
    for name in names:
        own = [r for r in rows if r.get("stratum") == name]
        estimates = {r["analysis"]: r for r in own if r["measure"] == "estimate"}
        (main,) = (r for r in estimates.values() if r.get("headline"))
        (i2,) = (r for r in own if r["measure"] == "i2")
        share = "-" if i2["value"] is None else f"{i2['value']:.0f} %"
        lines.append(
            (name.partition("=")[2], _interval(main), _interval(estimates[Method.REML]), share)
        )
    split = names[0].partition("=")[0]
    between = [r for r in rows if r.get("stratum", "").startswith(f"{split}: ")]
    header = ("stratum", _brief(main["analysis"]), "random effects, REML", "I2")
    caption = f"By {split}: {scale} (95% CI)"
    yield SynthesisTable(caption, header, tuple(lines), (_apart(between),))


def _apart(rows: Sequence[_Row]) -> str:
    """Say how far two strata are apart."""
    (gap,) = (r for r in rows if r["measure"] in _GAPS)
    (p,) = (r for r in rows if r["measure"] == "p_value")
    which = gap.get("stratum", "").partition(": ")[2] or gap["analysis"].partition(": ")[2]
    if gap["value"] is None:
        return f"{which}: not compared, {gap['why']}."
    return (
        f"{_GAPS[gap['measure']]}, {which}: {_interval(gap)}, P for interaction {_p(p['value'])}."
    )


_GAPS = {
    "ratio_of_odds_ratios": "Ratio of odds ratios",
    "ratio_of_ratios": "Ratio of risk ratios",
    "difference_of_differences": "Difference of risk differences",
}


def _published(rows: Sequence[_Row]) -> Iterator[SynthesisTable]:
    """Yield the strata of a review as they were published, and who says which number."""
    found = [r for r in rows if r.get("analysis", "").startswith("as published")]
    for name in dict.fromkeys(r["stratum"] for r in found):
        own = [r for r in rows if r.get("stratum") == name]
        estimates = [r for r in own if r["measure"] == "estimate"]
        strata = [r for r in estimates if "source" in r]
        (both,) = (r for r in estimates if "source" not in r)
        lines = tuple((r["analysis"].partition(": ")[2], _interval(r), r["source"]) for r in strata)
        notes = [_apart(own), f"Both by inverse variance: {_interval(both)}."]
        weak = [r["status"] for r in strata if Status(r["status"]).is_weak]
        notes += [f"Derived; one of the two is {status.upper()}." for status in weak[:1]]
        header = ("stratum", "OR (95% CI)", "who says so")
        caption = f"Published strata of {name.replace(', ', ', by ')}"
        yield SynthesisTable(caption, header, lines, tuple(notes))


def _interval(row: _Row) -> str:
    if row["value"] is None:
        return "-"
    digits = 3 if row.get("scale") == "risk difference" else 2
    if row.get("lower") is None:
        return f"{row['value']:.{digits}f}"
    ends = (row["lower"], row["upper"])
    low, high = (f"{end:.{digits}f}" if end < 1000 else f"{end:.3g}" for end in ends)
    return f"{row['value']:.{digits}f} ({low} to {high})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _short(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.3g}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
