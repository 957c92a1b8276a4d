"""What happens when: the grid of visits and activities that SPIRIT 2025 asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import ContinuousEndpoint, Endpoint, TimeToEventEndpoint
from trialsim.protocol.quantities import Clock, Time
from trialsim.report.text import WIDTH, wrapped

__all__ = ["schedule_lines", "schedule_of"]


@dataclass(frozen=True)
class _Schedule:
    times: dict[float, str]  # by day since entry, in the order they were found
    marks: dict[str, set[float]]  # by activity

    @property
    def days(self) -> list[float]:
        return sorted(self.times)


def schedule_of(protocol: Protocol) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the header, one column per time, and a row per activity: an x where it happens."""
    found = _schedule(protocol, _in_full, lambda time: time.in_words(protocol.therapy))
    rows = tuple(
        (what, *("x" if day in on else "" for day in found.days))
        for what, on in found.marks.items()
    )
    return ("", *(found.times[day] for day in found.days)), rows


def schedule_lines(protocol: Protocol) -> str:
    """Return the grid for a terminal: endpoints by their ids, times short, 80 columns."""
    found = _schedule(protocol, lambda endpoint: endpoint.id, _in_short)
    name = max(len(what.replace("Eligibility, consent", "Consent")) for what in found.marks)
    throughout = {e.id for e in protocol.endpoints if isinstance(e, TimeToEventEndpoint)}
    lines = [wrapped(f"Schedule of activities ({_legend(protocol)}):")]
    for days in _fitting(found, WIDTH - name):
        lines.append(" " * name + "".join(f"  {_label(found, day)}" for day in days))
        for what, on in found.marks.items():
            cells = (f"  {'x' if day in on else '':{len(_label(found, day))}}" for day in days)
            told = "  throughout" if what in throughout else "".join(cells)
            lines.append(f"{what.replace('Eligibility, consent', 'Consent'):{name}}{told}".rstrip())
    windows = [f"{_in_short(v.at)} -+ {v.window}" for v in protocol.visits if v.window]
    if windows:
        lines.append(wrapped(f"windows: {', '.join(windows)}"))
    return "\n".join(lines)


def _schedule(
    protocol: Protocol, name: Callable[[Endpoint], str], words: Callable[[Time], str]
) -> _Schedule:
    therapy = protocol.therapy
    entry = "Eligibility, consent" if protocol.is_single_arm else "Eligibility, consent, allocation"
    found = _Schedule({0.0: "entry"}, {entry: {0.0}})
    if therapy:
        found.times[therapy.days] = f"{therapy} (end of therapy)"
        found.marks["Study treatment"] = {0.0, therapy.days}
    for visit in protocol.visits:
        day = visit.at.days_after_entry(therapy)
        window = f" -+ {visit.window}" if visit.window else ""
        found.times[day] = f"{words(visit.at)}{window}"
        found.marks.setdefault("Visit", set()).add(day)
    for endpoint in protocol.endpoints:
        if isinstance(endpoint, TimeToEventEndpoint):
            found.marks.setdefault(name(endpoint), set()).update(found.times)
            continue
        for time in endpoint.at if isinstance(endpoint, ContinuousEndpoint) else (endpoint.at,):
            day = time.days_after_entry(therapy)
            found.times.setdefault(day, words(time))
            found.marks.setdefault(name(endpoint), set()).add(day)
    return found


def _in_full(endpoint: Endpoint) -> str:
    return f"{endpoint.event} ({endpoint.level})"


def _in_short(time: Time) -> str:
    if time.clock is Clock.ENTRY:
        return str(time.after)
    return f"+{time.after}" if time.after.days else "end"


def _label(found: _Schedule, day: float) -> str:
    """Return the head of a column, without window; the end of therapy as "end"."""
    said = found.times[day].partition(" -+ ")[0]
    return "end" if said.endswith("(end of therapy)") else said


def _legend(protocol: Protocol) -> str:
    after = f"; end: of therapy, at {protocol.therapy}; +: after it" if protocol.therapy else ""
    return f"times since entry{after}"


def _fitting(found: _Schedule, room: int) -> list[list[float]]:
    """Return the days in groups of columns that fit beside the activities."""
    groups: list[list[float]] = [[]]
    left = room
    for day in found.days:
        width = len(_label(found, day)) + 2
        if groups[-1] and width > left:
            groups.append([])
            left = room
        groups[-1].append(day)
        left -= width
    return groups
