"""Both arms' courses of response as functions of the numbers a scenario states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from trialsim.errors import Problem, RequestError
from trialsim.kernels.multistate import probability_in_response
from trialsim.protocol.quantities import months
from trialsim.protocol.scenario import (
    Leaving,
    Piece,
    ResponseScenario,
    Scenario,
)
from trialsim.protocol.truths.course import DAYS_PER_YEAR, Course
from trialsim.protocol.truths.resolved import ResolvedTemplate

__all__ = ["LEAST_HAZARD", "CourseModel", "Parameter", "course_model"]

Floats = NDArray[np.float64]
LEAST_HAZARD, _MOST_HAZARD = 1e-12, 0.2  # per day, as wide as makes no difference


@dataclass(frozen=True)
class Parameter:
    """Something a scenario states that points may determine.

    Attributes
    ----------
    name : str
        ``control-1``, ``treated-2`` (arm and piece), ``relapse`` or ``delay``.
    what : str
        In words.
    arm : str
        ``control``, ``treated`` or ``both``.
    piece : int
        Index of the piece among its arm's; -1 for none.
    start, end : float
        Days between which a hazard acts.
    value : float
        As the scenario has it: per day, or days for a delay.
    low, high : float
    """

    name: str
    what: str
    arm: str
    piece: int
    start: float
    end: float
    value: float
    low: float = LEAST_HAZARD
    high: float = _MOST_HAZARD

    @property
    def is_delay(self) -> bool:
        """Whether it is a length of time, not a rate."""
        return self.name == "delay"

    @property
    def unit(self) -> str:
        """What it is shown in."""
        return "days" if self.is_delay else "per year"

    def shown(self, value: float) -> float:
        """Return a value in that unit; 0 at the lowest a hazard can be."""
        if self.is_delay:
            return value
        return 0.0 if value <= 1.001 * self.low else value * DAYS_PER_YEAR


@dataclass(frozen=True)
class CourseModel:
    """Both arms' courses as functions of their parameters.

    Attributes
    ----------
    parameters : tuple of Parameter
        All there are, free or not.
    control, treated : tuple of (end in days, index of its hazard)
    n_delayed : int
        How many of the treated arm's pieces, from the first, end at the delay at the latest.
    leaving : float
        Death and loss together, per day.
    missed : float
        Share of visits.
    """

    parameters: tuple[Parameter, ...]
    control: tuple[tuple[float, int], ...]
    treated: tuple[tuple[float, int], ...]
    n_delayed: int
    leaving: float
    missed: float

    def index(self, name: str) -> int:
        """Return the place of a parameter; -1 for none of that name."""
        return next((i for i, p in enumerate(self.parameters) if p.name == name), -1)

    def values(self) -> Floats:
        """Return what the scenario states, shape (n_parameters,)."""
        return np.array([p.value for p in self.parameters])

    def between(
        self, arm: str, values: Floats, since: Floats, until: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Return P(no response), P(in response) and cumulative hazard between days.

        Parameters
        ----------
        values : ndarray, shape (n_sets, n_parameters)
        since, until : ndarray, shape (n_points,)
        """
        pieces = self.control if arm == "control" else self.treated
        ends = np.tile([end for end, _ in pieces], (len(values), 1)).astype(float)
        if arm == "treated" and self.n_delayed:
            delay = values[:, self.index("delay"), None]
            ends[:, : self.n_delayed] = np.minimum(ends[:, : self.n_delayed], delay)
            ends[:, self.n_delayed - 1] = delay[:, 0]
        hazards = values[:, [slot for _, slot in pieces]]
        relapse = values[:, self.index("relapse")]
        return probability_in_response(since, until, ends, hazards, relapse, self.leaving)

    def response(self, arm: str, values: Floats, days: Floats) -> Floats:
        """Return the probability to be seen in response on days, shape (n_sets, n_days)."""
        _, found, _ = self.between(arm, values, np.zeros(len(days)), days)
        return (1 - self.missed) * found


def course_model(resolved: ResolvedTemplate, scenario: Scenario) -> CourseModel:
    """Return the parameters of a scenario and how its courses follow from them.

    Raises
    ------
    RequestError
        For courses with more than hazards constant in pieces, alike for all patients.
    """
    response, leaving = scenario.response, resolved.template.nature.response or Leaving()
    assert response is not None  # required of a template with a primary response endpoint
    smooth = any(piece.onset or piece.pool for _, pieces in _arms(response) for piece in pieces)
    rates = leaving.frailty_sd.value or leaving.again_per_year.value
    if smooth or rates or leaving.hazard_ratio_by or leaving.loss_hazard_ratios:
        rule = (
            "has a smooth onset, a pool, response again, frailty, levels or loss by arm and state, "
            "which are not fitted yet"
        )
        raise RequestError(Problem(rule, "Leave it out.", f"scenario {scenario.id}"))
    therapy, truth = resolved.template.protocol.therapy, resolved.truth(scenario)
    assert truth.courses is not None
    parameters: list[Parameter] = []
    pieces_of: dict[str, list[tuple[float, int]]] = {}
    ends_of: dict[str, list[float]] = {}
    for arm, pieces in _arms(response):
        own: list[tuple[float, int]] = []
        start = 0.0
        for index, piece in enumerate(pieces):
            end = piece.until.days_after_entry(therapy)
            if piece.as_control:
                own += _as_control(pieces_of["control"], start, end)
            else:
                own.append((end, len(parameters)))
                hazard = _hazard_after(getattr(truth.courses, arm), start)
                since = months(start) if start else "entry"
                what = f"{arm} arm, {since} to {months(end)}"
                parameters.append(
                    Parameter(f"{arm}-{index + 1}", what, arm, index, start, end, hazard)
                )
            start = end
            ends_of.setdefault(arm, []).append(end)
        pieces_of[arm] = own
    control = pieces_of["control"]
    treated = pieces_of.get("treated", control)
    relapse = leaving.relapse_per_year.value / DAYS_PER_YEAR
    parameters.append(Parameter("relapse", "in both arms", "both", -1, 0.0, 0.0, relapse))
    n_delayed = 0
    if response.treated and [bool(p.as_control) for p in response.treated[:2]] == [True, False]:
        n_delayed = len(control)
        treated[:n_delayed] = control  # as far as the delay, wherever that is
        first, second = ends_of["treated"][:2]
        what = "treated arm like control until"
        parameters.append(
            Parameter("delay", what, "treated", 0, 0.0, first, first, 1.0, second - 1.0)
        )
    gone = (leaving.death_per_year.value + leaving.loss_per_year.value) / DAYS_PER_YEAR
    missed = leaving.missed_visits.value
    return CourseModel(tuple(parameters), tuple(control), tuple(treated), n_delayed, gone, missed)


def _as_control(
    control: Sequence[tuple[float, int]], start: float, end: float
) -> list[tuple[float, int]]:
    """Return the control arm's pieces between two days; some are empty."""
    own = [(min(max(stop, start), end), slot) for stop, slot in control[:-1]]
    return [*own, (end, control[-1][1])]


def _hazard_after(course: Course, start: float) -> float:
    day = 0.0
    for length, hazard in course.pieces(inf):
        day += length
        if day > start + 1e-9:
            return hazard
    raise AssertionError("the last piece goes on")


def _arms(response: ResponseScenario) -> list[tuple[str, tuple[Piece, ...]]]:
    found = [("control", response.control)]
    return [*found, ("treated", response.treated)] if response.treated else found
