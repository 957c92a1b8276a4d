"""What ``trialsim forecast`` prints: how long, whom, which drug, what money."""

from __future__ import annotations

from trialsim.engine.conducted_power import Analysed, draws_of
from trialsim.errors import counted
from trialsim.operations.supply import Shortage
from trialsim.protocol.rules.conduct import names_death
from trialsim.protocol.truths.site_enrolment import LEFT_OUT
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import calendar_sentences, table, wrapped
from trialsim.studies.operations.assumptions import states_rate
from trialsim.studies.operations.forecast import (
    ALL_ENROLLED,
    AT_ONCE,
    BY_EVENTS,
    LOST,
    MILESTONES,
    OVERRUNNING,
    SCREENED,
    SIMULATED,
    STOPPED_EARLY,
    PlannedForecast,
)
from trialsim.trial import Measure, Row, StudyResult

__all__ = ["forecast_screen", "forecast_texts", "number_with_error"]

_FEW = 0.01  # of the planned doses
_AGAINST = {
    Shortage.NONE_MADE: "raise 'kits_at_start' or 'produced'",
    Shortage.EXPIRED: "let 'expires' be longer, or make fewer kits more often ('produced')",
    Shortage.ON_THE_WAY: "raise 'reorder_at' and 'order_up_to', or ship faster ('shipping')",
    Shortage.ELSEWHERE: "plan fewer 'depots'",
}
_MIDDLE = "middle 90%"
_ROUNDING = 1e-9  # an error this small is that of adding up


def forecast_screen(planned: PlannedForecast, result: StudyResult, seed: int) -> str:
    """Return the whole screen."""
    template = planned.resolved.template
    heading = [
        f"{template.id.upper()}   {template.title}",
        f"{template.protocol.n_total:,} patients at {counted(planned.plan.sites.n_sites, 'site')}; "
        f"{counted(result.n_replicates, 'simulated trial')}, event by event, seed {seed}; "
        f"outcomes as in {planned.scenario.id}",
        *map(str, planned.resolved.settings),
    ]
    parts = ["\n".join(map(wrapped, heading)), wrapped(_answer(planned, result))]
    parts += [_calendar(result), *map(wrapped, calendar_sentences(result))]
    parts.append(wrapped(_shortcut(planned, result)))
    parts += [_looks(result), wrapped(_decisions(planned, result)), _consort(result)]
    parts += [_doses(result), _kits(result), _costs(planned, result)]
    parts.append(wrapped(_basis(planned)))
    parts.append(wrapped(DISCLAIMER))
    return "\n\n".join(part for part in parts if part)


def forecast_texts(planned: PlannedForecast, result: StudyResult) -> dict[str, str]:
    """Return what a report says besides tables: the answer, and what it rests on."""
    texts = {"answer": _answer(planned, result), "basis": _basis(planned)}
    texts["looks"] = _decisions(planned, result)
    if told := _shortcut(planned, result):
        texts["shortcut"] = told
    observed = " ".join(calendar_sentences(result))
    return {**texts, "observed times": observed} if observed else texts


def number_with_error(row: Row, digits: int | None = None) -> str:
    """Return a mean with its Monte Carlo standard error: "56.2 +-0.1"."""
    if row.value is None:
        return "-"
    digits = _digits(row) if digits is None else digits
    if not row.mcse or row.mcse < _ROUNDING * abs(row.value):
        return f"{row.value:,.{digits}f}"
    shown = f"{row.mcse:,.{digits}f}"
    error = shown if float(shown.replace(",", "")) else f"{row.mcse:.1g}"
    return f"{row.value:,.{digits}f} +-{error}"


def _one_digit(row: Row) -> str:
    return number_with_error(row, 1)


def _digits(row: Row) -> int:
    assert row.value is not None
    return 0 if abs(row.value) >= 1000 else 1


def _range(row: Row, digits: int | None = None) -> str:
    if row.value is None:
        return row.why or "-"
    digits = _digits(row) if digits is None else digits
    return f"{row.lower:,.{digits}f} to {row.upper:,.{digits}f}"


