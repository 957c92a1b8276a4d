"""Results as a terminal shows them: 80 columns, plain ASCII of our own, the sentence first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import (
    OutcomeSummary,
    SimulatedEndpoint,
    SurvivalSummary,
    TimeToEventEndpoint,
)
from trialsim.protocol.scenario import Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.parts.control_arm import control_arm_in_words
from trialsim.report.parts.estimands import estimands_table
from trialsim.report.parts.imbalance import imbalance_lines
from trialsim.report.parts.safety import safety_lines
from trialsim.report.parts.single_arm import single_arm_sentences, single_arm_tables
from trialsim.report.parts.subgroups import subgroups_screen
from trialsim.report.text import (
    DISCLAIMER,
    caution_lines,
    endpoint_in_words,
    historical_in_words,
    nothing_observed_in_words,
    per_1000,
    read_out_in_words,
    table,
    wrapped,
)
from trialsim.studies.observed import (
    ObservedPool,
    ObservedTrial,
    Placement,
    out_of_100,
    seen_in_words,
)
from trialsim.trial import Measure, Row, StudyResult

__all__ = [
    "DISCLAIMER",
    "demo_screen",
    "observed_table",
    "power_table",
    "simulation_screen",
]


def simulation_screen(
    resolved: ResolvedTemplate, result: StudyResult, seed: int, program: str
) -> str:
    """Return what ``trialsim simulate`` prints."""
    trials, pools = result.figure_data["observed"]
    parts = [heading(resolved), power_table(resolved, result)]
    if resolved.template.protocol.is_single_arm:
        parts += _single_arm(resolved, result)
    if subgroups := subgroups_screen(resolved, result):
        parts.append(subgroups)
    if any(placed for _, placed in trials):
        parts.append(observed_table(trials))
    parts += [wrapped(text) for text in result.texts.values()]
    if resolved.template.nothing_observed:
        parts.append(wrapped(nothing_observed_in_words(resolved.template)))
    if pools:
        parts.append(
            "\n".join(
                [
                    "Pooled, for comparison (never simulated as if one trial):",
                    *(wrapped(pool_in_words(pool), "    ", "  ") for pool in pools),
                ]
            )
        )
    if imbalance := imbalance_lines(resolved, [row.as_dict() for row in result.rows]):
        parts.append(imbalance)
    if safety := safety_lines(resolved, resolved.scenarios(_scenario_ids(result))):
        parts.append(safety)
    if cautions := caution_lines(result.warnings, program=program):
        parts.append(cautions)
    parts.append(footer(result, seed))
    return "\n\n".join(parts)


def _scenario_ids(result: StudyResult) -> list[str]:
    return list(dict.fromkeys(row.scenario for row in result.rows if row.scenario))


def demo_screen(resolved: ResolvedTemplate, result: StudyResult, seed: int, program: str) -> str:
    """Return the tour's last screen: the tables, and the gravest disagreement."""
    first, *others = result.warnings
    more = f"{len(others)} more disagreements between sources: {program} evidence"
    trials, _ = result.figure_data["observed"]
    parts = [heading(resolved), power_table(resolved, result), observed_table(trials)]
    parts.append(f"{caution_lines([first], program=program)}\n{more}")
    return "\n\n".join([*parts, footer(result, seed)])


def heading(resolved: ResolvedTemplate) -> str:
    """Return who is compared with whom, on what."""
    template, protocol = resolved.template, resolved.template.protocol
    facts = [
        f"{protocol.experimental.id} v {protocol.control.id}",
        endpoint_in_words(protocol),
        f"{protocol.n_total:,} patients{', a single arm' if protocol.is_single_arm else ''}",
    ]
    if protocol.is_single_arm:
        value = protocol.historical_value(protocol.primary.id)
        facts.append(f"against {historical_in_words(value)}")
    elif (risk := template.nature.control_risk) is not None:
        facts.append(f"control {100 * risk.value:.3g} % ({risk.source or 'assumed'})")
    elif stated := control_arm_in_words(resolved).get(protocol.primary.id):
        facts.append(f"control {stated}")
    lines = [wrapped(f"{template.id.upper()}   {template.title}"), wrapped("; ".join(facts))]
    if template.setting == "historical":
        lines.append(wrapped(f"historical: {template.setting_note or 'not as treated today'}"))
    if resolved.variant:
        title = next((v.title for v in template.variants if v.id == resolved.variant), "")
        lines.append(wrapped(f"variant {resolved.variant}: {title}".rstrip(": ")))
    lines += [wrapped(str(setting)) for setting in resolved.settings]
    return "\n".join(lines)


