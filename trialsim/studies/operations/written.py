"""A design as the file that states it, so that what is judged is what can be run."""

from __future__ import annotations

import copy
from fractions import Fraction
from math import ceil
from typing import Any

from trialsim.errors import counted
from trialsim.protocol.endpoints import BinaryEndpoint, ResponseEndpoint, TimeToEventEndpoint
from trialsim.protocol.quantities import Clock, Time
from trialsim.protocol.reading.load import TemplateFile
from trialsim.protocol.reading.rewriting import rewritten
from trialsim.protocol.truths.horizons import horizons_of
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.protocol.truths.site_enrolment import SITE_FACTORS, planned_sites
from trialsim.sizing.sequential import SequentialDesign
from trialsim.studies.operations.calendar import Calendar
from trialsim.studies.operations.designs import Design
from trialsim.studies.operations.tested import looks_at

__all__ = ["kits_for", "read_at", "text_of", "tree_of"]

Tree = dict[str, Any]
_MARK = "by trialsim optimise"
_SAME_DAY = 0.5


def read_at(file: TemplateFile, tree: Tree, time: Time) -> Tree:
    """Return a file whose primary endpoint is read at another time.

    A risk and the effects on it are those of that day, as `trialsim followup` has them.

    Raises
    ------
    RequestError
        For a time that is not followed, or an endpoint that is not read at times.
    """
    before = file.resolved(tree)
    (horizon,) = horizons_of(before, (time,), time)
    after, primary = horizon.resolved.template, before.template.protocol.primary
    moved = copy.deepcopy(tree)
    protocol, own = moved["protocol"], str(time.after)
    at = own if time.clock is Clock.ENTRY else {"after": own, "from": time.clock.value}
    for endpoint in protocol["endpoints"]:
        if endpoint["id"] == primary.id:
            endpoint["at"] = at
    therapy = before.template.protocol.therapy
    if isinstance(primary, ResponseEndpoint) and protocol.get("visits"):
        days = [day for day, _ in before.template.protocol.visit_days]
        if all(abs(day - time.days_after_entry(therapy)) >= _SAME_DAY for day in days):
            protocol["visits"] = [*protocol["visits"], {"at": at}]
    shift = abs(primary.read_out.days_after_entry(therapy) - horizon.day)
    if isinstance(primary, BinaryEndpoint) and shift >= _SAME_DAY:
        _move_risks(moved, before, after, horizon.day)
    return moved


def _move_risks(moved: Tree, before: ResolvedTemplate, after: Any, day: float) -> None:
    """Put the control risk and the effects of another day in place."""
    nature, therapy = moved["nature"], before.template.protocol.therapy
    earlier = before.template.protocol.primary.read_out
    assert before.template.nature.control_risk is not None  # or it could not be moved
    assert after.nature.control_risk is not None
    known = [
        point
        for point in before.template.nature.control_risk_by
        if abs(point.by.days_after_entry(therapy) - day) >= _SAME_DAY
    ]
    by = [_plain(point) for point in known]
    by.append({"by": str(earlier.after), "risk": _plain(before.template.nature.control_risk)})
    nature["control_risk"] = _plain(after.nature.control_risk)
    nature["control_risk_by"] = by
    for scenario, own in zip(moved["scenarios"], after.scenarios, strict=True):
        for key in ("as_observed", "effect", "control_risk", "effect_from"):
            scenario.pop(key, None)
        if own.effect:
            scenario["effect"] = _plain(own.effect)
        if own.control_risk:
            scenario["control_risk"] = _plain(own.control_risk)


