"""What ``trialsim reconcile`` prints: records, weights, effects, pairs, the next trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import exp
from typing import Any, NamedTuple

from trialsim.protocol.reconciliation import ShiftSize
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import table, wrapped
from trialsim.studies.conflict.reconciliation import AVERAGED, CLEAR, Reconciling, ShiftPrior, Which
from trialsim.trial import StudyResult

__all__ = [
    "ReconciliationTable",
    "left_out_in_words",
    "priors_in_words",
    "reconciliation_screen",
    "reconciliation_tables",
]

_Row = Mapping[str, Any]
_CHANGED = 1e-9
_SMALL = 0.01  # shares below it are printed to four decimals


class ReconciliationTable(NamedTuple):
    """One table with the words above it and below it, and the figure that shows the same."""

    caption: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    below: str = ""
    figure: str = ""


def reconciliation_screen(
    plan: Reconciling, result: StudyResult, others: Sequence[str] = ()
) -> str:
    """Return the whole screen.

    Parameters
    ----------
    others : sequence of str
        Further shipped conflicts of the same template.
    """
    file = plan.file
    parts = [wrapped(f"{file.template.upper()}   {file.title}")]
    first = ("template", "verdict", "choices", "documents", "parts")
    parts += [wrapped(result.texts[key]) for key in first if key in result.texts]
    rows = [row.as_dict() for row in result.rows]
    observed = [row.as_dict() for row in result.observed]
    stated = file.model_dump(mode="json", exclude_none=True)
    for told in reconciliation_tables(stated, rows, observed):
        lines = f"{wrapped(told.caption)}\n{table(told.header, told.lines, _folding(told))}"
        parts.append(f"{lines}\n{wrapped(told.below)}" if told.below else lines)
    told_last = ("no-data", "alike", "matrix")
    parts += [wrapped(text) for key, text in result.texts.items() if key in told_last]
    parts.append("\n".join(_priors(plan)))
    if left_out := left_out_in_words(stated):
        parts.append(wrapped(left_out))
    if file.note:
        parts.append(wrapped(file.note))
    if others:
        parts.append(
            wrapped(f"Further conflicts of this template: --conflict {', '.join(others)}.")
        )
    parts.append(wrapped(DISCLAIMER))
    return "\n\n".join(parts)


def left_out_in_words(file: Mapping[str, Any]) -> str:
    """Return the records that do not enter, and why; empty where there are none."""
    said = "; ".join(f"{one['evidence']} ({one['why']})" for one in file.get("left_out", ()))
    return f"Left out: {said}." if said else ""


def _folding(told: ReconciliationTable) -> tuple[int, ...]:
    return (0, len(told.header) - 1) if told.header[0] == "record" else (0,)


def reconciliation_tables(
    file: Mapping[str, Any], rows: Sequence[_Row], observed: Sequence[_Row]
) -> list[ReconciliationTable]:
    """Return the tables of screen and report.

    Parameters
    ----------
    file : mapping
        The reconciliation, as in the document's arguments.
    rows, observed : sequence of mapping
        As in the document.
    """
    titles = {e["id"]: e["title"] for e in file["explanations"]}
    found = [_records(file, observed)] if observed else []
    found.append(_weights(titles, rows))
    found += [*_otherwise(rows), *_effects(titles, rows), *_checks(titles, rows)]
    found += [*_quantities(titles, rows), *_first(rows)]
    found += _candidates(file, rows)
    return found


def _records(file: Mapping[str, Any], observed: Sequence[_Row]) -> ReconciliationTable:
    titles = {r["id"]: r["title"] for r in (*file["records"], *file.get("contrasts", ()))}
    lines = []
    for row in observed:
        name = titles[row["evidence"]]
        if row["set_by"] != Which.ALL.value:
            name = f"{name}, {row['set_by']}"
        said = f"{row['source']} ({row['status']})"
        lines.append((name, _ratio(row), said))
    chosen = [c["title"] for c in file.get("contrasts", ()) if c["because"] == "significant"]
    below = (
        "Ratios of the effects in two parts of one trial, taken as reported because significant "
        f"and so as drawn from beyond 1.96 errors: {'; '.join(chosen)}."
    )
    return ReconciliationTable(
        "What enters",
        ("record", "ratio (95% CI)", "from"),
        tuple(lines),
        below if chosen else "",
    )


def _weights(titles: Mapping[str, str], rows: Sequence[_Row]) -> ReconciliationTable:
    sets = list(dict.fromkeys(r["set_by"] for r in rows if r["measure"] == "posterior_weight"))
    lines = []
    for name, title in titles.items():
        own = [r for r in rows if r.get("analysis") == name]
        prior = next(r for r in own if r["measure"] == "prior_weight")
        star = "*" if prior.get("why") else ""
        weights = {r["set_by"]: r["value"] for r in own if r["measure"] == "posterior_weight"}
        cells = (f"{weights[which]:.2f}{star}" for which in sets)
        lines.append((f"{title} [{name}]", f"{prior['value']:.2f}", *cells))
    marks = [f"({chr(97 + i)}) {which}" for i, which in enumerate(sets)]
    words = [f"{'; '.join(marks)}."] if len(sets) > 1 else []
    if any(cell.endswith("*") for line in lines for cell in line):
        words.append("* no data: the weight put in.")
    words.append(f"By quadrature, no simulation. Above {CLEAR:g} an explanation is said to fit.")
    header = [f"({chr(97 + i)})" for i in range(len(sets))] if len(sets) > 1 else ["after"]
    return ReconciliationTable(
        "Weight of each explanation",
        ("explanation", "before", *header),
        tuple(lines),
        " ".join(words),
        "weights",
    )


def _otherwise(rows: Sequence[_Row]) -> Iterator[ReconciliationTable]:
    found = [r for r in rows if r["measure"] == "weight_otherwise"]
    names = list(dict.fromkeys(r["analysis"] for r in found if not r.get("why")))
    lines = []
    for title in dict.fromkeys(r["set_by"] for r in found):
        own = {r["analysis"]: r for r in found if r["set_by"] == title}
        known = {name: row["value"] for name, row in own.items() if not row.get("why")}
        most = max(known, key=lambda name: known[name])
        after = " +" if "after" in own[most].get("source", "") else ""
        cells = (f"[{known[n]:.2f}]" if n == most else _weight(own[n]) for n in names)
        lines.append((f"{title}{after}", *cells))
    if not lines:
        return
    columns = [f"({number})" for number in range(1, len(names) + 1)]
    below = ", ".join(f"{column} {name}" for column, name in zip(columns, names, strict=True))
    below += ". [ ] the largest; x an assumed standard deviation times that."
    if any("*" in cell for line in lines for cell in line):
        below += " * no data: the weight put in."
    if any(line[0].endswith(" +") for line in lines):
        below += " + against a choice made after weights had been seen."
    caption = "Weights, were one choice another"
    yield ReconciliationTable(caption, ("choice", *columns), tuple(lines), below)


def _weight(row: _Row) -> str:
    return f"{row['value']:.2f}{'*' if row.get('why') else ' '}"


def _first(rows: Sequence[_Row]) -> Iterator[ReconciliationTable]:
    found = [r for r in rows if r["measure"] == "comes_first"]
    names = list(dict.fromkeys(r["analysis"] for r in found))
    shares = {(r["analysis"], r["set_by"]): r["value"] for r in found}
    lines = tuple(
        (one, *(f"[{shares[one, n]:.2f}]" if n == one else f"{shares[one, n]:.2f} " for n in names))
        for one in names
    )
    if lines:
        n = found[0]["n_replicates"]
        below = f"[ ] the right one. {n:,} literatures each; MCSE at most {0.5 / n**0.5:.3f}."
        caption = "Which comes first in literatures drawn from each"
        yield ReconciliationTable(caption, ("drawn from", *names), lines, below)


def _effects(titles: Mapping[str, str], rows: Sequence[_Row]) -> Iterator[ReconciliationTable]:
    lines: list[tuple[str, ...]] = []
    for row in rows:
        if row["measure"] != "estimate":
            continue
        name = row["analysis"]
        words = "averaged" if name == AVERAGED else titles[name]
        if row["set_by"] != Which.ALL.value:
            words = f"averaged, {row['set_by']}"
        lines.append((words, _ratio(row)))
    if not lines:
        return
    open_all = all(r.get("why") for r in rows if r["measure"] == "prior_weight")
    below = "The prior: no record speaks." if open_all else ""
    header = ("under", "odds ratio (95% interval)")
    yield ReconciliationTable("Effect in sound trials", header, tuple(lines), below)


def _checks(titles: Mapping[str, str], rows: Sequence[_Row]) -> Iterator[ReconciliationTable]:
    seen = next((r for r in rows if r["measure"] == "ratio_of_odds_ratios"), None)
    predicted = [r for r in rows if r["measure"] == "gap_predicted"]
    shares = {r["analysis"]: r for r in rows if r["measure"] == "gap_as_large"}
    if seen is None or not predicted:
        return
    lines = tuple(
        (titles[row["analysis"]], _ratio(row), _gap_share(shares[row["analysis"]]))
        for row in predicted
    )
    drawn = [row["n_replicates"] for row in predicted if row.get("n_replicates")]
    below = (
        f"Ratio of the ratios of the two sides: {seen['value']:.2f} as published. By each "
        "explanation's prior: its middle and 95% of literatures; how often it is as large, this "
        "way round. Exact (normal) where there is no filter"
    )
    below += f"; else (MCSE) of {drawn[0]:,} literatures drawn." if drawn else "."
    header = ("under", "ratio of ratios", "gap as large")
    caption = "Predictive check: the gap, as each explanation has it"
    yield ReconciliationTable(caption, header, lines, below, "checks")


def _quantities(titles: Mapping[str, str], rows: Sequence[_Row]) -> Iterator[ReconciliationTable]:
    of = [r for r in rows if r["measure"] == "quantity"]
    seen = {r["scale"]: r["value"] for r in of if r["analysis"] == "as published"}
    shares = [r for r in rows if r["measure"] == "predictive_p"]
    by = {(r["analysis"], r["scale"]): r for r in shares}
    if not by:
        return
    names = dict.fromkeys(r["analysis"] for r in shares)
    lines = tuple((titles[n], *(_gap_share(by[n, scale]) for scale in seen)) for n in names)
    q, significant, largest = seen.values()
    below = (
        f"As published: Cochran's Q {q:.1f}; {significant:.0f} of the records significant (95% "
        f"interval without 1); largest effect {largest:.2f}. By each explanation's prior: share "
        f"(MCSE) of {shares[0]['n_replicates']:,} literatures drawn in which it is as large, or "
        "larger; near 0 the explanation does not give what was seen."
    )
    header = ("under", "Q", "significant", "largest effect")
    caption = "Predictive check: spread, significance and the largest effect of the records"
    yield ReconciliationTable(caption, header, lines, below, "quantities")


def _gap_share(row: _Row) -> str:
    if row.get("n_replicates") is None:
        value = row["value"]
        return f"{value:.4f}" if value < _SMALL else f"{value:.3f}"
    if row.get("upper") is not None:
        return f"below {row['upper']:.3f} (0 of {row['n_replicates']:,})"
    return _share(row) if row.get("mcse") is not None else f"{row['value']:.3f}"


def _candidates(file: Mapping[str, Any], rows: Sequence[_Row]) -> Iterator[ReconciliationTable]:
    titles = {c["id"]: c["title"] for c in file.get("candidates", ())}
    bits = [r for r in rows if r["measure"] == "expected_information"]
    settles = {r["analysis"]: r for r in rows if r["measure"] == "settles"}
    lines = [
        (
            titles[r["analysis"]],
            f"{r['value']:.3f} ({r['mcse']:.3f})",
            _share(settles[r["analysis"]]),
        )
        for r in sorted(bits, key=lambda r: -r["value"])
    ]
    if lines:
        below = (
            f"Of the explanations with a model; {bits[0]['n_replicates']:,} results drawn of each. "
            f"Settles: one of them then has a weight above {CLEAR:g} among them. Errors of the "
            "results to come as without an effect (assumed)."
        )
        header = ("next", "bits expected (MCSE)", "settles (MCSE)")
        yield ReconciliationTable(
            "Which next trial would tell them apart", header, tuple(lines), below
        )


def priors_in_words(plan: Reconciling) -> str:
    """Return every prior with its source, one a line."""
    _, *items = _priors(plan)
    return "\n".join(" ".join(item.split()) for item in items)


def _priors(plan: Reconciling) -> Iterator[str]:
    yield "Priors"
    sd = plan.file.effect_sd
    said = sd.source or sd.note or "assumed"
    yield _item(f"effect in sound trials: log odds ratio around 0, SD {sd} ({said})")
    yield from _weights_put_in(plan)
    for own in plan.file.explanations:
        if own.kind == "shift":
            for level, prior in plan.shifts(own).items():
                size = own.levels[level]
                words = _shift_in_words(prior, size)
                if silent := plan.taken_as_0(size):
                    words += f"; kappa or phi not published by {', '.join(silent)}: 0, assumed"
                for source, tau2 in plan.unread_tau2(size):
                    words += (
                        f" ({source} publishes a tau2 of {tau2:g}, between what is not said: "
                        "among the other choices)"
                    )
                yield _item(f"{own.id}, {level}: {words}")
        elif own.kind == "filter":
            source = f"{own.odds_ratio.evidence} {own.odds_ratio.estimate}"
            spread = f"SD between literatures {own.between} ({own.between.note or 'assumed'})"
            odds = f"odds ratio of being published {exp(plan.publication_odds(own)):.2f}"
            share = f"of significant trials published: {own.published} ({own.published.source})"
            yield _item(f"{own.id}: {odds}, {source}, {spread}; {share}")
        elif own.kind == "varying":
            said = own.sd.source or own.sd.note or "assumed"
            yield _item(f"{own.id}: SD between populations half-normal, scale {own.sd} ({said})")
        if own.note:
            yield wrapped(own.note, "    ")


def _weights_put_in(plan: Reconciling) -> Iterator[str]:
    """Say of every weight beforehand where it is from, those from one place together."""
    told: dict[str, list[str]] = {}
    for own in plan.file.explanations:
        weight = plan.prior[own.id]
        if abs(weight - own.weight.value) > _CHANGED:
            where = "by --prior, or in proportion to what it leaves"
        else:
            source = (own.weight.source, own.weight.note)
            where = "; ".join(word for word in source if word) or "assumed"
        told.setdefault(where, []).append(f"{own.id} {weight:.2f}")
    for where, several in told.items():
        yield _item(f"weights beforehand, {where}: {', '.join(several)}")


def _item(text: str) -> str:
    return wrapped(text, "    ", "  ")


def _shift_in_words(prior: ShiftPrior, size: ShiftSize) -> str:
    said = " x ".join(f"{source.evidence} {source.estimate}" for source in size.sources)
    said = said or (size.odds_ratio.note if size.odds_ratio else "") or "assumed"
    spread = f"log SD {prior.variance**0.5:.2f}, between trials {prior.between**0.5:.2f}"
    return f"ratio of ratios {exp(prior.mean):.2f}, {spread} ({said})"


def _ratio(row: _Row) -> str:
    return f"{row['value']:.2f} ({row['lower']:.2f} to {row['upper']:.2f})"


def _share(row: _Row) -> str:
    return f"{row['value']:.3f} ({row['mcse']:.3f})"