def _single_arm(resolved: ResolvedTemplate, result: StudyResult) -> Iterator[str]:
    """Yield why a single arm moves away from its historical control, and what is exact."""
    rows = [row.as_dict() for row in result.rows]
    for told in single_arm_tables(resolved, rows):
        yield f"{wrapped(f'{told.caption}:')}\n{table(told.header, told.rows)}"
    yield from (wrapped(sentence) for sentence in single_arm_sentences(resolved, rows))


def power_table(resolved: ResolvedTemplate, result: StudyResult) -> str:
    """Return one line per scenario: how often found, at what absolute effect, how exaggerated."""
    protocol = resolved.template.protocol
    by_scenario = _by_scenario(result, protocol.primary.id)
    lines = []
    for scenario in resolved.scenarios(list(by_scenario)):
        rows = by_scenario[scenario.id]
        lines.append(
            (
                _truth_in_words(resolved, scenario),
                _known_from(resolved, scenario, rows),
                _percent(rows[Measure.POWER, None]),
                _arms(protocol, rows),
                _times(rows.get((Measure.TYPE_M, None))),
            )
        )
    shown, event = _unit(rows), protocol.primary.event
    header = ("If the truth is ...", "known from", "chance to find it", shown, "when found")
    ratio = protocol.primary.summary.is_ratio
    if isinstance(protocol.primary, TimeToEventEndpoint):
        event = f"{event} within {protocol.primary.read_out.in_words(protocol.therapy)}"
    control = "concurrent control" if protocol.is_single_arm else "control"
    legend = (
        f"{shown}: {event}, {control} -> treated; when found: how many times its true size a "
        f"significant effect looks{' (log scale)' if ratio else ''}."
    )
    untold = {row.why for row in result.rows if row.measure is Measure.POWER and row.why}
    notes = [wrapped(legend), *(wrapped(f"not given: {why}.") for why in sorted(untold))]
    parts = [table(header, lines), *notes]
    if len(protocol.simulated) > 1:
        parts += ["", read_out_table(resolved, result)]
    if protocol.looks:
        parts += ["", looks_table(resolved, result)]
    if len(resolved.endpoints) > len(protocol.simulated):
        parts += ["", endpoints_table(resolved, result)]
    if estimands := estimands_table(resolved, result):
        parts += ["", estimands]
    return "\n".join(parts)


Rows = dict[tuple[Measure, str | None], Row]


def _arms(protocol: Protocol, rows: Rows) -> str:
    """Return what both arms show: deaths per 1,000, or means."""
    arms = (protocol.concurrent, protocol.experimental.id)
    if (Measure.ARM_MEAN, arms[0]) in rows:
        return " -> ".join(f"{rows[Measure.ARM_MEAN, arm].value:.4g}" for arm in arms)
    return " -> ".join(per_1000(rows[Measure.RISK, arm].value or 0) for arm in arms)


def _unit(rows: Rows) -> str:
    means = [row for (measure, _), row in rows.items() if measure is Measure.ARM_MEAN]
    return means[0].unit or "" if means else "per 1,000"


def endpoints_table(resolved: ResolvedTemplate, result: StudyResult) -> str:
    """Return, per further endpoint of the same patients, what is true and how often it is found."""
    protocol = resolved.template.protocol
    parts, controls = [], control_arm_in_words(resolved)
    for endpoint in resolved.endpoints[len(protocol.simulated) :]:
        by_scenario = _by_scenario(result, endpoint.id)
        lines, rows = [], Rows()
        for scenario in resolved.scenarios(list(by_scenario)):
            rows = by_scenario[scenario.id]
            effect = rows[Measure.TRUE_EFFECT, None]
            status = (
                rows[
                    Measure.RISK if _unit(rows) == "per 1,000" else Measure.ARM_MEAN,
                    protocol.experimental.id,
                ].status
                or ""
            )
            lines.append(
                (
                    _truth_in_words(resolved, scenario),
                    f"{_short(effect, endpoint)} {effect.value:.3g}",
                    status.upper() if status in ("document", "unverified") else status,
                    _arms(protocol, rows),
                    _percent(rows[Measure.POWER, None]),
                )
            )
        what = f"{endpoint.event}, {read_out_in_words(endpoint, protocol.therapy)}"
        who = "without an effect" if protocol.is_single_arm else "control"
        known = f"; {who} {controls[endpoint.id]}" if endpoint.id in controls else ""
        told = wrapped(f"{endpoint.id} ({endpoint.level}): {what}; {endpoint.analysis}{known}")
        header = ("If the truth is ...", "effect", "known from", _unit(rows), "chance to find it")
        parts.append(f"{told}\n{table(header, lines)}")
    return "\n\n".join([*parts, *_together(resolved, result)])


