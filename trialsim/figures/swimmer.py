"""Twenty simulated patients: what happens to each, and what visits see of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trialsim.engine.blocks import draw_patients
from trialsim.figures.style import GREY, INK, ORANGE, house_style, new_figure
from trialsim.protocol.endpoints import ResponseEndpoint
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.studies.horizons.followup import PlannedFollowUp

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SwimmingPatient", "swimmer_figure", "swimmers_of", "with_swimmers"]

PER_ARM = 10
MOST_FIGURES = 3
_RESPONSE = "#7fb8d9"  # light, for the signs of visits on it
_SEEN = {"response": ("o", INK), "none": ("o", "white"), "missed": ("x", INK)}


@dataclass(frozen=True)
class SwimmingPatient:
    """One patient of the first simulated trial; days since entry.

    Attributes
    ----------
    number : int
        From 1, in order of arrival.
    treated : bool
    end : float
        Of follow-up: death, loss, or the last horizon.
    why : str
        ``death``, ``loss``, or empty.
    responses : tuple of (start, end)
        True intervals in response, cut at `end`.
    visits : tuple of (day, what)
        What is ``response``, ``none`` or ``missed``, of visits up to the end.
    """

    number: int
    treated: bool
    end: float
    why: str
    responses: tuple[tuple[float, float], ...]
    visits: tuple[tuple[float, str], ...]


def with_swimmers(planned: PlannedFollowUp) -> int:
    """Return of how many scenarios patients are shown: none where nature has no courses."""
    courses = isinstance(planned.resolved.template.protocol.primary, ResponseEndpoint)
    return min(len(planned.scenarios), MOST_FIGURES) if courses else 0


def swimmers_of(planned: PlannedFollowUp, scenario: int, seed: int) -> tuple[SwimmingPatient, ...]:
    """Return the first ten patients of either arm of replicate 1, the treated first."""
    job = planned.jobs[0]
    batch = draw_patients(job, seed, 0, frozenset())[1][scenario][job.plans[0].endpoint]
    treated, last = batch.assigned[:, 0], planned.horizons[-1].day
    counted = job.protocol.visit_days
    found = []
    for arm in (True, False):
        for i in np.flatnonzero(treated == arm)[:PER_ARM]:
            leaving = float(batch.leaving[i, 0])
            end = min(leaving, last)
            why = "" if leaving >= last else "death" if batch.died[i, 0] else "loss"
            cycles = [
                (float(start[int(arm), i, 0]), float(stop[int(arm), i, 0]))
                for start, stop in ((batch.response, batch.relapse), *batch.again)
            ]
            responses = tuple((a, min(b, end)) for a, b in cycles if a < end)
            visits = []
            for number, (nominal, _) in enumerate(counted):
                day = float(batch.visits[number, i, 0])
                if nominal > last + 0.5 or day >= leaving:
                    continue
                here = any(a <= day < b for a, b in cycles)
                what = "response" if here else "none"
                visits.append((day, what if batch.attended[number, i, 0] else "missed"))
            found.append(SwimmingPatient(int(i) + 1, arm, end, why, responses, tuple(visits)))
    return tuple(found)


def _panel(axes: Axes, planned: PlannedFollowUp, patients: tuple[SwimmingPatient, ...]) -> None:
    from matplotlib.ticker import MultipleLocator

    protocol, per = planned.resolved.template.protocol, DAYS_PER_UNIT["mo"]
    for row, patient in enumerate(patients):
        axes.barh(row, patient.end / per, height=0.12, color=GREY, zorder=1)
        for start, end in patient.responses:
            length = (end - start) / per
            axes.barh(row, length, 0.5, left=start / per, color=_RESPONSE, ec=INK, lw=0.5, zorder=2)
        for what, (mark, fill) in _SEEN.items():
            days = [day / per for day, own in patient.visits if own == what]
            line = [row] * len(days)
            axes.plot(days, line, mark, color=INK, mfc=fill, ms=4.5, zorder=3, clip_on=False)
        if patient.why:
            mark = "X" if patient.why == "death" else ">"
            axes.plot([patient.end / per], [row], mark, color=ORANGE, mec=INK, ms=9, zorder=4)
    months = planned.horizons[-1].day / per
    step = next((own for own in (1, 3, 6, 12) if months <= 12 * own), 24)
    n_treated = sum(patient.treated for patient in patients)
    if protocol.therapy:
        axes.fill_between(
            [0, protocol.therapy.days / per],
            -0.5,
            n_treated - 0.5,
            color=GREY,
            alpha=0.25,
            lw=0,
            zorder=0,
        )
    axes.axhline(n_treated - 0.5, color=GREY, lw=0.8)
    arms = (protocol.control.id, protocol.experimental.id)
    labels = [f"{arms[patient.treated]} {patient.number}" for patient in patients]
    axes.set_yticks(range(len(patients)), labels, fontsize=8)
    axes.set_ylim(len(patients) - 0.4, -0.6)
    axes.set_xlim(0, 1.03 * months)
    axes.set_xlabel("months since entry")
    axes.xaxis.set_major_locator(MultipleLocator(step))


def _legend(axes: Axes, *, therapy: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def sign(mark: str, fill: str, label: str, size: float = 5) -> Line2D:
        return Line2D([], [], ls="", marker=mark, mfc=fill, mec=INK, ms=size, label=label)

    handles = [
        Patch(fc=_RESPONSE, ec=INK, lw=0.5, label="in response, in truth"),
        Line2D([], [], color=GREY, lw=3, label="followed"),
        *([Patch(fc=GREY, alpha=0.25, label="on therapy (its arm)")] if therapy else []),
        sign("o", INK, "visit saw response"),
        sign("o", "white", "visit saw none"),
        sign("x", INK, "visit missed"),
        sign("X", ORANGE, "death", 8),
        sign(">", ORANGE, "loss", 8),
    ]
    axes.legend(handles=handles, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def swimmer_figure(planned: PlannedFollowUp, scenario: int, seed: int) -> tuple[Figure, str]:
    """Return the figure of one scenario and its alternative text."""
    patients, name = swimmers_of(planned, scenario, seed), planned.scenarios[scenario]
    title = f"The first patients of trial 1, seed {seed}, if the truth is {name.title} ({name.id})"
    with house_style():
        figure = new_figure(10.4, 1.5 + 0.24 * len(patients))
        axes = figure.add_subplot()
        _panel(axes, planned, patients)
        _legend(axes, therapy=bool(planned.resolved.template.protocol.therapy))
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    responded = sum(bool(patient.responses) for patient in patients)
    seen = sum(any(what == "response" for _, what in p.visits) for p in patients)
    gone = sum(bool(patient.why) for patient in patients)
    told = (
        f"{title}. {len(patients)} patients: {responded} respond in truth, visits see it in "
        f"{seen}; {gone} die or are lost. Per patient, months since entry: followed to; in "
        "response; visits that saw response, saw none, were missed."
    )
    return figure, "\n".join((told, *(_in_words(planned, patient) for patient in patients)))


def _in_words(planned: PlannedFollowUp, patient: SwimmingPatient) -> str:
    """Return a patient as cells between bars, which a report makes a table of."""
    protocol, per = planned.resolved.template.protocol, DAYS_PER_UNIT["mo"]
    arm = protocol.experimental if patient.treated else protocol.control
    response = ", ".join(f"{a / per:.1f} to {b / per:.1f}" for a, b in patient.responses)
    counts = [sum(own == what for _, own in patient.visits) for what in _SEEN]
    end = f"{patient.end / per:.1f}{f' ({patient.why})' if patient.why else ''}"
    return " | ".join((f"{arm.id} {patient.number}", end, response or "-", *map(str, counts)))
