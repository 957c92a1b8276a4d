"""Results as a terminal shows them: 80 columns, plain ASCII of our own, the sentence first."""

from __future__ import annotations

from collections.abc import Sequence

from trialsim.protocol.design import ContinuousEndpoint, Endpoint, Protocol, RiskEndpoint
from trialsim.protocol.quantities import Duration, SourcedNumber
from trialsim.protocol.resolved import ResolvedTemplate
from trialsim.protocol.scenario import Factor, Scenario
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.observed import (
    ObservedPool,
    ObservedTrial,
    Placement,
    out_of_100,
    seen_in_words,
)
from trialsim.trial import Measure, Row, StudyResult

__all__ = [
    "demo_screen",
    "observed_table",
    "power_table",
    "simulation_screen",
    "template_lines",
]

DISCLAIMER = (
    "A simulation under stated assumptions. Not evidence about a patient, not treatment advice."
)


def simulation_screen(
    resolved: ResolvedTemplate, result: StudyResult, replicates: int, seed: int, program: str
) -> str:
    """Return what ``trialsim simulate`` prints."""
    trials, pools = result.figure_data["observed"]
    parts = [heading(resolved), power_table(resolved, result)]
    if any(placed for _, placed in trials):
        parts.append(observed_table(trials))
    parts += [wrapped(text) for text in result.texts.values()]
    if pools:
        parts.append(
            "\n".join(
                [
                    "Pooled, for comparison (never simulated as if one trial):",
                    *(wrapped(pool_in_words(pool), "    ", "  ") for pool in pools),
                ]
            )
        )
    if cautions := caution_lines(result.warnings, program=program):
        parts.append(cautions)
    parts.append(footer(result, replicates, seed))
    return "\n\n".join(parts)


def demo_screen(
    resolved: ResolvedTemplate, result: StudyResult, replicates: int, seed: int, program: str
) -> str:
    """Return the tour's last screen: the tables, and the gravest disagreement."""
    first, *others = result.warnings
    more = f"{len(others)} more disagreements between sources: {program} evidence"
    trials, _ = result.figure_data["observed"]
    parts = [heading(resolved), power_table(resolved, result), observed_table(trials)]
    parts.append(f"{caution_lines([first], program=program)}\n{more}")
    return "\n\n".join([*parts, footer(result, replicates, seed)])


def heading(resolved: ResolvedTemplate) -> str:
    """Return who is compared with whom, on what."""
    template, protocol = resolved.template, resolved.template.protocol
    facts = [
        f"{protocol.experimental.id} v {protocol.control.id}",
        f"{protocol.primary.event}, {protocol.primary.at.in_words(protocol.therapy)}",
        f"{protocol.n_total:,} patients",
    ]
    if (risk := template.nature.control_risk) is not None:
        facts.append(f"control {100 * risk.value:.3g} % ({risk.source or 'assumed'})")
    lines = [wrapped(f"{template.id.upper()}   {template.title}"), wrapped("; ".join(facts))]
    if template.setting == "historical":
        lines.append(wrapped(f"historical: {template.setting_note or 'not as treated today'}"))
    if resolved.variant:
        title = next((v.title for v in template.variants if v.id == resolved.variant), "")
        lines.append(wrapped(f"variant {resolved.variant}: {title}".rstrip(": ")))
    lines += [wrapped(str(setting)) for setting in resolved.settings]
    return "\n".join(lines)


