"""What ``trialsim size`` prints: the sentence first, then the tables, then where to check it."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isnan

from trialsim.characteristics import Characteristic
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import caution_lines, endpoint_in_words, table, wrapped
from trialsim.studies.size.kind import PowerTable
from trialsim.studies.size.monitoring import Seen, Verdict
from trialsim.studies.size.of_one_arm import OneArmSize
from trialsim.studies.size.operating_grid import OperatingGrid
from trialsim.studies.size.planned import LookRow, PlannedSize
from trialsim.studies.size.prior import AS_ADJUSTED
from trialsim.studies.size.question import SizeQuestion
from trialsim.studies.size.reestimation import Reestimated, TrueEffect
from trialsim.studies.size.screening import screened_for
from trialsim.studies.size.searched import SearchedSize
from trialsim.trial import Measure, Row, StudyResult

__all__ = ["size_screen"]


def size_screen(
    planned: PlannedSize | SearchedSize | OneArmSize, result: StudyResult, seed: int, program: str
) -> str:
    """Return the whole screen.

    Parameters
    ----------
    planned : PlannedSize, SearchedSize or OneArmSize
    result : StudyResult
        Of its `result`, or its `by_simulation`.
    program : str
        What to type to run the commands it names.
    """
    match planned:
        case SearchedSize():
            return _searched(planned, result)
        case OneArmSize():
            return _one_arm(planned, result, seed, program)
        case _:
            return _by_formula(planned, result, seed, program)


def _searched(planned: SearchedSize, result: StudyResult) -> str:
    points = []
    for p in result.figure_data["points"]:
        share = p.rejections / p.n_replicates
        mcse = (share * (1 - share) / p.n_replicates) ** 0.5
        shown = f"{100 * share:.1f} % +-{100 * mcse:.1f}"
        points.append((f"{p.total:,}", f"{p.n_replicates:,}", shown))
    tried = table(("patients", "trials", "found it"), points)
    told = wrapped(result.texts["paragraph"])
    return "\n\n".join([_head(planned), told, tried, wrapped(DISCLAIMER)])


def _by_formula(planned: PlannedSize, result: StudyResult, seed: int, program: str) -> str:
    simulated: Characteristic = result.figure_data["simulated"]
    parts = [_head(planned), _sizes(planned, simulated)]
    if planned.screened:
        parts.append(wrapped(planned.screened.in_words))
    if "naive" in result.texts:
        parts.append(wrapped(result.texts["naive"]))
    if planned.look_rows:
        parts.append(_looks(planned))
    if planned.seen:
        parts.append(_seen(planned, planned.seen))
    if planned.table:
        parts.append(_otherwise(planned, planned.table))
    if again := result.figure_data["again"]:
        parts.append(_again(again))
    if grid := result.figure_data["grid"]:
        parts += _grid(grid, result)
    parts.append(_beliefs(planned))
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    parts.append(wrapped(f"Conventions: {'; '.join(planned.conventions)}."))
    if call := result.texts["elsewhere"]:
        parts.append(f"check it elsewhere, in R:\n{call}")
    parts.append(wrapped(f"For the protocol: {result.texts['paragraph']}"))
    parts.append(_facts(result, seed))
    return "\n\n".join(parts)


def _facts(result: StudyResult, seed: int) -> str:
    facts = f"{result.n_replicates:,} simulated trials, seed {seed}; +- is one MCSE."
    return f"{wrapped(facts)}\n{wrapped(DISCLAIMER)}"


def _one_arm(planned: OneArmSize, result: StudyResult, seed: int, program: str) -> str:
    """Return the designs of a single arm side by side, then how each decides."""
    found = result.figure_data["designs"]
    names = ("", *(design.name for design, _ in found))
    rows = [
        ("patients in all", *(f"{d.n:,}" for d, _ in found)),
        ("of the first stage", *(f"{d.n_first:,}" if d.n_first < d.n else "-" for d, _ in found)),
        ("type I error at the known risk", *(f"{100 * d.type_1_error:.2f} %" for d, _ in found)),
        ("the same simulated", *(_share(s.type_1_error) for _, s in found)),
        ("power, exact", *(f"{100 * d.power:.2f} %" for d, _ in found)),
        ("the same simulated", *(_share(s.power) for _, s in found)),
        ("expected patients, known risk", *(f"{d.expected_n:.1f}" for d, _ in found)),
        ("stops early, known risk", *(f"{100 * d.stop_probability:.1f} %" for d, _ in found)),
    ]
    if planned.differs_today:
        chances = (f"{100 * planned.false_findings(d):.1f} %" for d, _ in found)
        rows.append(("found without effect, today", *chances))
    if planned.request.loss:
        rows.append(("to enter, with loss", *(f"{planned.randomised(d.n):,}" for d, _ in found)))
    screened = [screened_for(planned.resolved, planned.randomised(d.n)) for d, _ in found]
    if any(screened):
        rows.append(("screened to enrol these", *(f"{s.n:,}" if s else "-" for s in screened)))
    rules = "\n".join(f"{d.name}: {d.rule}" for d, _ in found)
    parts = [_head(planned), f"{table(names, rows)}\n\n{rules}"]
    if planned.request.total is not None:
        power = 100 * planned.arm.power_of(planned.request.total)
        parts.append(
            f"{planned.request.total:,} patients in one stage: {power:.2f} % power, exact."
        )
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    parts.append(f"check it elsewhere, in R:\n{result.texts['elsewhere']}")
    parts += [wrapped(f"For the protocol: {result.texts['paragraph']}"), _facts(result, seed)]
    return "\n\n".join(parts)


def _head(planned: SizeQuestion) -> str:
    template, protocol = planned.resolved.template, planned.protocol
    status = planned.status.upper() if planned.status in ("document", "unverified") else ""
    known = f" ({status or planned.status}, {planned.truth.source or 'no source'})"
    if planned.scenario.title == AS_ADJUSTED:
        known = f" ({AS_ADJUSTED})"
    effect = f"planned for: {planned.truth.label}{known}, {planned.arms_in_words}"
    if planned.outcome is None and not isinstance(planned, OneArmSize):
        control, treated = planned.risks
        effect += f": {1000 * control:.0f} -> {1000 * treated:.0f} per 1,000"
    title = f"{template.id.upper()}   {template.title}"
    what = f"{endpoint_in_words(protocol)}; {planned.test_in_words}"
    planned_for = wrapped(f"{effect} (scenario {planned.scenario.id})")
    return f"{wrapped(title)}\n{wrapped(what)}\n{planned_for}"


def _sizes(planned: PlannedSize, simulated: Characteristic) -> str:
    n1, n0 = planned.arms
    rows = []
    if planned.request.total is None:
        target = f"{100 * planned.request.power:g}% power"
        how = "by enumeration" if planned.request.exact else "by formula"
        rows.append((f"patients for {target}, {how}", f"{planned.total_unrounded:,.2f}"))
    rows.append(
        ("patients analysed, whole allocation units", f"{planned.total:,} ({n1:,} + {n0:,})")
    )
    if planned.loss:
        lost = f"randomised, {100 * planned.loss:.4g}% without outcome"
        rows.append((lost, f"{planned.total_with_loss:,}"))
    if planned.screened:
        rows.append(("screened to enrol these", f"{planned.screened.n:,}"))
    if planned.events is not None:
        rows.append(("events expected at the end", f"{planned.events:.1f}"))
    rows.append(("power of that size, same method", f"{100 * planned.power_achieved:.2f} %"))
    shown = simulated.why or "-"
    if simulated.value is not None and simulated.mcse is not None:
        shown = f"{100 * simulated.value:.1f} % +-{100 * simulated.mcse:.1f}"
    rows.append(("the same design simulated", shown))
    if planned.assurance is not None:
        rows.append(("assurance, over the prior", f"{100 * planned.assurance:.1f} %"))
    if planned.looks:
        unit = "events" if planned.is_survival else "patients"
        means = [planned.expected_total(effect=effect) for effect in (False, True)]
        words = f"expected {unit} at the end, without / with the effect"
        rows.append((words, f"{means[0]:,.1f} / {means[1]:,.1f}"))
    return table(("", "size"), rows)


def _looks(planned: PlannedSize) -> str:
    unit = "events" if planned.is_survival else "n"
    effect = planned.kind.effect_short
    header = ("look", unit, "z", "P", effect, "alpha", "power", "stop H0", "stop H1")
    rows = [_look(k, row) for k, row in enumerate(planned.look_rows, 1)]
    told = f"P: one-sided, at the bound; {effect}: the estimate there; stop: by that look's bounds"
    told += "." if planned.is_survival else "; n: patients read out."
    return f"{table(header, rows, folding=())}\n{wrapped(told)}"


def _look(number: int, row: LookRow) -> tuple[str, ...]:
    futility = ""
    if row.futility_z is not None and row.futility_z > -inf:
        futility = f" / {row.futility_z:.3f}"
    return (
        f"{number} {100 * row.information:.0f}%",
        f"{row.seen:,.0f}",
        f"{row.z:.4f}{futility}",
        f"{row.nominal_p:.5f}",
        "-" if isnan(row.effect) else f"{row.effect:.3f}",
        f"{row.alpha_spent:.4f}",
        f"{100 * row.power:.1f}%",
        f"{100 * row.stops_null:.1f}%",
        f"{100 * row.stops_effect:.1f}%",
    )


def _seen(planned: PlannedSize, seen: Seen) -> str:
    """Return what the looks held so far say."""
    design = seen.design
    header = ("look", "information", "efficacy z", "futility z", "alpha", "z seen")
    last = len(design.information)
    bounds = [
        (
            f"{k}",
            f"{100 * t:.4g}%",
            f"{design.efficacy_z[k - 1]:.4f}",
            "" if design.futility_z is None or k == last else f"{design.futility_z[k - 1]:.4f}",
            f"{design.alpha_spent[k - 1]:.4f}",
            f"{seen.z[k - 1]:.4g}" if k <= seen.look else "",
        )
        for k, t in enumerate(design.information, start=1)
    ]
    rows = [("verdict of the bounds", str(seen.verdict))]
    for what, power in (
        ("conditional power, effect as planned", seen.power_planned),
        ("conditional power, effect as estimated so far", seen.power_trend),
        ("predictive power, flat prior", seen.power_predicted),
    ):
        rows.append((what, "-" if power is None else f"{100 * power:.2f} %"))
    rows += _ends(
        planned, "estimate so far", seen.drift, "repeated", seen.repeated, seen.confidence
    )
    if found := seen.stagewise:
        rows.append(("stage-wise P, one-sided", f"{found.p_one_sided:.5f}"))
        ends, level = (found.lower, found.upper), found.confidence
        rows += _ends(planned, "median unbiased", found.median_unbiased, "stage-wise", ends, level)
    where = "at the information seen" if planned.request.seen_information else "as planned"
    told = "z at the end: expected there if the effect is the estimate, at the planned information."
    obeyed = ""
    if seen.verdict is Verdict.FUTILITY and not design.binding:
        obeyed = " Stage-wise: were the futility bound, which does not bind, obeyed."
    return (
        f"At look {seen.look} of {last}, bounds {where}:\n{table(header, bounds, folding=())}\n\n"
        f"{table(('', 'so far'), rows)}\n{wrapped(told + obeyed)}"
    )


def _ends(
    planned: PlannedSize,
    what: str,
    drift: float,
    interval: str,
    ends: tuple[float, float],
    level: float,
) -> Iterator[tuple[str, str]]:
    """Yield an estimate and its interval as z at the end, and as an effect where there is one."""
    scales = [("z at the end", drift, *ends)]
    effect = planned.kind.effect_short
    low, high = sorted(planned.effect_of_drift(end) for end in ends)
    if not isnan(low):
        scales.append((effect, planned.effect_of_drift(drift), low, high))
    for scale, value, lower, upper in scales:
        yield f"{what}, {scale}", f"{value:.4f}"
        yield f"{interval} {100 * level:g}% interval, {scale}", f"{lower:.4f} to {upper:.4f}"


def _otherwise(planned: PlannedSize, otherwise: PowerTable) -> str:
    """Return the power of the size if something that was assumed is otherwise."""
    header = (*otherwise.header, f"power with {planned.total:,}")
    rows = [(*row.cells, f"{100 * row.power:.1f} %") for row in otherwise.rows]
    return f"{otherwise.title}\n{table(header, rows)}"


def _beliefs(planned: PlannedSize) -> str:
    """Return the belief matrix: planned for one scenario, true another."""
    beliefs = planned.belief_matrix
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    shown = [not planned.has_no_power(b.truth) for b in beliefs]
    true = [letter for letter, shows in zip(letters, shown, strict=False) if shows]
    equal = planned.allocation.treated == planned.allocation.control
    sizes = "per arm" if equal else "in all"
    header = ("planned for", "known from", sizes, *(f"if {letter}" for letter in true))
    rows = []
    for letter, belief in zip(letters, beliefs, strict=False):
        weak = belief.status in ("document", "unverified")
        status = belief.status.upper() if weak else belief.status
        label = f"{letter}  {belief.truth.label}"
        if belief.total is None:
            rows.append((label, status, "infeasible", *("-" for _ in true)))
            continue
        arm = belief.total // 2 if equal else belief.total
        powers = [
            "-" if p is None else f"{100 * p:.0f}%"
            for p, shows in zip(belief.powers, shown, strict=True)
            if shows
        ]
        rows.append((label, status, f"{arm:,}", *powers))
    target = f"Sized for {100 * planned.request.power:g}% power, and the power if another is true:"
    return f"{target}\n{table(header, rows)}"


def _again(again: tuple[Reestimated, ...]) -> str:
    """Return what computing the size again does to error, power and size."""
    header = ("control", "effect", "again, %", "as planned, %", "mean n", "95% of sizes")
    rows = [
        (
            f"{100 * found.control_risk:.1f}%",
            "none" if found.truth is TrueEffect.NONE else "planned",
            _share(found.rejected),
            _share(found.rejected_fixed),
            f"{found.expected_n.value or 0:,.0f}",
            f"{found.n_quantiles[0]:,} to {found.n_quantiles[-1]:,}",
        )
        for found in again
    ]
    return (
        "Size computed again from the blinded event rate; chance of a significant result:\n"
        f"{table(header, rows, folding=())}"
    )


def _share(found: Characteristic | Row) -> str:
    """Return a share in percent with its standard error."""
    if found.value is None or found.mcse is None:
        return "-"
    return f"{100 * found.value:.1f} +-{100 * found.mcse:.1f}"


def _grid(grid: OperatingGrid, result: StudyResult) -> Iterator[str]:
    """Yield the grid of nuisance values, the largest type I error, and example trials."""
    header = ("if", "type I, %", "power, %", "bias", "coverage, %", "mean n")
    rows = []
    for point in grid.points:
        error = grid.row(point.no_effect, Measure.TYPE_I_ERROR)
        power, bias, coverage, n = (
            grid.row(point.effect, measure)
            for measure in (Measure.POWER, Measure.BIAS, Measure.COVERAGE, Measure.EXPECTED_N)
        )
        shown = "-" if bias.value is None else f"{bias.value:+.3f}"
        size = "-" if n.value is None else f"{n.value:,.0f}"
        rows.append((point.name, _share(error), _share(power), shown, _share(coverage), size))
    largest = grid.largest_type_i_error
    assert largest.value is not None
    assert largest.mcse is not None
    said = f"Largest type I error {100 * largest.value:.2f}% +-{100 * largest.mcse:.2f}."
    yield f"{said} Coverage is of the unadjusted interval.\n{table(header, rows)}"
    examples = [text for name, text in result.texts.items() if name.startswith("example")]
    yield "\n".join(wrapped(text) for text in examples)
