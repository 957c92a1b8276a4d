"""How response comes and goes: hazards since start of therapy, and what they were fitted to.

States: none -> response -> relapse, perhaps response again, and from each of them death or loss.
All hazards are constant between breaks. Pure Python, so that ``check`` can tell an impossible
course without numpy; the same probabilities by matrix exponential are in
`trialsim.kernels.multistate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, expm1, inf, log, sqrt

from trialsim.protocol.truths.loss_by_state import Losses, StateVector
from trialsim.protocol.truths.loss_by_state import carried as carried_by_state

__all__ = [
    "ALIKE",
    "Course",
    "ImpossibleCourseError",
    "Mix",
    "calibrated_hazard",
    "hazard_reaching",
    "log_normal_mix",
]

DAYS_PER_YEAR = 365.25


class ImpossibleCourseError(ValueError):
    """No hazard reaches what was asked; the message says what can be reached."""


Mix = tuple[tuple[float, float], ...]
"""Shares of patients, and how many times the stated hazards of response theirs are."""

ALIKE: Mix = ((1.0, 1.0),)


@dataclass(frozen=True)
class Course:
    """One arm's course.

    Attributes
    ----------
    breaks : tuple of float
        Ends of the pieces in days since start of therapy, rising; the last piece goes on for ever.
    response : tuple of float
        Hazard of response per day in each piece; one more than `breaks`, or as many (the last
        hazard then goes on).
    relapse, death, loss, again : float
        Hazards per day, constant; `again` of response after relapse.
    mix : Mix
        How patients differ in the hazard of their first response.
    loss_ratios : tuple of float
        How many times the hazard of loss is in response, and after relapse.
    """

    breaks: tuple[float, ...]
    response: tuple[float, ...]
    relapse: float = 0.0
    death: float = 0.0
    loss: float = 0.0
    again: float = 0.0
    mix: Mix = ALIKE
    loss_ratios: tuple[float, float] = (1.0, 1.0)

    @property
    def losses(self) -> Losses | None:
        """Hazards of loss by state where they differ; None where all states are alike."""
        if not self.loss or self.loss_ratios == (1.0, 1.0):
            return None
        return self.loss, self.loss * self.loss_ratios[0], self.loss * self.loss_ratios[1]

    def pieces(self, until: float) -> list[tuple[float, float]]:
        """Return (length in days, hazard of response) of each piece up to a day."""
        return self.stretch(0.0, until)

    def stretch(self, since: float, until: float) -> list[tuple[float, float]]:
        """Return (length in days, hazard of response) of each piece between two days."""
        starts = (0.0, *self.breaks)
        ends = (*self.breaks, inf)
        hazards = (*self.response, self.response[-1])
        return [
            (min(end, until) - max(start, since), hazard)
            for start, end, hazard in zip(starts, ends, hazards, strict=False)
            if start < until and since < end
        ]

    def response_at(self, day: float) -> float:
        """Return the hazard of response on a day."""
        return self.pieces(inf)[sum(end <= day for end in self.breaks)][1]

    def probability_of_response(self, day: float) -> float:
        """Probability to be alive, followed and in response on a day."""
        if losses := self.losses:
            pieces, rest = self.pieces(day), (self.relapse, self.again, losses)
            return exp(-self.death * day) * sum(
                share * _through(pieces, times, *rest)[1] for share, times in self.mix
            )
        staying = exp(-(self.death + self.loss) * day)
        pieces = self.pieces(day)
        return staying * sum(
            share * _carried(pieces, times, self.relapse, self.again)[1]
            for share, times in self.mix
        )

    def probability_sustained(self, day: float, visit_days: Sequence[float], kept: float) -> float:
        """Probability to be in response on a day, and at every visit kept since the first response.

        Parameters
        ----------
        day : float
        visit_days : sequence of float
            Since start of therapy, rising; those before `day` count.
        kept : float
            Probability to keep each of these.

        Notes
        -----
        The states are split by whether a visit has seen a response: kept visits move who is seen in
        response for the first time over, and take out who has been seen and is found without.
        """
        losses = self.losses or (0.0, 0.0, 0.0)
        staying = exp(-(self.death + (0.0 if self.losses else self.loss)) * day)
        found = 0.0
        for share, times in self.mix:
            unseen: StateVector = (1.0, 0.0, 0.0)
            seen: StateVector = (0.0, 0.0, 0.0)
            last = 0.0
            for visit in (*(v for v in visit_days if v < day), day):
                for length, hazard in self.stretch(last, visit):
                    rest = (length, times * hazard, self.relapse, self.again, losses)
                    unseen = carried_by_state(unseen, *rest, whole=True)
                    seen = carried_by_state(seen, *rest, whole=True)
                last = visit
                if visit < day:
                    missed = 1 - kept
                    seen = (missed * seen[0], seen[1] + kept * unseen[1], missed * seen[2])
                    unseen = (unseen[0], missed * unseen[1], unseen[2])
            found += share * (unseen[1] + seen[1])
        return staying * found

    def probability_followed(self, day: float) -> float:
        """Probability to be alive and not lost on a day."""
        losses = self.losses
        if losses is None:
            return exp(-(self.death + self.loss) * day)
        pieces, rest = self.pieces(day), (self.relapse, self.again, losses)
        return exp(-self.death * day) * sum(
            share * sum(_through(pieces, times, *rest, whole=True)) for share, times in self.mix
        )


def _through(
    pieces: Sequence[tuple[float, float]],
    times: float,
    relapse: float,
    again: float,
    losses: Losses,
    *,
    whole: bool = False,
) -> StateVector:
    """Return the probabilities of the states after these pieces, where loss differs by state."""
    state: StateVector = (1.0, 0.0, 0.0)
    for length, hazard in pieces:
        state = carried_by_state(state, length, times * hazard, relapse, again, losses, whole=whole)
    return state


def _carried(
    pieces: Sequence[tuple[float, float]], times: float, relapse: float, again: float
) -> tuple[float, float]:
    """Return the probabilities of no response and of response after these pieces."""
    none, response = 1.0, 0.0
    for length, hazard in pieces:
        none, response = _step(none, response, length, times * hazard, relapse, again)
    return none, response


def _step(
    none: float, response: float, days: float, hazard: float, relapse: float, again: float
) -> tuple[float, float]:
    """Carry the probabilities of no response and of response through one piece.

    Death and loss act alike on all states and are taken out, so that relapse has what the other
    two leave. Cox and Miller (1965), section 4.5.
    """
    out = relapse + again
    gap = abs(out - hazard)
    # the integral of exp(-hazard s) exp(-out (days - s)), written so as not to overflow
    slower = exp(-min(hazard, out) * days)
    left = slower * (-expm1(-gap * days) / gap if gap * days > 1e-12 else days)
    back = again * (-expm1(-out * days) / out if out else 0.0)
    return (
        none * exp(-hazard * days),
        response * exp(-out * days) + back + (hazard - again) * none * left,
    )


def log_normal_mix(sd: float) -> Mix:
    """Return a log-normal frailty with mean 1 and this SD of its logarithm, as a quadrature rule.

    The trapezoidal rule over 9 standard deviations either way, whose error falls faster than any
    power of its step where the integrand is analytic (Trefethen and Weideman 2014, SIAM Review
    56:385-458). Frailty: Aalen, Borgan and Gjessing (2008), Survival and Event History Analysis,
    chapter 6.
    """
    if sd == 0:
        return ALIKE
    points = [step / 10 for step in range(-90, 91)]
    weights = [exp(-(x**2) / 2) for x in points]
    total = sum(weights)
    return tuple((w / total, exp(sd * x - sd**2 / 2)) for w, x in zip(weights, points, strict=True))


def calibrated_hazard(
    earlier: Sequence[tuple[float, float]],
    days: float,
    target: float,
    *,
    relapse: float,
    leaving: float,
    again: float = 0.0,
    mix: Mix = ALIKE,
    losses: Losses | None = None,
) -> float:
    """Find the hazard of response in a piece that makes P(in response at its end) = `target`.

    Parameters
    ----------
    earlier : sequence of (days, hazard)
        The pieces before it.
    days : float
        Length of the piece.
    target : float
    relapse, leaving, again : float
        Hazards per day of relapse, of death and loss together, and of response after relapse.
    mix : Mix
        How patients differ.
    losses : tuple of float, or None
        Hazards of loss by state where they differ; `leaving` is then death alone.

    Returns
    -------
    hazard : float
        Per day; the probability is reached to 1e-12.

    Raises
    ------
    ImpossibleCourseError
        If no hazard of at least 0 and at most 1 per day reaches the target.
    """
    elapsed = sum(length for length, _ in earlier)
    staying = exp(-leaving * (elapsed + days))
    before = [(share, times, _carried(earlier, times, relapse, again)) for share, times in mix]
    by_state = _reached_by_state(earlier, days, relapse, again, mix, losses) if losses else None

    def reached(hazard: float) -> float:
        if by_state:
            return staying * by_state(hazard)
        return staying * sum(
            share * _step(*state, days, times * hazard, relapse, again)[1]
            for share, times, state in before
        )

    return hazard_reaching(target, reached)


def hazard_reaching(target: float, reached: Callable[[float], float]) -> float:
    """Find the least hazard per day at which a probability that depends on it is `target`.

    Raises
    ------
    ImpossibleCourseError
        If no hazard of at least 0 and at most 1 per day reaches the target.
    """
    peak = _peak(reached)
    least, most = reached(0.0), reached(peak)
    if not least - 1e-12 <= target <= most:
        raise ImpossibleCourseError(f"only {least:.4g} to {most:.4g} can be reached by then")
    low, high = 0.0, peak
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break  # no number lies between
        low, high = (middle, high) if reached(middle) < target else (low, middle)
    return (low + high) / 2


def _reached_by_state(
    earlier: Sequence[tuple[float, float]],
    days: float,
    relapse: float,
    again: float,
    mix: Mix,
    losses: Losses,
) -> Callable[[float], float]:
    """Return P(in response) at the end of a piece by its hazard, where loss differs by state."""
    states = [
        (share, times, _through(earlier, times, relapse, again, losses)) for share, times in mix
    ]
    return lambda hazard: sum(
        share * carried_by_state(state, days, times * hazard, relapse, again, losses)[1]
        for share, times, state in states
    )


def _peak(reached: Callable[[float], float]) -> float:
    """Return the hazard, at most 1 per day, that reaches most: with relapse, sooner is not more.

    Golden-section search on the logarithm; the probability rises to one maximum and falls after.
    """
    low, high = log(1e-9), 0.0
    ratio = (sqrt(5) - 1) / 2
    for _ in range(120):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if reached(exp(a)) >= reached(exp(b)) else (a, high)
    return max((exp((low + high) / 2), 1.0), key=reached)