def power_table(resolved: ResolvedTemplate, result: StudyResult) -> str:
    """Return one line per scenario: how often found, at what absolute effect, how exaggerated."""
    protocol = resolved.template.protocol
    by_scenario = _by_scenario(result, protocol.primary.id)
    lines = []
    for scenario in resolved.scenarios(list(by_scenario)):
        rows = by_scenario[scenario.id]
        arms = (protocol.control, protocol.experimental)
        risks = [rows[Measure.RISK, arm.id].value or 0 for arm in arms]
        lines.append(
            (
                _truth_in_words(resolved, scenario),
                _known_from(resolved, scenario, rows),
                _percent(rows[Measure.POWER, None]),
                " -> ".join(_per_1000(risk) for risk in risks),
                _times(rows.get((Measure.TYPE_M, None))),
            )
        )
    header = ("If the truth is ...", "known from", "chance to find it", "per 1,000", "when found")
    event, ratio = protocol.primary.event, protocol.primary.estimand.summary.is_ratio
    legend = (
        f"per 1,000: {event}, control -> treated; when found: how many times its true size a "
        f"significant effect looks{' (log scale)' if ratio else ''}."
    )
    untold = {row.why for row in result.rows if row.measure is Measure.POWER and row.why}
    notes = [wrapped(legend), *(wrapped(f"not given: {why}.") for why in sorted(untold))]
    parts = [table(header, lines), *notes]
    if len(protocol.simulated) > 1:
        parts += ["", read_out_table(resolved, result)]
    return "\n".join(parts)


def read_out_table(resolved: ResolvedTemplate, result: StudyResult) -> str:
    """Return the power at every read-out of the same patients, and the size the primary needs."""
    protocol = resolved.template.protocol
    therapy = protocol.therapy
    endpoints = sorted(protocol.simulated, key=lambda e: e.at.days_after_entry(therapy))
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


def read_out_in_words(endpoint: RiskEndpoint, therapy: Duration | None) -> str:
    """Return when an endpoint is read: "end of therapy" where nothing has passed since."""
    words = endpoint.at.in_words(therapy)
    return (
        words.replace("0 d after therapy", "end of therapy") if words.startswith("0 d") else words
    )


def _by_scenario(
    result: StudyResult, endpoint: str
) -> dict[str, dict[tuple[Measure, str | None], Row]]:
    found: dict[str, dict[tuple[Measure, str | None], Row]] = {}
    for row in result.rows:
        if row.endpoint == endpoint:
            found.setdefault(row.scenario or "", {})[row.measure, row.arm] = row
    return found


def _truth_in_words(resolved: ResolvedTemplate, scenario: Scenario) -> str:
    truth = resolved.truth(scenario)
    return truth.label if truth.label == truth.title else f"{truth.label}  {truth.title}"


def _known_from(
    resolved: ResolvedTemplate,
    scenario: Scenario,
    rows: dict[tuple[Measure, str | None], Row],
) -> str:
    if rows[Measure.TRUE_EFFECT, None].set_by:
        return "set by you"
    status = resolved.status_of(scenario)
    return status.upper() if status in ("document", "unverified") else status


def _per_1000(risk: float) -> str:
    return f"{1000 * risk:.0f}" if risk >= 0.001 else f"{1000 * risk:.2g}"


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


def footer(result: StudyResult, replicates: int, seed: int) -> str:
    """Return what the numbers rest on."""
    failed = max((row.n_failed or 0 for row in (*result.rows, *result.observed)), default=0)
    corrected = sum(
        int(row.value or 0) for row in result.rows if row.measure is Measure.N_CORRECTED
    )
    plan = next(row.analysis for row in result.rows if row.measure is Measure.POWER)
    facts = [
        f"{plan}; {replicates:,} simulated trials per line, seed {seed}",
        "+- is one Monte Carlo standard error",
    ]
    facts.append(f"at most {failed:,} failed, left out and counted" if failed else "none failed")
    if corrected:
        facts.append(f"{corrected:,} with a zero cell (0.5 added to the four cells)")
    return wrapped("; ".join(facts) + ".") + "\n" + wrapped(DISCLAIMER)