def _of(result: StudyResult, measure: Measure, **about: object) -> list[Row]:
    return [
        row
        for row in result.rows
        if row.measure is measure and all(getattr(row, k) == v for k, v in about.items())
    ]


def _answer(planned: PlannedForecast, result: StudyResult) -> str:
    """Return the answer in a sentence or two."""
    (lock,) = _of(result, Measure.MILESTONE_MONTHS, milestone="database lock")
    (full,) = _of(result, Measure.MILESTONE_MONTHS, milestone="all enrolled")
    text = (
        f"From the first invitation to the database lock it takes {_one_digit(lock)} months "
        f"(9 in 10 trials: {_range(lock)})"
    )
    (own,) = _of(result, Measure.DURATION_MONTHS)
    text += f", {_one_digit(own)} of them from the first patient in"
    if full.value is not None:
        text += f"; enrolment ends after {_one_digit(full)}{_part_of(result, full)}"
    text += "."
    text += _stopped(result)
    (never,) = _of(result, Measure.NOT_ENROLLED)
    if never.value:
        text += (
            f" {_share(never)} of trials never enrol everybody; they are left out of "
            "every other number."
        )
    if stock_outs := _of(result, Measure.STOCK_OUTS, category=None):
        text += f" {_one_digit(stock_outs[0])} doses find no kit{_short_of_kits(result)}."
    if totals := _of(result, Measure.COST, category="total"):
        (total,) = totals
        text += f" It costs {total.unit} {number_with_error(total, 0)} ({_range(total, 0)})."
    return text + _power(planned, result) + _placed(result)


def _stopped(result: StudyResult) -> str:
    """Return how often the board stops a trial before its end, in a sentence."""
    rows = _of(result, Measure.STOP_PROBABILITY, analysis=STOPPED_EARLY)
    if not rows:
        return ""
    text = f" The board stops {_share(rows[0])} of trials early"
    if not rows[0].value:
        return f"{text}."
    (when,) = _of(result, Measure.MILESTONE_MONTHS, milestone=STOPPED_EARLY)
    (late,) = _of(result, Measure.PATIENTS, category=OVERRUNNING)
    return (
        f"{text}: these after {_one_digit(when)} months on average, with {_one_digit(late)} "
        "patients who are not in the data that stopped them."
    )


def _short_of_kits(result: StudyResult) -> str:
    """Return why doses find no kit, and what would help where more than a few do not."""
    whole, *why = _of(result, Measure.STOCK_OUTS)
    if not why:
        return ""
    why.sort(key=lambda row: -(row.value or 0.0))
    if len(why) == 1:
        told = f", as {why[0].category}"
    else:
        told = ": " + ", ".join(f"{_one_digit(row)} as {row.category}" for row in why)
    planned = sum(row.value or 0.0 for row in _of(result, Measure.DOSES, category="planned"))
    if (whole.value or 0.0) <= _FEW * planned:
        return told
    advice = _AGAINST[Shortage(why[0].category or "")]
    return f"{told}. That is more than 1% of those planned: {advice}"


def _power(planned: PlannedForecast, result: StudyResult) -> str:
    """Return what the conduct does to the chance to find the effect, in a sentence."""
    powers = {row.analysis or "": row for row in _of(result, Measure.POWER)}
    if not powers:
        return ""
    what = "of a false positive result" if planned.truth.is_null else "to find the effect"
    text = f" Under {planned.scenario.id} the chance {what} is "
    if planned.rules:
        return text + _power_with_looks(planned, powers) + "."
    lost = {row.analysis or "": row for row in _of(result, Measure.POWER_LOST)}
    whole, *others = (way for way in powers if way != Analysed.EVERYONE_DOSED)
    ways = _TIMED if planned.timed else _READ_ONCE
    parts = [f"{_share(powers[whole])} {ways[whole]}"]
    for way in others:
        if way == Analysed.READ_OUT and planned.loses_nobody:
            parts.append("and nobody is lost")
        else:
            parts.append(f"{_share(powers[way])} {ways[way]} (lost: {_share(lost[way])})")
    n = powers[whole].n_replicates
    return (
        f"{text}{', '.join(parts)}; of {counted(n or 0, 'trial')}, in each of which "
        f"outcomes are drawn {draws_of(planned.resolved.template.protocol)} times."
    )


