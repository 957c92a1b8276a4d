"""Response and relapse: when they would happen to each patient in either arm, and visits kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.multistate import times_to_event
from trialsim.protocol.design import Protocol
from trialsim.protocol.scenario import Courses, Truth
from trialsim.protocol.truths.course import Course
from trialsim.streams import Decision, Streams
from trialsim.trial import Candidates

__all__ = ["ResponseBatch", "draw_courses", "frailty_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)  # one batch is equal to itself alone, and can be looked up
class ResponseBatch:
    """Many trials under one truth: every patient's course in either arm, and when they were seen.

    All times in days since entry; infinity for never.

    Attributes
    ----------
    assigned : ndarray of bool, shape (n_patients, n_reps)
    response, relapse : ndarray of float, shape (2, n_patients, n_reps)
        Under control and under experimental treatment, from the same random numbers.
    again : tuple of (response, relapse)
        Later responses, after relapse, in their order.
    leaving : ndarray of float, shape (n_patients, n_reps)
        Death or loss, whichever comes first; the same in both arms, unless loss differs by arm or
        state: then as assigned.
    died : ndarray of bool, shape (n_patients, n_reps)
        Whether it is death.
    visits : ndarray of float, shape (n_visits, n_patients, n_reps)
        Day a visit took place, within its window.
    attended : ndarray of bool, shape (n_visits, n_patients, n_reps)
    included : ndarray of bool, shape (n_patients, n_reps), or None
        Who is analysed; None for all.
    """

    assigned: NDArray[np.bool_]
    response: Floats
    relapse: Floats
    leaving: Floats
    died: NDArray[np.bool_]
    visits: Floats
    attended: NDArray[np.bool_]
    included: NDArray[np.bool_] | None = None
    again: tuple[tuple[Floats, Floats], ...] = ()

    def in_response(self, day: Floats) -> NDArray[np.bool_]:
        """Return who is in response on a day, as assigned, shape (n_patients, n_reps)."""
        here = np.zeros(self.assigned.shape, dtype=bool)
        for response, relapse in ((self.response, self.relapse), *self.again):
            start, end = (np.where(self.assigned, both[1], both[0]) for both in (response, relapse))
            here |= (start <= day) & (day < end)
        return here


def draw_courses(
    protocol: Protocol,
    candidates: Candidates,
    assigned: NDArray[np.bool_],
    truths: tuple[Truth, ...],
    streams: Streams,
    block: int,
) -> list[ResponseBatch]:
    """Return one batch per truth, all with the same patients and the same luck.

    Therapy starts at entry (assumed). Windows are uniform on nominal day -+ window.
    """
    shape = assigned.shape

    def uniforms(decision: Decision, item: str = "") -> Floats:
        return streams.generator(decision, block, item).random(shape)

    u_response, u_relapse = uniforms(Decision.RESPONSE), uniforms(Decision.RELAPSE)
    u_death, u_loss = uniforms(Decision.DEATH), uniforms(Decision.LOSS)
    days = protocol.visit_days
    visits = np.stack(
        [
            np.maximum(day + window * (2 * uniforms(Decision.VISIT_DAY, f"{day:.4f}") - 1), 0.0)
            if window
            else np.full(shape, day)
            for day, window in days
        ]
    )
    missed = np.stack([uniforms(Decision.VISIT_MISSED, f"{day:.4f}") for day, _ in days])
    batches = []
    for truth in truths:
        courses = truth.courses
        assert courses is not None  # a response endpoint's scenario has courses, checked on loading
        arms = (courses.control, courses.treated)
        times = frailty_of(courses, candidates, streams, block)
        response = np.stack([times_to_event(u_response, c.breaks, c.response, times) for c in arms])
        relapse = response + times_to_event(u_relapse, (), (courses.control.relapse,))
        again: list[tuple[Floats, Floats]] = []
        end = relapse
        while courses.control.again and (end < visits.max()).any():
            cycle = f"again {len(again) + 1}"
            back = end + times_to_event(
                uniforms(Decision.RESPONSE, cycle), (), (courses.control.again,)
            )
            end = back + times_to_event(
                uniforms(Decision.RELAPSE, cycle), (), (courses.control.relapse,)
            )
            again.append((back, end))
        death = times_to_event(u_death, (), (courses.control.death,))
        if courses.control.losses or courses.control.loss != courses.treated.loss:
            intervals = ((response, relapse), *again)
            loss = _loss_by_state(u_loss, assigned, arms, intervals)
        else:
            loss = times_to_event(u_loss, (), (courses.control.loss,))
        leaving, died = np.minimum(death, loss), death < loss
        attended = missed >= courses.missed_visits
        batch = ResponseBatch(assigned, response, relapse, leaving, died, visits, attended)
        batches.append(replace(batch, again=tuple(again)))
    return batches


def frailty_of(
    courses: Courses, candidates: Candidates, streams: Streams, block: int
) -> Floats | float:
    """Return what multiplies a patient's hazard of response, shape (n_patients, n_reps).

    A float where patients do not differ.
    """
    times: Floats | float = 1.0
    if courses.frailty_sd:
        sd, luck = courses.frailty_sd, streams.generator(Decision.FRAILTY, block)
        times = np.exp(sd * luck.standard_normal(candidates.strata.shape) - sd**2 / 2)
    if courses.factor:
        times = times * np.array(courses.ratios)[candidates.levels[courses.factor]]
    return times


def _loss_by_state(
    uniforms: Floats,
    assigned: NDArray[np.bool_],
    arms: tuple[Course, Course],
    intervals: Sequence[tuple[Floats, Floats]],
) -> Floats:
    """Return when patients are lost, as assigned, by inverse of the hazard along their states."""
    left = -np.log1p(-uniforms)  # cumulative hazard still to come
    found, start = np.full(left.shape, np.inf), np.zeros(left.shape)
    rates = [own.losses or (own.loss,) * 3 for own in arms]

    def spend(until: Floats | float, state: int) -> None:
        nonlocal left, start
        rate = np.where(assigned, rates[1][state], rates[0][state])
        end = np.maximum(start, until)
        with np.errstate(divide="ignore", invalid="ignore"):
            day = start + left / rate
        here = np.isinf(found) & (day < end)
        found[here] = day[here]
        length = np.where(np.isinf(start), 0.0, end - np.where(np.isinf(start), 0.0, start))
        left = np.where(np.isinf(end), left, left - rate * np.where(np.isinf(end), 0.0, length))
        start = end

    after = 0
    for response, relapse in intervals:
        starts, ends = (np.where(assigned, both[1], both[0]) for both in (response, relapse))
        spend(starts, after)
        spend(ends, 1)
        after = 2
    spend(np.inf, 2)
    return found