def _short(effect: Row, endpoint: SimulatedEndpoint) -> str:
    """Return the effect's scale in a few letters: an estimand may be on another than its test."""
    ranked = effect.scale == OutcomeSummary.WIN_DIFFERENCE
    return OutcomeSummary.WIN_DIFFERENCE.short if ranked else endpoint.summary.short


def _together(resolved: ResolvedTemplate, result: StudyResult) -> Iterator[str]:
    """Yield what is found after adjustment for multiplicity, and how outcomes correlate."""
    procedure = resolved.template.protocol.multiplicity
    adjusted = (Measure.POWER_ADJUSTED, Measure.POWER_DISJUNCTIVE, Measure.POWER_CONJUNCTIVE)
    rows = [row for row in result.rows if row.measure in adjusted]
    if procedure and rows:
        header = ["If the truth is ...", *procedure.endpoints, "at least one", "all"]
        lines = []
        for scenario in resolved.scenarios(list(dict.fromkeys(r.scenario or "" for r in rows))):
            own = [row for row in rows if row.scenario == scenario.id]
            cells = [_percent(row) for row in own]
            lines.append((_truth_in_words(resolved, scenario), *cells))
        told = wrapped(f"Chance to find them together, {procedure} (familywise error kept):")
        width = len(header)
        lines = [(*line, *("" for _ in range(width - len(line)))) for line in lines]
        yield f"{told}\n{table(header, lines)}"
    latent = {frozenset(pair.between): pair.value for pair in resolved.template.nature.correlations}
    seen = [row for row in result.rows if row.measure is Measure.CORRELATION]
    if seen and latent:
        lines = []
        for row in seen:
            second = (row.analysis or "").split(",")[0].removeprefix("with ")
            stated = latent.get(frozenset((row.endpoint or "", second)))
            if stated is None:
                continue
            shown = f"{row.value:+.3f} +-{row.mcse:.3f}"
            lines.append((f"{row.endpoint} and {second}", f"{stated:+.2f}", shown))
        if not lines:  # events and severity alone correlate
            return
        single = resolved.template.protocol.is_single_arm
        told = f"Correlation between patients of the {'single' if single else 'control'} arm:"
        yield f"{told}\n{table(('', 'latent, as stated', 'as observed'), lines)}"


