"""What ``trialsim followup`` prints: per scenario one table of horizons, then months and cost."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.protocol.endpoints import EstimatingEquations, IntervalCensoredTest
from trialsim.protocol.quantities import Clock, months
from trialsim.report.parts.horizon_estimands import estimand_lines, estimand_words
from trialsim.report.parts.missing_read_outs import MISSING_HEADER, missing_lines, missing_words
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.horizons.delayed_effect import short_name
from trialsim.studies.horizons.followup import PlannedFollowUp
from trialsim.trial import Measure, Row, StudyResult

__all__ = ["followup_screen"]

_Cell = tuple[Measure, str | None, float | None]  # measure, arm, level


def followup_screen(planned: PlannedFollowUp, result: StudyResult, seed: int, program: str) -> str:
    """Return the whole screen.

    Parameters
    ----------
    planned : PlannedFollowUp
    result : StudyResult
        Of its `result`.
    program : str
        What to type to run the commands it names.
    """
    parts = [_head(planned)]
    parts += [_scenario(planned, result, index) for index in range(len(planned.scenarios))]
    parts.append(wrapped(_legend(planned)))
    if planned.request.futility_z is not None:
        parts.append(_futility(planned, result))
    if analyses := result.figure_data.get("analyses"):
        parts += _analyses(planned, analyses, result.figure_data.get("between visits", ()))
        parts += [wrapped(result.texts["gee"])] if "gee" in result.texts else []
    if planned.truths[0][0].intercurrent:
        parts += _estimands(planned, result)
    if missing := result.figure_data.get("missing"):
        parts += _missing(planned, missing)
    parts.append(_plan(planned, result))
    if choice := result.texts.get("choice"):
        parts.append(wrapped(choice))
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    facts = f"{result.n_replicates:,} simulated trials per scenario, seed {seed}; +- is one MCSE."
    parts.append(f"{wrapped(facts)}\n{wrapped(DISCLAIMER)}")
    return "\n\n".join(parts)


def _head(planned: PlannedFollowUp) -> str:
    template = planned.resolved.template
    title = f"{template.id.upper()}   {template.title}"
    what = (
        f"{template.protocol.primary.event}; {template.protocol.n_total:,} patients, the same at "
        f"every horizon; reference: {planned.in_words(planned.reference)}"
    )
    told = [title, what, *map(str, planned.resolved.settings)]
    return "\n".join(map(wrapped, told))


def _rows_at(result: StudyResult, scenario: str, horizon: tuple[str, str]) -> dict[_Cell, Row]:
    return {
        (row.measure, row.arm, row.level if row.measure is not Measure.POWER else None): row
        for row in reversed(result.rows)  # the first is the one of the plan
        if row.scenario == scenario
        and (row.horizon, row.clock) == horizon
        and row.lag is None
        and row.missing is None
        and row.estimand is None
    }


def _scenario(planned: PlannedFollowUp, result: StudyResult, index: int) -> str:
    protocol, scenario = planned.resolved.template.protocol, planned.scenarios[index]
    arms, lines = (protocol.control.id, protocol.experimental.id), []
    clocks = {horizon.time.clock for horizon in planned.horizons}
    start = "entry" if Clock.ENTRY in clocks else "therapy"
    for horizon in planned.horizons:
        rows = _rows_at(result, scenario.id, (str(horizon.time.after), horizon.time.clock.value))
        risks = [1000 * (rows[Measure.RISK, arm, None].value or 0.0) for arm in arms]
        sizes = [rows[Measure.N_PER_ARM, None, level].value for level in (0.8, 0.9)]
        lines.append(
            (
                str(horizon.time.after) if len(clocks) == 1 else months(horizon.day),
                f"{risks[0]:.0f} -> {risks[1]:.0f}",
                _share(rows[Measure.POWER, None, None]),
                _share(_any(rows, Measure.WRONG_VERDICT)),
                _bias(rows.get((Measure.BIAS_FROM_REFERENCE, None, None))),
                " / ".join("-" if n is None else f"{n:,.0f}" for n in sizes),
            )
        )
    known = planned.resolved.status_of(scenario)
    shown = known.upper() if known in ("document", "unverified") else known
    told = wrapped(f"If the truth is {scenario.title} ({scenario.id}; known from: {shown})")
    header = (
        f"after\n{start}",
        "per 1,000",
        "found",
        "wrong\nverdict",
        "bias",
        "per arm,\n80% / 90%",
    )
    return f"{told}\n{table(header, lines)}{_against_reference(planned, result, scenario.id)}"


def _against_reference(planned: PlannedFollowUp, result: StudyResult, scenario: str) -> str:
    """Return how much more or less is found than at the reference, in the same trials."""
    own = (str(planned.reference.time.after), planned.reference.time.clock.value)
    found = [
        f"{_names(planned)[row.horizon or '', row.clock or '']} {_apart(row)}"
        for row in result.rows
        if (row.measure, row.scenario) == (Measure.POWER_DIFFERENCE, scenario)
        and (row.analysis or "").startswith("against ")
        and (row.horizon, row.clock) != own
    ]
    if not found:
        return ""
    told = f"Found, of 100, less what {_names(planned)[own]} finds in the same trials: "
    return "\n" + wrapped(told + ", ".join(found))


def _futility(planned: PlannedFollowUp, result: StudyResult) -> str:
    """Return what stopping for futility at an earlier horizon would do."""
    lines = []
    for scenario in planned.scenarios:
        for horizon in planned.horizons:
            own = (str(horizon.time.after), horizon.time.clock.value)
            rows = _rows_at(result, scenario.id, own)
            stops = rows.get((Measure.STOP_PROBABILITY, None, 0.95))
            wrongly = rows.get((Measure.STOPS_WRONGLY, None, 0.95))
            if stops:
                missed = _share(wrongly) if wrongly else "-"
                lines.append((scenario.id, planned.in_words(horizon), _share(stops), missed))
    header = ("if the truth is", "stopped at", "stops", "of trials that\nwould find it")
    few = any(line[-1] == "-" and line[0] != "no-effect" for line in lines)
    why = "\n-: fewer than 100 of the trials would find it, or there is nothing to find" * few
    told = f"If trials with z <= {planned.request.futility_z:g} were stopped, everyone read out:"
    return f"{told}\n{table(header, lines, folding=(0, 1))}{why}"


def _analyses(
    planned: PlannedFollowUp, rows: tuple[Row, ...], paired: tuple[Row, ...]
) -> Iterator[str]:
    """Yield what every analysis of the same patients finds, and what a later start does to it."""
    horizons, header = _names(planned), [*_names(planned).values()]
    tests = list(dict.fromkeys(short_name(row.analysis or "") for row in rows))
    for scenario in dict.fromkeys(row.scenario for row in rows):
        own = {
            (row.lag, short_name(row.analysis or ""), row.horizon, row.clock): row
            for row in rows
            if row.scenario == scenario
        }
        lines = [(t, *(_percent(own.get((None, t, *h))) for h in horizons)) for t in tests]
        apart = {(row.horizon, row.clock): row for row in paired if row.scenario == scenario}
        if apart:
            less = ("  less log-rank", *(_apart(apart.get(h)) for h in horizons))
            lines.insert(tests.index(_BETWEEN) + 1, less)
        fits = [own.get((None, str(EstimatingEquations.GEE), *h)) for h in horizons]
        if any(row and row.n_failed for row in fits):
            lines.append(("  of 100 failed", *map(_failed, fits)))
        told = wrapped(f"In how many of 100 trials each analysis finds an effect ({scenario})")
        yield f"{told}\n{table(('read at', *header), lines)}"
        lags = [lag for lag in dict.fromkeys(key[0] for key in own) if lag is not None]
        first, late = tests[0], _LATE
        lines = [
            (
                lag,
                *(
                    " / ".join(_percent(own.get((lag, test, *h))) for test in (first, late))
                    for h in horizons
                ),
            )
            for lag in lags
        ]
        if lines:
            told = wrapped(f"{first} / {late}, where the effect starts later ({scenario})")
            yield f"{told}\n{table(('starts, after entry', *header), lines)}"
    between = [row for row in rows if short_name(row.analysis or "") == _BETWEEN]
    worst = max((row.mcse or 0.0 for row in rows if row not in between), default=0.0)
    of_times = "" if planned.truths[0][0].courses else " Risks are read as times to the event here."
    said = ""
    if between:
        n, most = between[0].n_replicates, max(row.mcse or 0.0 for row in between)
        said = (
            f" Of the interval-censored test, which takes times to lie between visits, it is "
            f"{100 * most:.1f} at most (first {n:,} trials); less log-rank, +- one MCSE: in the "
            "same of them."
        )
    told = f"Monte Carlo standard errors are at most {100 * worst:.1f} of 100."
    if any(row.lag is not None for row in rows):
        said += (
            " An effect that starts later reaches the same at the reference (assumed): it comes "
            "the faster, at one constant hazard."
        )
    if any(visit.window for visit in planned.resolved.template.protocol.visits):
        said += (
            " Times are the days of visits, scattered within their windows (assumed): FH weights "
            "count on that scatter, and are worth less where visits are kept to the day."
        )
    yield wrapped(f"{told}{said}{of_times}")


def _names(planned: PlannedFollowUp) -> dict[tuple[str, str], str]:
    """Return what horizons are called: their time, or months since entry if clocks are mixed."""
    mixed = len({horizon.time.clock for horizon in planned.horizons}) > 1
    return {
        (str(h.time.after), h.time.clock.value): months(h.day) if mixed else str(h.time.after)
        for h in planned.horizons
    }


def _estimands(planned: PlannedFollowUp, result: StudyResult) -> Iterator[str]:
    """Yield what every estimand is at every horizon, and how often its analysis finds it."""
    rows = [row.as_dict() for row in result.rows if row.estimand]
    horizons = _names(planned)
    for scenario in planned.scenarios:
        lines = estimand_lines([row for row in rows if row["scenario"] == scenario.id], horizons)
        told = wrapped(f"Estimands at every horizon, true effect / found % ({scenario.id})")
        yield f"{told}\n{table(('estimand', *horizons.values()), list(lines))}"
    yield wrapped(estimand_words(rows))


def _missing(planned: PlannedFollowUp, rows: tuple[Row, ...]) -> Iterator[str]:
    """Yield what every way to deal with missing read-outs finds in the same patients."""
    flat = [row.as_dict() for row in rows]
    for scenario in dict.fromkeys(row.scenario for row in rows):
        own = [row for row in flat if row["scenario"] == scenario]
        lines = list(missing_lines(own, _names(planned)))
        told = wrapped(f"How missing read-outs are dealt with ({scenario})")
        yield f"{told}\n{table(MISSING_HEADER, lines)}"
    yield wrapped(missing_words(flat))


_BETWEEN = str(IntervalCensoredTest.LOG_RANK)
_LATE = "log-rank, FH(0, 1)"  # sees late differences best


def _percent(row: Row | None) -> str:
    return "-" if row is None or row.value is None else f"{100 * row.value:.1f}"


def _apart(row: Row | None) -> str:
    if row is None or row.value is None or row.mcse is None:
        return "-"
    return f"{100 * row.value:+.1f} +-{100 * row.mcse:.1f}"


def _failed(row: Row | None) -> str:
    failed = row.n_failed or 0 if row else 0
    n = failed + ((row.n_replicates or 0) if row else 0)
    return f"{100 * failed / n:.1f}" if n else "-"


def _any(rows: dict[_Cell, Row], measure: Measure) -> Row:
    return next(row for (own, _, _), row in rows.items() if own is measure)


def _share(row: Row) -> str:
    if row.value is None or row.mcse is None:
        return "-"
    return f"{100 * row.value:.1f} % +-{100 * row.mcse:.1f}"


def _bias(row: Row | None) -> str:
    if row is None or row.value is None or row.mcse is None:
        return "-"
    return f"{row.value:+.2f} +-{row.mcse:.2f}"


def _legend(planned: PlannedFollowUp) -> str:
    plan = planned.jobs[0].plans[0]
    scale = f"log {plan.summary}" if plan.summary.is_ratio else str(plan.summary)
    at = planned.in_words(planned.reference)
    what = "in response, alive, followed and seen" if planned.truths[0][0].courses else "true"
    return (
        f"per 1,000: control -> treated, {what}; found: significant ({plan.in_words}); wrong "
        f"verdict: an effect exists at the reference ({at}) and is not found in its direction, or "
        f"none exists there and one is found; bias: mean {scale} less the true one at the "
        "reference; per arm: pooled-variance formula, 1:1, for the effect at that horizon."
    )


def _plan(planned: PlannedFollowUp, result: StudyResult) -> str:
    """Return what a longer follow-up costs, whichever scenario is true."""
    n = planned.resolved.template.protocol.n_total
    header, lines, cost = list(_columns(planned, result)), [], planned.resolved.template.cost
    for horizon in planned.horizons:
        own = (str(horizon.time.after), horizon.time.clock.value)
        rows = _rows_at(result, planned.scenarios[0].id, own)
        cells = [planned.in_words(horizon)]
        for measure, _, digits in header:
            row = rows.get((measure, None, None))
            factor = 100 if measure is Measure.LOST else 1
            cells.append(
                "-" if row is None or row.value is None else f"{factor * row.value:,.{digits}f}"
            )
        lines.append(tuple(cells))
    why = {
        row.why
        for row in result.rows
        if row.measure in (Measure.DURATION_MONTHS, *([Measure.COST] if cost else []))
        and row.level is None
        and row.why
    }
    drawn = table((f"{n:,} patients, read at", *(words for _, words, _ in header)), lines)
    said = [f"Not given: {'; '.join(sorted(why))}."] if why else []
    if any(row.measure is Measure.LOST for row in result.rows):
        said.append("Not seen: dead, lost to follow-up, or the visit missed.")
    said += planned.assumed
    return f"{drawn}\n{wrapped(' '.join(said))}" if said else drawn


def _columns(planned: PlannedFollowUp, result: StudyResult) -> Iterator[tuple[Measure, str, int]]:
    cost = planned.resolved.template.cost
    if any(row.measure is Measure.LOST for row in result.rows):
        yield Measure.LOST, "not seen\n%", 1
    yield Measure.DURATION_MONTHS, "months to\nlast read-out", 1
    if cost:
        yield Measure.COST, f"cost, {cost.currency}\nof {cost.year}", 0