_READ_ONCE = {
    Analysed.EVERYONE.value: "with everyone read out, as 'simulate' counts",
    Analysed.READ_OUT.value: "with only those read out",
    Analysed.READ_OUT_DOSED.value: "with only those read out and the doses taken",
}
_TIMED = {
    Analysed.EVERYONE.value: "if nobody left",
    Analysed.READ_OUT.value: "with who leaves censored, as 'simulate' counts",
    Analysed.READ_OUT_DOSED.value: "with who leaves censored and the doses taken",
}


def _power_with_looks(planned: PlannedForecast, powers: dict[str, Row]) -> str:
    who = "who leaves censored" if planned.timed else "only those read out"
    everyone = "" if planned.timed else ", everyone read out"
    parts = []
    for way, row in powers.items():
        if way == SIMULATED:
            parts.append(f"{_share(row)} by the looks of 'simulate'{everyone} ({_trials(row)})")
            continue
        doses = " and the doses taken" if planned.scenario.exposure else ""
        parts.append(f"{_share(row)} as conducted, {who}{doses} ({_trials(row)})")
    return ", ".join(parts)


def _shortcut(planned: PlannedForecast, result: StudyResult) -> str:
    """Return entries and losses as power draws them, beside the same event by event."""
    rows = {(row.analysis, row.category): row for row in _of(result, Measure.SHORTCUT)}
    if not rows:
        return ""
    said = []
    for way in (AT_ONCE, BY_EVENTS):
        months, screened, lost = (rows[way, name] for name in (ALL_ENROLLED, SCREENED, LOST))
        said.append(
            f"{way} all are enrolled after {number_with_error(months, 2)} months, "
            f"{number_with_error(screened)} are screened and {number_with_error(lost, 2)} leave by "
            f"the read-out ({_trials(months)})"
        )
    deaths = ", were nobody to die before" if planned.deaths else ""
    return (
        f"The shortcut that power uses where days of entry matter: {'; '.join(said)}{deaths}. "
        f"It leaves out: "
        f"{'; '.join(LEFT_OUT)}."
    )


def _placed(result: StudyResult) -> str:
    """Return where an observed time lies among the simulated, in a sentence."""
    rows = _of(result, Measure.PERCENTILE, milestone="all enrolled")
    if not rows:
        return ""
    return f" {_share(rows[0])} of trials enrol faster than the one {rows[0].analysis}."


def _calendar(result: StudyResult) -> str:
    rows = []
    for name in MILESTONES:
        (row,) = _of(result, Measure.MILESTONE_MONTHS, milestone=name)
        rows.append((name + _part_of(result, row), number_with_error(row, 2), _range(row)))
    return "Months since the first invitation\n" + table(("milestone", "mean", _MIDDLE), rows)


def _looks(result: StudyResult) -> str:
    looks = sorted({row.look for row in result.rows if row.look})
    rows = []
    for look in looks:
        found = _of(result, Measure.MILESTONE_MONTHS, look=look)
        if not found:
            continue  # no trial came so far
        (when,) = found
        counts = {row.category: row for row in _of(result, Measure.PATIENTS, look=look)}
        cells = [number_with_error(row) for row in counts.values()]
        name = f"{look}{_part_of(result, when)}"
        rows.append((name, number_with_error(when, 2), *cells))
    header = ("month", "randomised", "read out", "in the pipeline", "of these in treatment")
    if len(looks) == 1:  # nothing before the end
        single = [row[1:] for row in rows]
        return "The final analysis\n" + table(header, single, folding=(3, 4))
    return "Looks by the monitoring board\n" + table(("look", *header), rows, folding=(4, 5))