def looks_table(resolved: ResolvedTemplate, result: StudyResult) -> str:
    """Return where trials stop, and how large and long they are when they do."""
    protocol = resolved.template.protocol
    by_scenario = _by_scenario(result, protocol.primary.id)
    scenarios = resolved.scenarios(list(by_scenario))
    parts = []
    if len(protocol.looks) > 1:
        for start in range(0, len(protocol.looks), 3):
            numbers = range(start, min(start + 3, len(protocol.looks)))
            header = ["Chance to stop for ...", *(_look_in_words(protocol, k) for k in numbers)]
            lines = [
                (
                    _truth_in_words(resolved, s),
                    *(_stops(resolved, result, s.id, k) for k in numbers),
                )
                for s in scenarios
            ]
            parts += [table(header, lines), ""]
    wanted = {
        Measure.EXPECTED_N: "patients\nenrolled",
        Measure.EVENTS: "events",
        Measure.DURATION_MONTHS: "months to\nthe end",
        Measure.TRUE_EFFECT: "average HR\nin this design",
    }
    if not isinstance(protocol.primary.summary, SurvivalSummary):
        del wanted[Measure.TRUE_EFFECT]
    elif not protocol.primary.summary.is_ratio:
        wanted[Measure.TRUE_EFFECT] = f"true\n{protocol.primary.summary.short}"
    rows = [(s, by_scenario[s.id]) for s in scenarios]
    shown = [m for m in wanted if any((m, None) in found for _, found in rows)]
    lines = [
        (
            _truth_in_words(resolved, s),
            *(_mean_in_words(found.get((m, None))) for m in shown),
        )
        for s, found in rows
    ]
    parts.append(table(("On average, when it ends", *(wanted[m] for m in shown)), lines))
    ignored = [
        f"{_truth_in_words(resolved, s)} {_percent(found[Measure.POWER_FUTILITY_IGNORED, None])}"
        for s, found in rows
        if (Measure.POWER_FUTILITY_IGNORED, None) in found
    ]
    if ignored:
        said = f"Chance to find it if futility, which is not binding, were ignored: {ignored[0]}"
        parts.append(wrapped("; ".join([said, *ignored[1:]]) + "."))
    undecided = max((r.n_failed or 0 for r in result.rows if r.measure is _AT_LOOK), default=0)
    if undecided and len(protocol.looks) > 1:
        said = f"At a look, up to {undecided:,} trials could not be analysed yet: they went on."
        parts.append(wrapped(said))
    short = max((int(found[Measure.N_SHORT, None].value or 0) for _, found in rows), default=0)
    if short:
        said = f"In up to {short:,} trials a look's events never came: held when no more could."
        parts.append(wrapped(said))
    return "\n".join(parts)


_AT_LOOK = Measure.STOP_PROBABILITY


def _look_in_words(protocol: Protocol, index: int) -> str:
    look = protocol.looks[index]
    bounds = [f"z {look.efficacy_z:g}" if look.efficacy_z is not None else "-"]
    bounds += [f"{look.futility_z:g}"] if look.futility_z is not None else []
    return f"{look.at}\n{' / '.join(bounds)}"


def _stops(resolved: ResolvedTemplate, result: StudyResult, scenario: str, index: int) -> str:
    look = resolved.template.protocol.looks[index]
    reasons = ["efficacy", *(["futility"] if look.futility_z is not None else [])]
    found = [
        row
        for row in result.rows
        if row.scenario == scenario
        and row.look == index + 1
        and row.measure is Measure.STOP_PROBABILITY
        and row.analysis in reasons
    ]
    cells = [f"{100 * (row.value or 0):.1f}" for row in found]
    error = max((row.mcse or 0 for row in found), default=0)
    return f"{' / '.join(cells)} % +-{100 * error:.1f}"


def _mean_in_words(row: Row | None) -> str:
    if row is None or row.value is None:
        return "-"
    if row.mcse is None:
        return f"{row.value:.3g}"
    digits = 1 if row.mcse >= 0.005 else 2
    return f"{row.value:,.{digits}f} +-{row.mcse:.{digits}f}"


def read_out_table(resolved: ResolvedTemplate, result: StudyResult) -> str:
    """Return the power at every read-out of the same patients, and the size the primary needs."""
    protocol = resolved.template.protocol
    therapy = protocol.therapy
    endpoints = sorted(protocol.simulated, key=lambda e: e.read_out.days_after_entry(therapy))
    by_endpoint = {e.id: _by_scenario(result, e.id) for e in endpoints}
    lines = []
    for scenario in resolved.scenarios(list(by_endpoint[protocol.primary.id])):
        powers = [_percent(by_endpoint[e.id][scenario.id][Measure.POWER, None]) for e in endpoints]
        size = by_endpoint[protocol.primary.id][scenario.id][Measure.N_PER_ARM, None].value
        needed = "-" if size is None else f"{size:,.0f}"
        lines.append((_truth_in_words(resolved, scenario), *powers, needed))
    header = ["The same patients, read at ..."]
    header += [read_out_in_words(e, therapy).replace(" = ", "\n= ") for e in endpoints]
    drawn = table((*header, "per arm\nfor 80%"), lines)
    alpha = protocol.test.alpha
    sizes = [r for r in result.rows if r.measure is Measure.TYPE_I_ERROR and r.value is not None]
    if any((row.value or 0) + 4 * (row.mcse or 0) < alpha for row in sizes):
        why = (
            f"Under no effect the chance may lie well below {100 * alpha:g}%: with so few events a "
            "test of this size can hardly ever reject."
        )
        drawn += f"\n{wrapped(why)}"
    return drawn


