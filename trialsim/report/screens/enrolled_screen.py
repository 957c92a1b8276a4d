"""What ``trialsim forecast --enrolled`` prints: when a trial under way will be full."""

from __future__ import annotations

from trialsim.errors import counted
from trialsim.report.screens.forecast_screen import number_with_error
from trialsim.report.screens.screen import DISCLAIMER
from trialsim.report.text import calendar_sentences, table, wrapped
from trialsim.studies.operations.enrolled import PlannedEnrolled
from trialsim.trial import Measure, Row, StudyResult

__all__ = ["enrolled_screen", "enrolled_texts"]

_MIDDLE = "9 in 10"


def enrolled_screen(planned: PlannedEnrolled, result: StudyResult, seed: int) -> str:
    """Return the whole screen."""
    template = planned.resolved.template
    sites = planned.seen.sites
    open_now = sum(day < planned.now for day in planned.opened)
    later = f", {len(sites) - open_now} to open" if open_now < len(sites) else ""
    heading = [
        f"{template.id.upper()}   {template.title}",
        f"{planned.seen.enrolled:,} of {planned.n_patients:,} patients enrolled at "
        f"{counted(open_now, 'open site')}{later}; {counted(result.n_replicates, 'future')} drawn, "
        f"seed {seed}",
        *map(str, planned.resolved.settings),
    ]
    parts = ["\n".join(map(wrapped, heading)), wrapped(_answer(planned, result))]
    parts += [_added_sites(planned, result), _rates(planned, result)]
    parts += map(wrapped, calendar_sentences(result))
    return "\n\n".join([*parts, wrapped(_basis(result)), wrapped(DISCLAIMER)])


def enrolled_texts(planned: PlannedEnrolled, result: StudyResult) -> dict[str, str]:
    """Return what a report says besides tables: the answer, and what it rests on."""
    texts = {"answer": _answer(planned, result), "basis": _basis(result)}
    observed = " ".join(calendar_sentences(result))
    return {**texts, "observed times": observed} if observed else texts


def _basis(result: StudyResult) -> str:
    return f"{result.texts['rests on']} +- is one Monte Carlo standard error."


def _of(result: StudyResult, measure: Measure) -> list[Row]:
    return [row for row in result.rows if row.measure is measure]


def _answer(planned: PlannedEnrolled, result: StudyResult) -> str:
    rows = _of(result, Measure.MILESTONE_MONTHS)
    (full,) = (row for row in rows if row.headline)
    (on_time, *_) = _of(result, Measure.ON_TIME)
    assert full.value is not None
    assert on_time.value is not None
    text = (
        f"All {planned.n_patients:,} are expected by {_day(planned, full.value)} ({_MIDDLE}: "
        f"{_day(planned, full.lower)} to {_day(planned, full.upper)}), "
        f"{number_with_error(full, 1)} months after the first invitation. "
    )
    if closed := [row.value for row in rows if row.analysis == "closed form"]:
        text += f"The closed form says {closed[0]:.1f}. "
    return text + (
        f"The plan was {_day(planned, planned.months(planned.planned_day))}: the chance to be full "
        f"by then is {_percent(on_time)}."
    )


def _day(planned: PlannedEnrolled, months: float | None) -> str:
    assert months is not None  # intervals have ends
    return planned.in_words(months * planned.now / planned.months(planned.now))


def _percent(row: Row) -> str:
    assert row.value is not None
    return f"{100 * row.value:.1f} % +-{100 * (row.mcse or 0):.1f}"


def _added_sites(planned: PlannedEnrolled, result: StudyResult) -> str:
    on_time = {row.category: row for row in _of(result, Measure.ON_TIME)}
    saved = {row.category: row for row in _of(result, Measure.MONTHS_SAVED)}
    rows = []
    for row in _of(result, Measure.MILESTONE_MONTHS):
        if row.analysis:
            continue
        gain = saved.get(row.category)
        rows.append(
            (
                (row.category or "").partition(" ")[0],
                _day(planned, row.value),
                f"{_day(planned, row.lower)} to {_day(planned, row.upper)}",
                f"{gain.value:.1f} +-{gain.mcse:.2f}" if gain else "-",
                _percent(on_time[row.category]),
            )
        )
    header = ("added", "all enrolled", _MIDDLE, "months saved", "full by plan")
    return "What adding sites does, invited now\n" + table(header, rows)


def _rates(planned: PlannedEnrolled, result: StudyResult) -> str:
    rows = [
        (
            site.site,
            planned.seen.in_words(site.opened),
            f"{site.enrolled:,}",
            f"{row.value:.2f}",
            f"{row.lower:.2f} to {row.upper:.2f}",
        )
        for site, row in zip(planned.seen.sites, _of(result, Measure.SITE_RATE), strict=True)
    ]
    header = ("site", "opened", "enrolled", "per month", _MIDDLE)
    return "Patients per month of each site, as its counts and those of all sites say\n" + table(
        header, rows
    )