def template_lines(resolved: ResolvedTemplate) -> str:
    """Return what ``trialsim show`` prints: the protocol, read aloud."""
    template, protocol = resolved.template, resolved.template.protocol
    said: list[tuple[str, str]] = []
    if template.setting == "historical":
        said.append(("historical", template.setting_note or "not as treated today"))
    if protocol.population:
        said.append(("population", protocol.population.condition))
        said += [("  with", "; ".join(protocol.population.include))] * bool(
            protocol.population.include
        )
        said += (
            [("  not", "; ".join(protocol.population.exclude))]
            if protocol.population.exclude
            else []
        )
    said += [(arm.role.value, f"{arm.id}: {arm}") for arm in protocol.arms]
    said += [("background", protocol.background)] if protocol.background else []
    said.append(("allocation", _allocation(resolved)))
    said.append(("blinded", ", ".join(protocol.blinding) or "nobody, or not stated"))
    said.append(("patients", f"{protocol.n_total:,}"))
    for endpoint in protocol.endpoints:
        said += _endpoint_in_words(endpoint, protocol)
    if protocol.visits:
        seen = ", ".join(visit.at.in_words(protocol.therapy) for visit in protocol.visits)
        said.append(("visits", seen))
    if template.nature.control_risk:
        said.append(
            ("control risk", _number(template.nature.control_risk, "nature.control_risk", resolved))
        )
    if (slope := template.nature.severity_slope) is not None:
        said.append(
            ("severity, log odds per SD", _number(slope, "nature.severity_slope", resolved))
        )
    said += [("factor", f"{factor.id}: {_factor(factor)}") for factor in template.nature.factors]
    scenarios = []
    for scenario in template.scenarios:
        truth = resolved.truth(scenario)
        own_risk = scenario.control_risk or scenario.as_observed or scenario.response
        paths = [f"scenarios.{scenario.id}", *([] if own_risk else ["nature.control_risk"])]
        changed = resolved.set_by_user(*paths)
        known = resolved.status_of(scenario)
        known = f"{truth.source} ({known})" if truth.source else known
        per_1000 = f"{_per_1000(truth.control_risk)} -> {_per_1000(truth.treated_risk)}"
        scenarios.append((scenario.id, truth.label, per_1000, changed or known))
    width = max(len(name) for name, _ in said) + 2
    parts = [
        wrapped(f"{template.id.upper()}   {template.title}"),
        "\n".join(wrapped(what, " " * width, f"{name:{width}}") for name, what in said),
        table(("scenario", "effect", "per 1,000", "known from"), scenarios, folding=(3,)),
    ]
    if template.variants:
        parts.append("\n".join(f"--variant {v.id:20} {v.title}" for v in template.variants))
    if template.observed:
        parts.append(wrapped("held against: " + ", ".join(o.evidence for o in template.observed)))
    return "\n\n".join(parts)


def _endpoint_in_words(endpoint: Endpoint, protocol: Protocol) -> list[tuple[str, str]]:
    if isinstance(endpoint, ContinuousEndpoint):
        at = ", ".join(time.in_words(protocol.therapy) for time in endpoint.at)
        words = f"{endpoint.variable} ({endpoint.unit}) at {at}; shown, not simulated"
        return [(endpoint.level.value, words)]
    sides = "two" if protocol.test.sides == 2 else "one"
    simulated = "" if endpoint in protocol.simulated else "; shown, not simulated"
    words = (
        f"{endpoint.event} at {read_out_in_words(endpoint, protocol.therapy)}, "
        f"{endpoint.better} is better; {endpoint.estimand.summary}, {endpoint.analysis}, "
        f"{100 * protocol.test.alpha:g}% {sides}-sided{simulated}"
    )
    events = endpoint.estimand.intercurrent_events.items()
    return [(endpoint.level.value, words), *(("", f"{e}: {strategy}") for e, strategy in events)]


def _number(number: SourcedNumber, path: str, resolved: ResolvedTemplate) -> str:
    return resolved.set_by_user(path) or f"{number} ({number.source or 'assumed'})"


def _factor(factor: Factor) -> str:
    if factor.levels is None:
        return f"{factor.equal_levels} levels of equal size (assumed)"
    return ", ".join(
        f"{level.id} {level.share} ({level.share.source or 'assumed'})"
        + (f", OR {level.odds_ratio}" if level.odds_ratio else "")
        for level in factor.levels
    )


def _allocation(resolved: ResolvedTemplate) -> str:
    protocol = resolved.template.protocol
    words = f"{':'.join(map(str, protocol.ratio))}, {protocol.allocation_method}"
    if protocol.allocation_method == "permuted-blocks":
        stated = "" if protocol.allocation.block_sizes else " (assumed)"
        words += f" of {' or '.join(map(str, protocol.block_sizes))}{stated}"
    if protocol.allocation.stratify_by:
        words += f" within {' x '.join(protocol.allocation.stratify_by)}"
    return words
