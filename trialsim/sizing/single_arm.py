"""One arm against a fixed response rate, in one stage or two, by exact binomials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import count
from math import ceil, inf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, gammaln

from trialsim.errors import DesignError, Problem
from trialsim.sizing.fixed import (
    MOST_PATIENTS,
    Level,
    check_power,
    lasting_size,
    problem_unless,
    refuse,
)

__all__ = [
    "Sawtooth",
    "SimonCriterion",
    "SingleStage",
    "TwoStage",
    "simon_two_stage",
    "single_stage_power",
    "single_stage_size",
]

Floats = NDArray[np.float64]
_MOST_TWO_STAGE = 300  # patients; beyond, the search takes minutes
_SCANNED = 20


class Sawtooth(StrEnum):
    """Which of the sizes with enough power: the first, or the first of all larger ones."""

    FIRST = "first"
    LASTING = "lasting"


class SimonCriterion(StrEnum):
    """Fewest patients expected under the null response, or fewest at most."""

    OPTIMAL = "optimal"
    MINIMAX = "minimax"


@dataclass(frozen=True)
class SingleStage:
    """A single-stage design.

    Attributes
    ----------
    n, least_responses : int
        Patients, and responses from which the null response rate is rejected.
    power, type_1_error : float
        Exact.
    conventions : tuple of str
    """

    n: int
    least_responses: int
    power: float
    type_1_error: float
    conventions: tuple[str, ...]


@dataclass(frozen=True)
class TwoStage:
    """Simon's two-stage design.

    Attributes
    ----------
    most_to_stop, n_first : int
        Stops for futility with at most so many responses among the first patients: r1 / n1.
    most_to_accept, n : int
        Does not reject with at most so many responses among all: r / n.
    expected_n, stop_probability, type_1_error : float
        Under the null response.
    power : float
    conventions : tuple of str
    """

    most_to_stop: int
    n_first: int
    most_to_accept: int
    n: int
    expected_n: float
    stop_probability: float
    type_1_error: float
    power: float
    conventions: tuple[str, ...]


def _check(null_response: float, response: float, power: float, alpha: float) -> None:
    check_power(power, Level(alpha, 1))
    rule, remedy = "must be in (0, 1)", "Write 20% as 0.2."
    refuse(
        problem_unless(0 < null_response < 1, "null_response", null_response, rule, remedy),
        problem_unless(0 < response < 1, "response", response, rule, remedy),
    )
    rule, remedy = f"must be above the null response {null_response:g}", "Count the good outcome."
    refuse(problem_unless(response > null_response, "response", response, rule, remedy))


def _least_responses(n: int, null_response: float, alpha: float) -> int:
    """Return the fewest responses whose upper tail is within alpha; n + 1 for none."""
    low, high = 0, n + 1
    while high - low > 1:
        middle = (low + high) // 2
        within = bdtrc(middle - 1, n, null_response) <= alpha * (1 + 1e-9)
        low, high = (low, middle) if within else (middle, high)
    return high


def single_stage_power(null_response: float, response: float, n: int, alpha: float = 0.05) -> float:
    """Exact power of the one-sided binomial test.

    Raises
    ------
    DesignError
        If a response is outside (0, 1), or there is no patient.
    """
    _check(null_response, response, (1 + alpha) / 2, alpha)
    rule = "must be at least 1"
    refuse(problem_unless(n >= 1, "n", n, rule, "Correct the number of patients."))
    return _power(null_response, response, alpha, n)


def _power(null_response: float, response: float, alpha: float, n: int) -> float:
    return float(bdtrc(_least_responses(n, null_response, alpha) - 1, n, response))


def single_stage_size(
    null_response: float,
    response: float,
    power: float = 0.8,
    alpha: float = 0.05,
    sawtooth: Sawtooth = Sawtooth.LASTING,
) -> SingleStage:
    """Patients for the one-sided exact binomial test.

    Parameters
    ----------
    null_response, response : float
        In (0, 1), the second above the first.
    sawtooth : Sawtooth
        Power rises with size as a saw does.

    Raises
    ------
    DesignError
        If a response is impossible or not above the null, the power not above alpha, or more than
        10 million patients would be needed.

    References
    ----------
    A'Hern (2001), Statistics in Medicine 20:859-866.
    """
    _check(null_response, response, power, alpha)
    z_alpha, z_power = NormalDist().inv_cdf(1 - alpha), NormalDist().inv_cdf(power)
    deviations = z_alpha * sqrt(null_response * (1 - null_response)) + z_power * sqrt(
        response * (1 - response)
    )
    about = ceil((deviations / (response - null_response)) ** 2)
    rule, remedy = f"must not exceed {MOST_PATIENTS:,}", "State a larger difference."
    refuse(problem_unless(about <= MOST_PATIENTS, "patients", about, rule, remedy))
    at = partial(_power, null_response, response, alpha)
    scanned = _SCANNED + ceil(2 / null_response)  # two steps of the critical value
    if sawtooth is Sawtooth.LASTING:
        first = lasting_size(at, power, about, scanned)
    else:
        first = next(n for n in count(max(1, about // 2)) if at(n) >= power)
    least = _least_responses(first, null_response, alpha)
    return SingleStage(
        first,
        least,
        at(first),
        float(bdtrc(least - 1, first, null_response)),
        (
            f"one-sided, alpha {alpha:g}, exact binomial",
            f"rejects a response of {null_response:g} with at least {least} of {first}",
            f"{sawtooth} size with the power",
        ),
    )


class _Binomials:
    """Probabilities and upper tails of one response rate, by number of patients."""

    def __init__(self, response: float) -> None:
        self._response = response
        self._probability: dict[int, Floats] = {}
        self._tail: dict[int, Floats] = {}

    def probability(self, n: int) -> Floats:
        """Probability of 0 to n responses."""
        if n not in self._probability:
            k = np.arange(n + 1)
            log_choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
            p = self._response
            self._probability[n] = np.exp(log_choose + k * np.log(p) + (n - k) * np.log1p(-p))
        return self._probability[n]

    def at_least(self, n: int) -> Floats:
        """Probability of at least 0 to n + 1 responses."""
        if n not in self._tail:
            self._tail[n] = np.append(np.cumsum(self.probability(n)[::-1])[::-1], 0.0)
        return self._tail[n]

    def rejects(self, n_first: int, n: int, most: int) -> Floats:
        """Probability to go on and reject.

        Returns
        -------
        probability : ndarray, shape (most + 1, n_first)
            By r (more than r among all reject) and r1 (more than r1 among the first go on).
        """
        later = n - n_first
        needed = np.arange(most + 1)[:, None] + 1 - np.arange(n_first + 1)
        both = self.probability(n_first) * self.at_least(later)[np.clip(needed, 0, later + 1)]
        return np.cumsum(both[:, ::-1], axis=1)[:, ::-1][:, 1:]


def _two_stages(
    null: _Binomials, good: _Binomials, power: float, alpha: float, n: int, below: float
) -> Iterator[tuple[float, int, int, int]]:
    """Yield expected size, r1, n1 and r of the best designs of n patients, per n1."""
    most = int((good.at_least(n)[1:] >= power).sum()) - 1
    for n_first in range(1, n):
        stops = np.cumsum(null.probability(n_first))
        allowed = int((1 - np.cumsum(good.probability(n_first))[:-1] >= power).sum())
        if most < 0 or allowed == 0:
            continue
        if n_first + (1 - stops[allowed - 1]) * (n - n_first) >= below:
            continue
        enough = good.rejects(n_first, n, most)[:, :allowed] >= power
        within = null.rejects(n_first, n, most)[:, :allowed] <= alpha
        both = enough & within
        if both.any():
            r1 = int(np.flatnonzero(both.any(axis=0))[-1])  # the largest stops most often
            r = int(both[:, r1].argmax())
            yield float(n_first + (1 - stops[r1]) * (n - n_first)), r1, n_first, r


def simon_two_stage(
    null_response: float,
    response: float,
    criterion: SimonCriterion = SimonCriterion.OPTIMAL,
    power: float = 0.8,
    alpha: float = 0.05,
) -> TwoStage:
    """Simon's two-stage design by enumeration of all designs that could be better.

    Parameters
    ----------
    null_response, response : float
        In (0, 1), the second above the first.

    Raises
    ------
    DesignError
        If a response is impossible or not above the null, the power not above alpha, or no design
        up to 300 patients exists.

    References
    ----------
    Simon (1989), Controlled Clinical Trials 10:1-10.
    """
    _check(null_response, response, power, alpha)
    null, good = _Binomials(null_response), _Binomials(response)
    best, n_best = (inf, 0, 0, 0), 0
    for n in range(2, _MOST_TWO_STAGE + 1):
        found = min(_two_stages(null, good, power, alpha, n, best[0]), default=best)
        if found < best:
            best, n_best = found, n
        if n_best and (
            criterion is SimonCriterion.MINIMAX or _exhausted(null, good, power, n, best[0])
        ):
            break
    if not n_best:
        rule = f"must be reached with at most {_MOST_TWO_STAGE} patients"
        raise DesignError(Problem(rule, "State a larger difference.", "power", f"{power:g}"))
    expected, r1, n_first, r = best
    return TwoStage(
        most_to_stop=r1,
        n_first=n_first,
        most_to_accept=r,
        n=n_best,
        expected_n=expected,
        stop_probability=float(np.cumsum(null.probability(n_first))[r1]),
        type_1_error=float(null.rejects(n_first, n_best, r)[r, r1]),
        power=float(good.rejects(n_first, n_best, r)[r, r1]),
        conventions=(
            f"one-sided, alpha {alpha:g}, exact binomial",
            f"{criterion}: stops for futility only, with at most r1 responses",
            "rejects with more than r responses",
        ),
    )


def _exhausted(null: _Binomials, good: _Binomials, power: float, n: int, best: float) -> bool:
    """Return whether no design of more than n patients can expect fewer than the best."""
    for n_first in range(1, ceil(best)):
        allowed = int((1 - np.cumsum(good.probability(n_first))[:-1] >= power).sum())
        if allowed == 0:
            continue
        stops = float(null.probability(n_first)[:allowed].sum())
        if n_first + (1 - stops) * (max(n, n_first) + 1 - n_first) < best:
            return False
    return True
