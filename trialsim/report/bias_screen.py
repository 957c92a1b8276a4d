"""What ``trialsim bias`` prints: what each flaw does, and the way from truth to publication."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp

from trialsim.protocol.endpoints import Summary
from trialsim.report.flawed_patients import table_per_1000, trials_looked_into
from trialsim.report.screen import DISCLAIMER
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.bias import PlannedBias
from trialsim.trial import Measure, Row, StudyResult

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
    parts = [f"{wrapped(title)}\n{wrapped(what)}"]
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
    lines, seen = (
        [],
        dict.fromkeys(
            (row.mechanism, row.strength) for row in rows if row.measure is Measure.ESTIMATE_MEAN
        ),
    )
    for key in seen:
        own = {
            row.measure: row
            for row in rows
            if (row.mechanism, row.strength) == key and row.measure is not Measure.ATTRIBUTION
        }
        name = "no flaw" if key[0] == "none" else "all of them" if key[0] == "all" else key[0]
        shown = f"{key[1]:g}" if key[1] is not None else str(name)
        ratio = own.get(Measure.RATIO_OF_ODDS_RATIOS)
        lines.append(
            (
                shown,
                _effect(planned, own[Measure.ESTIMATE_MEAN]),
                "-" if ratio is None else _number(ratio, 2),
                _share(own[Measure.POWER]),
                _share(own[Measure.COVERAGE]),
                _share(own[Measure.PUBLISHED_SHARE]),
            )
        )
    short = planned.job.plans[0].summary.short
    first = f"{planned.only} at" if planned.only else "flaw"
    header = (first, f"{short}, mean", "against none", "signif.", "covers", "published")
    yield f"{wrapped(f'If the truth is {title}')}\n{table(header, lines)}"
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
    lines = [("the truth", "", f"{back(at):.3f}")]
    for row in bars:
        assert row.value is not None
        at += row.value
        lines.append((str(row.mechanism), _number(row, 3), f"{back(at):.3f}"))
    scale = "log odds ratio" if planned.job.plans[0].summary is Summary.ODDS_RATIO else "effect"
    return table(("step", f"moves the {scale} by", "to"), lines)


def _effect(planned: PlannedBias, row: Row) -> str:
    if row.value is None:
        return "-"
    if planned.job.plans[0].summary.is_ratio:
        error = exp(row.value) * (row.mcse or 0.0)
        return f"{exp(row.value):.3f} +-{error:.3f}"
    return _number(row, 3)


def _number(row: Row, digits: int) -> str:
    if row.value is None:
        return "-"
    return f"{row.value:.{digits}f} +-{row.mcse or 0.0:.{digits}f}"


def _share(row: Row) -> str:
    if row.value is None:
        return "-"
    return f"{100 * row.value:.1f} % +-{100 * (row.mcse or 0.0):.1f}"


def _legend(planned: PlannedBias, result: StudyResult, seed: int) -> str:
    plan = planned.job.plans[0]
    mean = "the exponential of the mean log ratio" if plan.summary.is_ratio else "the mean"
    told = (
        f"{plan.summary.short}, mean: {mean} of the trials published; against none: its ratio to "
        "that of trials without flaws, of the same patients (a ratio of odds ratios; below 1 more "
        f"benefit where events are bad); signif.: significant ({plan.in_words}) among those "
        "published; covers: their 95% intervals that hold the truth."
    )
    if not planned.only:
        told += (
            " Steps are Shapley shares of the mean: what a flaw adds, averaged over all orders of "
            "switching flaws on."
        )
    return (
        f"{told} {result.n_replicates:,} simulated trials per line, the same patients in each, "
        f"seed {seed}; +- is one Monte Carlo standard error."
    )