def _by_scenario(result: StudyResult, endpoint: str) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in result.rows:
        told_apart = row.look is not None or row.stratum is not None or row.estimand is not None
        if row.endpoint == endpoint and not told_apart:
            found.setdefault(row.scenario or "", {})[row.measure, row.arm] = row
    return found


def _truth_in_words(resolved: ResolvedTemplate, scenario: Scenario) -> str:
    truth = resolved.truth(scenario)
    return truth.label if truth.label == truth.title else f"{truth.label}  {truth.title}"


def _known_from(
    resolved: ResolvedTemplate,
    scenario: Scenario,
    rows: Rows,
) -> str:
    if rows[Measure.TRUE_EFFECT, None].set_by:
        return "set by you"
    status = resolved.status_of(scenario)
    return status.upper() if status in ("document", "unverified") else status


def _percent(row: Row) -> str:
    if row.value is None or row.mcse is None:
        return "not given"
    digits = 2 if 0 < row.mcse < 5e-4 else 1
    return f"{100 * row.value:.{digits}f} % +-{100 * row.mcse:.{digits}f}"


def _times(row: Row | None) -> str:
    return f"{row.value:.1f} x" if row and row.value is not None else "-"


def observed_table(trials: Sequence[tuple[ObservedTrial, Sequence[Placement]]]) -> str:
    """Return, for each published trial, how many of 100 simulated ones look worse."""
    blocks = []
    for start in range(0, len(trials), 3):
        some = trials[start : start + 3]
        header = [
            "If the truth is ...",
            *(f"{t.record.title}\n{t.n_total:,} patients\n{seen_in_words(t)}" for t, _ in some),
        ]
        order = {p.truth.scenario: p.truth for _, placed in some for p in placed}
        lines = []
        for scenario, truth in order.items():
            cells = [_cell(scenario, trial, placed) for trial, placed in some]
            label = truth.label if truth.label == truth.title else f"{truth.label}  {truth.title}"
            lines.append([label, *cells])
        blocks.append(table(header, lines))
    return "\n".join(
        ["What was really seen: of 100 simulated trials of its size, so many look worse", *blocks]
    )


def _cell(scenario: str, trial: ObservedTrial, placed: Sequence[Placement]) -> str:
    found = next((p for p in placed if p.truth.scenario == scenario), None)
    if found is None:
        return "not simulated" if scenario in trial.not_simulated else "-"
    if found.looks_worse is None or found.below is None or found.below.mcse is None:
        return "too few replicates"
    mark = " (same data)" if found.relation == "same data" else ""
    digits = 2 if found.below.mcse < 5e-4 else 1
    return f"{out_of_100(found.looks_worse)} +-{100 * found.below.mcse:.{digits}f}{mark}"


def pool_in_words(pool: ObservedPool) -> str:
    """Return a pooled result with its status and the trials it is known to contain."""
    names = f", contains {', '.join(pool.record.includes)}" if pool.record.includes else ""
    status = pool.effect.status
    return (
        f"{pool.effect}  {pool.record.title}, {status.upper() if status.is_weak else status}{names}"
    )


def footer(result: StudyResult, seed: int) -> str:
    """Return what the numbers rest on."""
    every = (*result.rows, *result.observed)
    ends = (row for row in every if row.look is None and row.stratum is None)
    failed = max((row.n_failed or 0 for row in ends), default=0)
    corrected = sum(
        int(row.value or 0) for row in result.rows if row.measure is Measure.N_CORRECTED
    )
    plan = next(row.analysis for row in result.rows if row.measure is Measure.POWER)
    facts = [
        f"{plan}; {result.n_replicates:,} simulated trials per line, seed {seed}",
        "+- is one Monte Carlo standard error",
    ]
    facts.append(f"at most {failed:,} failed, left out and counted" if failed else "none failed")
    if corrected:
        facts.append(f"{corrected:,} with a zero cell (0.5 added to the four cells)")
    return wrapped("; ".join(facts) + ".") + "\n" + wrapped(DISCLAIMER)