def _part_of(result: StudyResult, row: Row) -> str:
    """Return in which part of the trials a milestone is reached, where not in all."""
    (never,) = _of(result, Measure.NOT_ENROLLED)
    all_trials = result.n_replicates - round(result.n_replicates * (never.value or 0.0))
    n = row.n_replicates or 0
    return f" ({100 * n / all_trials:.0f}% of trials)" if row.value and n < all_trials else ""


def _decisions(planned: PlannedForecast, result: StudyResult) -> str:
    """Return what the looks decide, look by look, in sentences."""
    interim = len(planned.plan.looks) > 1
    if planned.rules is None and not interim:
        return "No look comes before the final analysis: no trial stops early."
    if planned.rules is None:
        return (
            "No rule: nothing decided. No look has a bound (looks: efficacy_z, futility_z), so "
            "every trial goes on to its end."
        )
    parts = []
    for number, (efficacy_z, futility_z) in enumerate(planned.bounds, 1):
        rows = {row.analysis: row for row in _of(result, Measure.STOP_PROBABILITY, look=number)}
        bounds = {"efficacy": efficacy_z, "futility": futility_z}
        staged = _at_stage(planned, number)
        said = []
        for why, row in rows.items():
            bound = bounds.get(why or "")
            if bound is None and why in bounds and not row.value and why not in staged:
                continue
            side = "<=" if why == "futility" else ">="
            at = f" (z {side} {bound:g})" if bound is not None else staged.get(why or "", "")
            said.append(f"{why}{at} {_share(row)}")
        last = "the last look" if interim else "the final analysis"
        where = f"look {number}" if number < len(planned.bounds) else last
        parts.append(f"{where}: {'; '.join(said)}")
    delay = planned.plan.deliberation_days
    took = f" An interim decision takes {counted(delay, 'day', 'g')}." if delay else ""
    return (
        f"How trials end under {planned.scenario.id}, by {planned.analysis.in_words}, as in "
        f"'simulate': {'. '.join(parts)}.{took} A trial that is stopped closes recruitment and "
        "screening; who is in it is treated and followed as planned."
    )


def _at_stage(planned: PlannedForecast, number: int) -> dict[str, str]:
    """Return with how many good outcomes a stage ends a trial, by reason."""
    rule, n = planned.analysis.two_stage, planned.plan.n_patients
    if rule is None:
        return {}
    if number == 1:
        return {"futility": f" (at most {rule.stop_if_at_most} of {rule.first})"}
    return {"efficacy": f" (more than {rule.reject_if_above} of {n:,})"}


def _consort(result: StudyResult) -> str:
    rows = _of(result, Measure.PATIENTS, look=None)
    whole = [(r.category or "", number_with_error(r), _range(r)) for r in rows if r.arm is None]
    arms = list(dict.fromkeys(row.arm for row in rows if row.arm))
    names = dict.fromkeys(row.category or "" for row in rows if row.arm)
    by_arm = {(row.category, row.arm): row for row in rows if row.arm}
    cells = [
        (
            name,
            *(
                number_with_error(by_arm[name, arm]) if (name, arm) in by_arm else "-"
                for arm in arms
            ),
        )
        for name in names
    ]
    first = table(("patients", "mean", _MIDDLE), whole)
    return f"Who passes (CONSORT)\n{first}\n\n{table(('by arm', *map(str, arms)), cells)}"


def _doses(result: StudyResult) -> str:
    rows = _of(result, Measure.DOSES)
    if not rows:
        return ""
    arms = list(dict.fromkeys(row.arm for row in rows))
    names = dict.fromkeys(row.category or "" for row in rows)
    by_arm = {(row.category, row.arm): row for row in rows}
    cells: list[tuple[str, ...]] = [
        (
            name,
            *(
                number_with_error(by_arm[name, arm]) if (name, arm) in by_arm else "0"
                for arm in arms
            ),
        )
        for name in names
    ]
    used = {row.arm: row for row in _of(result, Measure.DRUG_USED)}
    if used:
        amounts = (
            f"{number_with_error(used[a])} {used[a].unit}" if a in used else "-" for a in arms
        )
        cells.append(("drug given", *amounts))
    exposure = {row.arm: row for row in _of(result, Measure.EXPOSURE)}
    shares = (_share(exposure[arm]) for arm in arms)
    cells.append(("exposure: taken, of the planned", *shares))
    return "Doses\n" + table(("", *map(str, arms)), cells)


