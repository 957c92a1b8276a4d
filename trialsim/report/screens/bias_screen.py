"""What ``trialsim bias`` prints: what each flaw does, and the way from truth to publication."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp

from trialsim.protocol.endpoints import Summary
from trialsim.report.parts.flawed_patients import (
    flaw_in_words,
    table_per_1000,
    trials_looked_into,
)
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.conduct.bias import PlannedBias, against_none
from trialsim.trial import AnalysisPlan, Measure, Row, StudyResult

__all__ = ["bias_screen"]


def bias_screen(planned: PlannedBias, result: StudyResult, seed: int, program: str) -> str:
    """Return the whole screen.

    Parameters
    ----------
    planned : PlannedBias
    result : StudyResult
        Of its `result`.
    program : str
        What to type to run the commands it names.
    """
    template, conduct = planned.resolved.template, planned.conduct
    protocol = template.protocol
    title = f"{template.id.upper()}   {template.title}"
    what = (
        f"{protocol.primary.event}; {protocol.n_total:,} patients; conduct '{conduct.id}': "
        f"{conduct.title}"
    )
    parts = ["\n".join(map(wrapped, (title, what, *map(str, planned.resolved.settings))))]
    for scenario in planned.scenarios:
        rows = [row for row in result.rows if row.scenario == scenario.id]
        parts += _of_scenario(planned, f"{scenario.title} ({scenario.id})", rows)
    parts.append(wrapped(_legend(planned, result, seed)))
    parts += [wrapped(text) for text in result.texts.values()]
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    parts.append(wrapped(DISCLAIMER))
    return "\n\n".join(parts)


def _of_scenario(planned: PlannedBias, title: str, rows: Sequence[Row]) -> Iterator[str]:
    plan = planned.job.plans[0]
    effects, verdicts = [], []
    seen = dict.fromkeys(
        (row.mechanism, row.strength) for row in rows if row.measure is Measure.ESTIMATE_MEAN
    )
    for mechanism, strength in seen:
        own = {
            row.measure: row
            for row in rows
            if (row.mechanism, row.strength) == (mechanism, strength)
        }
        name = flaw_in_words(mechanism or "") if strength is None else f"{strength:g}"
        effects.append(
            (
                name,
                _effect(planned, own[Measure.ESTIMATE_MEAN]),
                _apart(own.get(against_none(plan.summary))),
                _share(own[Measure.POWER]),
                _share(own[Measure.COVERAGE]),
            )
        )
        verdicts.append(
            (
                name,
                _number(own[Measure.BIAS], 3, sign="+"),
                _number(own.get(Measure.TYPE_M), 2),
                _share(own.get(Measure.TYPE_S)),
                _share(own[Measure.PUBLISHED_SHARE]),
            )
        )
    first = f"{planned.only} at" if planned.only else "flaw"
    header = (first, f"{plan.summary.short}, mean", "against none", "signif. %", "covers %")
    yield f"{wrapped(f'If the truth is {title}')}\n{table(header, effects)}"
    bias = "bias, log" if plan.summary.is_ratio else "bias"
    yield table((first, bias, "exaggerated", "wrong way %", "published %"), verdicts)
    yield from _per_1000(planned, rows)
    bars = [row for row in rows if row.measure is Measure.ATTRIBUTION]
    if bars:
        yield f"From truth to publication\n{_waterfall(planned, bars, rows)}"


def _per_1000(planned: PlannedBias, rows: Sequence[Row]) -> Iterator[str]:
    protocol, flat = planned.job.protocol, [row.as_dict() for row in rows]
    arms = (protocol.control.id, protocol.experimental.id)
    header, lines = table_per_1000(flat, arms)
    if not lines:
        return
    better = "; and how much better the prognosis of the treated was" if len(header) > 4 else ""
    title = (
        f"Of 1,000 patients in the tables published, so many had {protocol.primary.event}{better} "
        f"(means of those published among the first {trials_looked_into(flat):,} trials)"
    )
    yield f"{wrapped(title)}\n{table(header, lines)}"


def _waterfall(planned: PlannedBias, bars: Sequence[Row], rows: Sequence[Row]) -> str:
    """Return the bars, each with where it leads; they add up on the analysis scale."""
    whole = [row for row in rows if row.measure is Measure.ESTIMATE_MEAN][-1]  # with every flaw
    assert whole.value is not None
    at = whole.value - sum(row.value or 0.0 for row in bars)
    back = exp if planned.job.plans[0].summary.is_ratio else float
    lines = [("the truth", "", f"{round(back(at), 3) + 0.0:.3f}")]
    for row in bars:
        assert row.value is not None
        at += row.value
        lines.append((str(row.mechanism), _number(row, 3), f"{back(at):.3f}"))
    summary = planned.job.plans[0].summary
    scale = f"log {summary}" if summary.is_ratio else str(summary)
    return table(("step", f"moves the {scale} by", "to"), lines)


def _effect(planned: PlannedBias, row: Row) -> str:
    if row.value is None:
        return "-"
    if planned.job.plans[0].summary.is_ratio:
        error = exp(row.value) * (row.mcse or 0.0)
        return f"{exp(row.value):.3f} +-{error:.3f}"
    return _number(row, 3)


def _number(row: Row | None, digits: int, *, sign: str = "") -> str:
    if row is None or row.value is None:
        return "-"
    return f"{row.value:{sign}.{digits}f} +-{row.mcse or 0.0:.{digits}f}"


def _apart(row: Row | None) -> str:
    """Two digits, or as many as show the error."""
    return _number(row, 2 if row is None or (row.mcse or 0.0) >= 0.005 else 3)


def _share(row: Row | None) -> str:
    if row is None or row.value is None:
        return "-"
    return f"{100 * row.value:.1f} +-{100 * (row.mcse or 0.0):.1f}"


def _legend(planned: PlannedBias, result: StudyResult, seed: int) -> str:
    plan = planned.job.plans[0]
    ratio, better = plan.summary.is_ratio, "above" if plan.benefit > 0 else "below"
    mean = "the exponential of the mean log ratio" if ratio else "the mean"
    apart = "odds ratios" if plan.summary is Summary.ODDS_RATIO else "estimates"
    apart = f"a {'ratio' if ratio else 'difference'} of {apart}"
    told = (
        f"{plan.summary.short}, mean: {mean} of the trials published; against none: "
        f"{'its ratio to' if ratio else 'less'} that of trials without flaws, of the same patients "
        f"({apart}; {better} {1 if ratio else 0} more benefit); signif.: significant "
        f"({plan.in_words}) among those published, without an effect the type I error; covers: "
        f"their {_level(plan)} intervals that hold the truth; exaggerated: how many times the true "
        "effect those significant show on average; wrong way: significant ones against it."
    )
    if not planned.only and len(plan.looks) > 1:
        told += " The first step is also of stopping at the protocol's own looks."
    if not planned.only:
        told += (
            " Steps are Shapley shares of the mean: what a flaw adds, averaged over all orders of "
            "switching flaws on."
        )
    return (
        f"{told} {result.n_replicates:,} simulated trials per line, the same patients in each, "
        f"seed {seed}; +- is one Monte Carlo standard error."
    )


def _level(plan: AnalysisPlan) -> str:
    return f"{100 * (1 - 2 * plan.one_sided_alpha):g}%"