def _plain(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def tree_of(
    tree: Tree,
    design: Design,
    resolved: ResolvedTemplate,
    calendar: Calendar,
    looks: SequentialDesign | None,
    events: float = 0.0,
) -> Tree:
    """Return the file of a design: `tree` with its size, ratio, looks, sites and pace.

    Parameters
    ----------
    tree : dict
        With the design's variant and read-out.
    design : Design
    resolved : ResolvedTemplate
        Of `tree`.
    calendar : Calendar
    looks : SequentialDesign or None
        Bounds, where there is more than one analysis.
    events : float
        Expected at the end, for a time to an event.
    """
    found = copy.deepcopy(tree)
    protocol, own = found["protocol"], resolved.template.protocol
    protocol["sample_size"] = {"total": design.size}
    wanted = {
        own.experimental.id: design.ratio.treated,
        own.control.id: design.ratio.control,
    }
    if own.ratio != (design.ratio.treated, design.ratio.control) or "ratio" in protocol.get(
        "allocation", {}
    ):
        allocation = dict(protocol.get("allocation") or {})
        order = list(allocation.get("ratio") or wanted)
        allocation["ratio"] = {arm: wanted[arm] for arm in order}
        blocks, unit = allocation.get("block_sizes", ()), sum(wanted.values())
        if any(size % unit for size in blocks):
            allocation["block_sizes"] = [2 * unit]
        protocol["allocation"] = allocation
    if isinstance(own.primary, TimeToEventEndpoint):
        protocol["looks"] = _event_looks(design, resolved, calendar, looks, events)
    elif design.looks.number == 1:
        protocol.pop("looks", None)
    elif design.looks.number > 1:
        assert looks is not None  # several analyses have bounds
        pairs = zip(looks.information, looks.efficacy_z, strict=True)
        protocol["looks"] = [
            {"at": {"information": _round(t)}, "efficacy_z": _round(z)} for t, z in pairs
        ]
    _put_sites(found, design, resolved)
    if (kits := kits_for(design, resolved, calendar)) is not None:
        at_start, made = kits
        supply = dict(found["protocol"]["operations"]["supply"])
        supply["kits_at_start"] = at_start
        if made is not None:
            supply["produced"] = {**supply["produced"], "kits": made}
        found["protocol"]["operations"]["supply"] = supply
    if calendar.stated is not None:
        found["nature"]["enrolment"] = _enrolment(design, resolved, calendar)
    return found


def _event_looks(
    design: Design,
    resolved: ResolvedTemplate,
    calendar: Calendar,
    looks: SequentialDesign | None,
    events: float,
) -> list[Tree]:
    """Return the looks of a time to an event: the file's own last one, earlier ones by events."""
    found = [
        _plain(k) for k in looks_at(resolved, design.looks, calendar, design.size, design.sites)
    ]
    if design.looks.number < 2:
        return [{k: v for k, v in look.items() if v is not False} for look in found]
    assert looks is not None  # several analyses have bounds
    last, z = found[-1]["at"], [_round(bound) for bound in looks.efficacy_z]
    if "events" in last:
        interim: list[Tree] = [{"information": _round(t)} for t in looks.information[:-1]]
    else:
        fractions = looks.information[:-1]
        interim = [{"events": max(1, ceil(t * events - 1e-9))} for t in fractions]
    return [{"at": at, "efficacy_z": own} for at, own in zip([*interim, last], z, strict=True)]


def _put_sites(found: Tree, design: Design, resolved: ResolvedTemplate) -> None:
    template = resolved.template
    own, where = planned_sites(template.protocol, template.nature, template.cost)
    if own != design.sites or where != "protocol.operations.sites.planned":
        operations = dict(found["protocol"].get("operations") or {})
        operations["sites"] = {**(operations.get("sites") or {}), "planned": design.sites}
        found["protocol"]["operations"] = operations
    if template.cost and template.cost.sites not in (None, design.sites):
        found["cost"] = {**found["cost"], "sites": design.sites}
    for factor in found["nature"].get("factors", ()):
        if factor["id"] in SITE_FACTORS and "equal_levels" in factor:
            factor["equal_levels"] = design.sites


def kits_for(
    design: Design, resolved: ResolvedTemplate, calendar: Calendar
) -> tuple[int, int | None] | None:
    """Return the kits of an arm that a design needs where the file's own has what it states.

    Those at the start, and those made from time to time, grow with how fast an arm fills, which
    sites decide. What an arm needs beyond that for its patients is made while they come, since
    kits at the start may expire; or lies there at the start where none are made. So there are as
    many per patient as the file has. None where kits are not stated.
    """
    protocol = resolved.template.protocol
    supply = protocol.operations.supply if protocol.operations else None
    if supply is None:
        return None
    own, now = protocol.ratio, (design.ratio.treated, design.ratio.control)
    arm = max(Fraction(n, sum(now)) / Fraction(m, sum(own)) for n, m in zip(now, own, strict=True))
    pace = arm * Fraction(design.sites, calendar.sites[0])
    more = max(Fraction(0), arm * Fraction(design.size, protocol.n_total) - pace)
    at_start = supply.kits_at_start
    if supply.produced is None:
        return ceil(at_start * (pace + more)), None
    times = calendar.last_day(design.size, design.sites) / supply.produced.every.days
    made = supply.produced.kits * pace + at_start * more / Fraction(max(1.0, times))
    return ceil(at_start * pace), ceil(made)


def _enrolment(design: Design, resolved: ResolvedTemplate, calendar: Calendar) -> Tree:
    """Return when the patients of a design enter, at the file's pace per site."""
    stated = resolved.template.nature.enrolment
    assert stated is not None
    pace = calendar.pace(design.size, design.sites)
    note = (
        f"{_MARK}: the pace per site of {resolved.template.protocol.n_total:,} patients at "
        f"{counted(calendar.sites[0], 'site')}"
    )
    if abs(pace - 1) < 1e-12:
        return _plain(stated)  # type: ignore[no-any-return]
    return {**_plain(calendar.enrolment(design.size, design.sites)), "note": note}


def _round(value: float) -> float:
    return float(f"{value:.6f}")


def text_of(file: TemplateFile, tree: Tree, command: str, facts: tuple[str, ...]) -> str:
    """Return the file of a design as text, with the command it came from above it.

    Variants that cannot be merged into it are left out, and named.
    """
    broken = file.broken_variants(tree)
    lines = [f"# {command}", *(f"# {fact}" for fact in facts)]
    if broken:
        tree = {**tree, "variants": [v for v in tree["variants"] if v["id"] not in broken]}
        lines.append(
            f"# Left out, since they do not fit this design: variants {', '.join(broken)}."
        )
    return "\n".join(lines) + "\n" + rewritten(file.text, tree, _MARK)