def _trials(row: Row) -> str:
    return counted(row.n_replicates or 0, "trial")


def _share(row: Row) -> str:
    assert row.value is not None
    error = f" +-{100 * row.mcse:.2f}" if row.mcse else ""
    return f"{100 * row.value:.2f}%{error}"


def _kits(result: StudyResult) -> str:
    rows = _of(result, Measure.KITS)
    if not rows:
        return ""
    cells = [(r.category or "", number_with_error(r), _range(r)) for r in rows]
    outs, *why = _of(result, Measure.STOCK_OUTS)
    cells.append(("doses due without a kit", number_with_error(outs), _range(outs)))
    cells += [(f"  {row.category}", number_with_error(row), _range(row)) for row in why]
    return "Kits, of all arms\n" + table(("", "mean", _MIDDLE), cells)


def _costs(planned: PlannedForecast, result: StudyResult) -> str:
    rows = _of(result, Measure.COST)
    cells = [
        (r.category or "", number_with_error(r, 0), _range(r, 0))
        for r in rows
        if r.value or r.category == "total"
    ]
    if not cells:
        return ""
    return f"Cost, {planned.money}\n" + table(("category", "mean", _MIDDLE), cells)


def _basis(planned: PlannedForecast) -> str:
    """Return what the numbers rest on."""
    sourced = [f"{s} ({s.source})" for s in planned.stated if s.source and not s.at_rest]
    assumed = [str(s) for s in planned.stated if not s.source and not s.at_rest]
    left_out = [s.what for s in planned.stated if s.at_rest]
    text = (
        "+- is one Monte Carlo standard error. The middle 90% are the simulated trials between the "
        "5th and the 95th percentile."
    )
    for label, items in (("Stated", sourced), ("Assumed", assumed)):
        if items:
            text += f" {label}: {'; '.join(items)}."
    if left_out:
        text += f" Not in the file, and left out: {', '.join(left_out)}."
    text += _who_enrols(planned) + _who_dies(planned)
    if why := planned.power_untold:
        text += f" What conduct does to power is not told: {why}."
    cost = planned.resolved.template.cost
    if cost is None:
        return f"{text} No price is stated ('cost:'), so no cost is given."
    return text + _prices(planned)


def _who_enrols(planned: PlannedForecast) -> str:
    """Return which of two statements of enrolment is heeded; empty where there is one."""
    template = planned.resolved.template
    if template.nature.enrolment is None or not states_rate(template):
        return ""
    return (
        " Patients enter as sites enrol them: what nature.enrolment says is for the other commands."
    )


def _who_dies(planned: PlannedForecast) -> str:
    """Return whose doses and visits death ends, where it is not the outcome."""
    event = getattr(planned.resolved.template.protocol.primary, "event", "")
    if planned.deaths:
        return ""
    if planned.outcomes and names_death(event):
        return (
            f" Which of '{event}' are deaths is not stated: it ends no patient's doses and visits."
        )
    return " Nobody dies: deaths are not simulated."


def _prices(planned: PlannedForecast) -> str:
    cost = planned.resolved.template.cost
    assert cost is not None
    prices = {
        name: getattr(cost, name)
        for name in ("start_up", "screening", "per_patient", "per_visit", "per_dose",
                     "per_month", "per_site_month", "per_look")
    }  # fmt: skip
    free = [name for name, price in prices.items() if not price.value]
    assumed = [name for name, price in prices.items() if price.value and not price.source]
    text = f" Prices in {planned.money}."
    if assumed:
        text += f" Assumed prices: {', '.join(assumed)}."
    if free:
        text += f" Not stated, and so 0: {', '.join(free)}."
    return text
