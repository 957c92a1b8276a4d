"""What ``trialsim optimise`` prints: the front, the design chosen, what binds, what more buys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trialsim.errors import counted
from trialsim.protocol.optimisation import Quantity
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import caution_lines, table, wrapped
from trialsim.studies.operations.designs import Judged
from trialsim.studies.operations.optimisation import Confirmed, PlannedOptimisation, fewer
from trialsim.trial import StudyResult

__all__ = ["optimise_screen", "shown_of_front"]

_MOST = 12
_SHOWN_MONTHS = 0.05  # later, that is seen
_HEADS = {
    Quantity.POWER: "power",
    Quantity.MONTHS: "months",
    Quantity.PATIENTS: "patients",
    Quantity.WORSE_ARM: "in worse\narm",
    Quantity.EXPECTED_MONTHS: "expected\nmonths",
    Quantity.EXPECTED_PATIENTS: "expected\npatients",
}


def optimise_screen(
    planned: PlannedOptimisation, result: StudyResult, seed: int, program: str
) -> str:
    """Return the whole screen.

    Parameters
    ----------
    planned : PlannedOptimisation
    result : StudyResult
        Of its `result`.
    program : str
        What to type to run the commands it names.
    """
    template = planned.resolved.template
    title = f"{template.id.upper()}   {template.title}"
    parts = [
        f"{wrapped(title)}\n{wrapped(planned.asked_in_words)}",
        _chosen(planned, result),
        _front(planned),
        _more(planned),
        _simulated(planned, result.figure_data["confirmed"]),
        "\n".join(wrapped(told) for told in planned.assumed),
    ]
    if result.warnings:
        parts.append(caution_lines(result.warnings, program=program))
    facts = (
        f"{_method(planned)} {counted(result.n_replicates, 'simulated trial')} per scenario of "
        f"the chosen design, {fewer(result.n_replicates):,} of the others, seed {seed}; "
        "+- is one MCSE."
    )
    parts.append(f"{wrapped(facts)}\n{wrapped(DISCLAIMER)}")
    return "\n\n".join(parts)


def _method(planned: PlannedOptimisation) -> str:
    if planned.by_enumeration:
        return "Powers are exact, by enumeration."
    return "Powers are by the formula of 'trialsim size'."


def _chosen(planned: PlannedOptimisation, result: StudyResult) -> str:
    judged = planned.chosen
    _, rule = planned.chosen_by
    facts = [
        planned.shown(quantity, judged.worst(quantity))
        for quantity in (Quantity.POWER, Quantity.MONTHS, Quantity.COST)
        if quantity in judged.values
    ]
    whole = planned.months_from_invitation(judged)
    if whole is not None and whole - judged.worst(Quantity.MONTHS) >= _SHOWN_MONTHS:
        facts[1] += f" ({whole:,.1f} from the first invitation)"
    worse = f"{judged.worst(Quantity.WORSE_ARM):,.0f} expected in the worse arm"
    lines = [
        wrapped(f"CHOSEN   {judged.design.in_words()}", " " * 9, ""),
        wrapped(", ".join([*facts, worse]) + ".", " " * 9),
        wrapped(f"Why: {rule}.", " " * 9),
    ]
    if binds := result.texts.get("binds"):
        lines.append(wrapped(f"Binds: {binds}.", " " * 9))
    if worst := result.texts.get("worst"):
        lines.append(wrapped(worst, " " * 9))
    return "\n".join(lines)


def shown_of_front(planned: PlannedOptimisation) -> tuple[Judged, ...]:
    """Return at most a dozen designs of the front: the chosen one, its ends, and evenly between."""
    front = planned.front
    if len(front) <= _MOST:
        return front or (planned.chosen,)
    kept = {judged.design: judged for _, judged in planned.ends}
    kept[planned.chosen.design] = planned.chosen
    points = planned.points(front)
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points - low) / np.where(high > low, high - low, 1.0)
    places = [index for index, judged in enumerate(front) if judged.design in kept]
    while len(kept) < _MOST:  # each time the one farthest from those shown already
        apart = ((scaled[:, None, :] - scaled[places][None, :, :]) ** 2).sum(axis=2).min(axis=1)
        index = int(apart.argmax())
        places.append(index)
        kept[front[index].design] = front[index]
    return tuple(sorted(kept.values(), key=lambda judged: judged.worst(Quantity.POWER)))


def _front(planned: PlannedOptimisation) -> str:
    shown = shown_of_front(planned)
    cost = planned.resolved.template.cost
    quantities = list(planned.objectives)
    variants = {judged.design.variant or "as it stands" for judged in shown}
    thresholds = planned.request.asked.vary.threshold
    heads = {
        **_HEADS,
        Quantity.COST: f"cost, {cost.currency}" if cost else "cost",
        Quantity.EXPECTED_COST: f"expected\ncost, {cost.currency}" if cost else "cost",
    }
    lines = []
    for judged in shown:
        design = judged.design
        decided = [
            f"{'>' if design == planned.chosen.design else ' '} {design.size:,}",
            f"{design.sites}",
            str(design.looks),
            f"{design.ratio}",
        ]
        decided += [str(design.follow_up.after)] if design.follow_up else []
        if thresholds:
            decided += ["-" if design.threshold is None else f"{design.threshold:g}"]
        decided += [design.variant or "-"] if len(variants) > 1 else []
        lines.append((*decided, *(_cell(q, judged.worst(q)) for q in quantities)))
    header = ["size", "sites", "looks", "ratio"]
    header += ["read at"] if shown[0].design.follow_up else []
    header += ["threshold"] if thresholds else []
    header += ["variant"] if len(variants) > 1 else []
    total = len(planned.front)
    told = f"The front: no other design is as good in everything ({len(shown)} of {total:,}"
    told += " that meet every constraint" if planned.constraints else ""
    told += "; > is chosen)"
    if len(planned.variants) > len(variants) == 1:
        told += f", the file's variant: {variants.pop()}"
    return f"{wrapped(told)}\n{table((*header, *(heads[q] for q in quantities)), lines)}"


def _cell(quantity: Quantity, value: float) -> str:
    if quantity is Quantity.POWER:
        return f"{100 * value:.1f} %"
    return f"{value:,.1f}" if quantity.unit == "months" else f"{value:,.0f}"


def _more(planned: PlannedOptimisation) -> str:
    lines = []
    for bought in planned.bought:
        cells = [bought.what]
        for quantity in (Quantity.POWER, Quantity.MONTHS, Quantity.COST, Quantity.WORSE_ARM):
            if quantity not in bought.after.values:
                continue
            change = bought.after.worst(quantity) - bought.before.worst(quantity)
            if quantity is Quantity.POWER:
                cells.append(f"{100 * change:+.2f} points")
            else:
                cells.append(f"{change:+,.1f}" if quantity.unit == "months" else f"{change:+,.0f}")
        more = bought.after.design.size - bought.before.design.size
        cells.insert(1, f"{more:+,}")
        lines.append(tuple(cells))
    cost = planned.resolved.template.cost
    money = [f"cost, {cost.currency}"] if cost else []
    header = ("What ... buys", "patients", "power", "months", *money, "in worse\narm")
    return table(header, lines)


def _simulated(planned: PlannedOptimisation, confirmed: Sequence[Confirmed]) -> str:
    several = len(planned.scenarios) > 1
    lines = []
    for found in confirmed:
        for index, scenario in enumerate(planned.scenarios):
            cells = [found.why, *([scenario.id] if several else [])]
            cells.append(f"{100 * found.judged.under(Quantity.POWER, index):.1f} %")
            own = found.power[index]
            if own.value is None or own.mcse is None:
                cells.append("not given")
            else:
                cells.append(f"{100 * own.value:.1f} % +-{100 * own.mcse:.1f}")
            expected = found.judged.under(Quantity.EXPECTED_PATIENTS, index)
            cells.append(f"{expected:,.0f}")
            enrolled = found.patients[index]
            known = enrolled and enrolled.value is not None
            error = f" +-{enrolled.mcse:.1f}" if enrolled and enrolled.mcse else ""
            cells.append(f"{enrolled.value:,.0f}{error}" if enrolled and known else "-")
            lines.append(tuple(cells))
    header = ("Simulated", *(["if the truth is"] if several else []), "power",
              "power,\nsimulated", "patients\nenrolled", "patients,\nsimulated")  # fmt: skip
    return table(header, lines)
