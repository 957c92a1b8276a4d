"""Fit a scenario's hazards of response to published points, and say what they cannot determine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log, sqrt
from typing import Protocol as Shape

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import Characteristic, proportion
from trialsim.errors import Problem, RequestError, did_you_mean
from trialsim.kernels.likelihood import (
    CHI_SQUARE_1,
    Data,
    binomial_probability,
    coverage_of_interval,
    jacobian,
    maximise_from,
    null_directions,
    profile,
    profile_limits,
)
from trialsim.protocol.endpoints import ResponseEndpoint
from trialsim.protocol.published.cautions import assumption, cautions_about
from trialsim.protocol.scenario import Scenario
from trialsim.protocol.truths.course import DAYS_PER_YEAR
from trialsim.protocol.truths.points import (
    CountPoint,
    OddsRatioPoint,
    Point,
    Points,
    RatePoint,
    points_from_words,
)
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.streams import Decision, Streams
from trialsim.studies.fitted.course_model import LEAST_HAZARD, CourseModel, Parameter, course_model
from trialsim.trial import Measure, Row, StudyResult

__all__ = [
    "CalibrationRequest",
    "CalibrationWords",
    "Estimate",
    "FittedPoint",
    "PlannedCalibration",
    "calibration_request",
    "plan_calibration",
]

Floats = NDArray[np.float64]
_ARMS = ("control", "treated")  # groups of hazards
_N_STARTS = 12
_MOST_TABLES = 6_000  # to be enumerated; a second's work
_N_STARTS_OF_MANY = 3  # for simulated data with several maxima
_ENOUGH = 1e-8  # gained by a step, relative, where only 3.84 has to be told
_LEFT_OUT = 2e-5  # of the probability, per count


@dataclass(frozen=True)
class CalibrationRequest:
    """What is asked.

    Attributes
    ----------
    to : tuple of str
        ``RECORD``, ``RECORD:RESULT``, ...
    free : tuple of str
        Groups (control, treated, relapse, delay) or names of parameters.
    scenario : str or None
        Left out, the first with an effect.
    accept_flat : bool
        Fit more parameters than points all the same.
    """

    to: tuple[str, ...]
    free: tuple[str, ...] = ("control", "treated")
    scenario: str | None = None
    accept_flat: bool = False


class CalibrationWords(Shape):
    """What was typed."""

    to: list[str]
    free: str | None
    scenario: str | None
    accept_flat: bool


def calibration_request(words: CalibrationWords) -> CalibrationRequest:
    """Read what was typed (RequestError where nothing was)."""
    if not words.to:
        remedy = "Write for example --to chien-1998:complete-response-18mo."
        raise RequestError(Problem("needs published results to fit to", remedy, "--to"))
    free: tuple[str, ...] = ("control", "treated")
    if words.free is not None:
        free = tuple(word.strip() for word in words.free.split(",") if word.strip())
    return CalibrationRequest(tuple(words.to), free, words.scenario, words.accept_flat)


@dataclass(frozen=True)
class Estimate:
    """A fitted parameter, in the unit it is shown in.

    Attributes
    ----------
    value : float
        Where the likelihood still rises at the largest hazard there may be, that one.
    lower, upper : float or None
        95% profile interval; None where the likelihood does not fall far enough on that side.
    determined : bool
        False where points fix it only together with others, or not at all.
    coverage, mcse : float or None
        How often such an interval holds the truth, were the estimates true, at these sizes; without
        error where it was enumerated.
    """

    parameter: Parameter
    value: float
    lower: float | None
    upper: float | None
    determined: bool
    coverage: float | None = None
    mcse: float | None = None

    @property
    def at_most(self) -> bool:
        """Whether the likelihood still rises at the largest value there may be."""
        return self.value >= 0.999 * self.parameter.shown(self.parameter.high)


@dataclass(frozen=True)
class FittedPoint:
    """A point, what was seen and what the fit says.

    Attributes
    ----------
    seen, fitted : float
        A share of patients, a log odds ratio or a log rate per year.
    residual : float
        Deviance residual.
    coverage : float or None
        Of a likelihood interval of this one proportion, by enumeration.
    """

    point: Point
    seen: float
    fitted: float
    residual: float
    coverage: float | None


def plan_calibration(resolved: ResolvedTemplate, request: CalibrationRequest) -> PlannedCalibration:
    """Decide what is fitted to what.

    Raises
    ------
    RequestError
        For points or parameters that are not there, more parameters than points, or counts no
        course can give; all at once where possible.
    """
    primary = resolved.template.protocol.primary
    if not isinstance(primary, ResponseEndpoint):
        rule = f"fits courses of response; the primary endpoint is of kind {primary.kind}"
        remedy = (
            "State its risks directly: as_observed: RECORD, or control_risk and effect, each with "
            "its source."
        )
        raise RequestError(Problem(rule, remedy, "calibrate"))
    scenarios = resolved.scenarios([request.scenario] if request.scenario else ())
    with_effect = [s for s in scenarios if s.response and s.response.treated]
    scenario = (with_effect or list(scenarios))[0]
    points = points_from_words(request.to, resolved.template, resolved.evidence)
    model = course_model(resolved, scenario)
    free = _free(request, model, points)
    planned = PlannedCalibration(resolved, request, scenario, points, model, free)
    planned.check()
    return planned


def _free(request: CalibrationRequest, model: CourseModel, points: Points) -> tuple[int, ...]:
    """Return the parameters to fit: those named, and of a group those a point speaks of."""
    names = [p.name for p in model.parameters]
    found: set[int] = set()
    for word in request.free:
        if word in _ARMS:
            found |= {
                i
                for i, p in enumerate(model.parameters)
                if p.arm == word
                and p.piece >= 0
                and not p.is_delay
                and _spoken_of(i, model, points)
            }
        elif word in names:
            found.add(names.index(word))
        else:
            known = [*_ARMS, *names]
            remedy = did_you_mean(word, known, f"It has {', '.join(known)}.")
            raise RequestError(
                Problem("is no parameter of this scenario", remedy, "--free", f"'{word}'")
            )
    if not found:
        rule = "leaves nothing to fit: no point speaks of it"
        raise RequestError(
            Problem(
                rule, "Name other parameters, or other points.", "--free", ",".join(request.free)
            )
        )
    return tuple(sorted(found))


def _spoken_of(index: int, model: CourseModel, points: Points) -> bool:
    """Whether a point speaks of a hazard; an odds ratio alone says nothing of a control arm."""
    parameter = model.parameters[index]
    arms = ["treated", "both"] if parameter.arm == "treated" else ["control"]
    if index in {slot for _, slot in model.treated}:  # perhaps a control arm's, borrowed
        arms.append("treated")
    return any(
        point.arm in arms and (isinstance(point, RatePoint) or point.day > parameter.start)
        for point in points.points
    )


@dataclass(frozen=True)
class PlannedCalibration:
    """A scenario, its free parameters and the points they are fitted to."""

    resolved: ResolvedTemplate
    request: CalibrationRequest
    scenario: Scenario
    points: Points
    model: CourseModel
    free: tuple[int, ...]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The free ones."""
        return tuple(self.model.parameters[index] for index in self.free)

    @cached_property
    def counts(self) -> tuple[CountPoint, ...]:
        """The points that are counts."""
        return tuple(p for p in self.points.points if isinstance(p, CountPoint))

    @cached_property
    def others(self) -> tuple[OddsRatioPoint | RatePoint, ...]:
        """The points that are estimates."""
        return tuple(p for p in self.points.points if not isinstance(p, CountPoint))

    @cached_property
    def nested(self) -> bool:
        """Whether who is in response stays so, and is seen to be."""
        model = self.model
        stays = model.index("relapse") not in self.free and self.values[model.index("relapse")] == 0
        return bool(stays and model.leaving == 0 and model.missed == 0)

    @cached_property
    def concave(self) -> bool:
        """Whether the likelihood has one maximum: counts of lasting responses, hazards alone."""
        hazards_alone = not any(p.is_delay for p in self.parameters)
        return self.nested and hazards_alone and not self.others

    @cached_property
    def values(self) -> Floats:
        """What the scenario states."""
        return self.model.values()

    @cached_property
    def again(self) -> tuple[str, ...]:
        """What is assumed of patients counted twice, where a response may be lost."""
        if self.nested or all(index is None for index in self.before):
            return ()
        return (
            "Counts of the same patients at several times are taken as independent, since how many "
            "responded twice is not published.",
        )

    @cached_property
    def before(self) -> tuple[int | None, ...]:
        """For each count, the earlier count of the same patients."""
        found: list[int | None] = []
        for index, point in enumerate(self.counts):
            same = [
                i
                for i, other in enumerate(self.counts[:index])
                if (other.record, other.arm, other.n) == (point.record, point.arm, point.n)
            ]
            found.append(same[-1] if same else None)
        return tuple(found)

    def check(self) -> None:
        """Refuse counts that fall and parameters without points (RequestError)."""
        problems = []
        for point, index in zip(self.counts, self.before, strict=True):
            earlier = None if index is None else self.counts[index]
            if self.nested and earlier and point.events < earlier.events:
                rule = (
                    f"has fewer in response in the {point.arm} arm ({point.seen}) than before "
                    f"({earlier.seen}), which is impossible without relapse"
                )
                remedy = f"Add relapse to what is fitted: --free {self._freed('relapse')}."
                field = f"--to {point.record}:{point.result}"
                problems.append(Problem(rule, remedy, field))
        n_points = len(self.points.points)
        if len(self.free) > n_points and not self.request.accept_flat and not problems:
            kept = [self.parameters[i].name for i in self.determinable]
            left = [p.name for p in self.parameters if p.name not in kept]
            names = ", ".join(p.name for p in self.parameters)
            plural = "s" if n_points > 1 else ""
            rule = f"asks for {len(self.free)} parameters ({names}) of {n_points} point{plural}"
            remedy = (
                f"Hold {', '.join(left)} as the scenario has "
                f"{'it' if len(left) == 1 else 'them'}: --free {','.join(kept)}. Or add points, or "
                "--accept-flat to see what stays open."
            )
            problems.append(Problem(rule, remedy, "--free"))
        if problems:
            raise RequestError(problems)

    def _freed(self, name: str) -> str:
        return ",".join([*(p.name for p in self.parameters), name])

    @property
    def low(self) -> Floats:
        """Least logarithm of every free parameter."""
        return np.log([p.low for p in self.parameters])

    @property
    def high(self) -> Floats:
        """Largest."""
        return np.log([p.high for p in self.parameters])

    def natural(self, theta: Floats, free: Sequence[int] | None = None) -> Floats:
        """Return values of all parameters, shape (n_sets, n_parameters)."""
        values = np.tile(self.values, (len(theta), 1))
        values[:, list(self.free if free is None else free)] = np.exp(theta)
        return values

    def terms(self, theta: Floats, free: Sequence[int] | None = None) -> tuple[Floats, Floats]:
        """Return probabilities of the counts' terms, and means of the estimates.

        Where responses last, a later count of the same patients is one of those who had no response
        by the earlier one.
        """
        values = self.natural(theta, free)
        p = np.empty((len(theta), len(self.counts)))
        for arm, (places, since, until) in self.asked.items():
            _, response, hazard = self.model.between(arm, values, since, until)
            seen = -np.expm1(-hazard) if self.nested else (1 - self.model.missed) * response
            p[:, places] = seen
        return p, self.means(values)

    @cached_property
    def asked(self) -> dict[str, tuple[list[int], Floats, Floats]]:
        """By arm: which counts, and between which days their terms speak of."""
        found = {}
        for arm in dict.fromkeys(point.arm for point in self.counts):
            places = [i for i, point in enumerate(self.counts) if point.arm == arm]
            earlier = [self.before[i] if self.nested else None for i in places]
            since = [0.0 if before is None else self.counts[before].day for before in earlier]
            until = [self.counts[i].day for i in places]
            found[arm] = (places, np.array(since), np.array(until))
        return found

    def means(self, values: Floats) -> Floats:
        """Return what odds ratios and rates would be, on the log scale."""
        found = np.empty((len(values), len(self.others)))
        for index, point in enumerate(self.others):
            if isinstance(point, OddsRatioPoint):
                day = np.array([point.day])
                c, t = (
                    np.clip(self.model.response(arm, values, day)[:, 0], 1e-300, 1 - 1e-16)
                    for arm in ("control", "treated")
                )
                found[:, index] = np.log(t) - np.log1p(-t) - np.log(c) + np.log1p(-c)
            else:
                end = self.model.control[-1][0]
                _, _, hazard = self.model.between("control", values, np.zeros(1), np.array([end]))
                yearly = np.maximum(hazard[:, 0] / end * DAYS_PER_YEAR, 1e-300)
                found[:, index] = np.log(yearly)
        return found

    @cached_property
    def data(self) -> Data:
        """What was seen, as one data set."""
        events = np.array([[float(p.events) for p in self.counts]]).reshape(1, -1)
        seen = np.array([[p.value for p in self.others]]).reshape(1, -1)
        return self.data_of(events, seen)

    def data_of(self, events: Floats, estimates: Floats) -> Data:
        """Return data sets from counts, shape (n_sets, n_counts), and estimates."""
        n = np.tile([float(p.n) for p in self.counts], (len(events), 1)).reshape(len(events), -1)
        own = events.copy()
        for index, before in enumerate(self.before):
            if self.nested and before is not None:
                own[:, index] = events[:, index] - events[:, before]
                n[:, index] = n[:, index] - events[:, before]
        return Data(own, n, estimates, np.array([p.error for p in self.others]))

    @cached_property
    def starts(self) -> Floats:
        """Where the search starts: as the scenario has it, and places spread between bounds."""
        own = np.array([p.value for p in self.parameters])
        least = np.array([p.low if p.is_delay else 1e-6 for p in self.parameters])
        most = np.array([p.high if p.is_delay else 0.1 for p in self.parameters])
        first = np.log(np.clip(own, least, most))
        steps = np.arange(1, _N_STARTS)[:, None] * np.sqrt([2, 3, 5, 7, 11, 13, 17, 19])[None, :]
        k = len(own)
        spread = np.tile(steps % 1, (1, k // 8 + 1))[:, :k]
        places = np.log(least) + spread * (np.log(most) - np.log(least))
        alone = first + np.diag(np.log(most) - first)  # one at a time as fast as can be
        return np.vstack([first, places, alone])[None]

    @cached_property
    def best(self) -> Floats:
        """Logarithms of the free parameters where the likelihood is largest."""
        theta, _ = maximise_from(self.terms, self.data, self.starts, self.low, self.high)
        return np.asarray(theta[0])

    @cached_property
    def fitted(self) -> Floats:
        """Values of all parameters there, shape (1, n_parameters); 0 for what may be 0."""
        values = self.natural(self.best[None])
        hazards = np.array([not p.is_delay for p in self.model.parameters])
        return np.where(hazards & (values <= 1.001 * LEAST_HAZARD), 0.0, values)

    def slopes(self, free: Sequence[int]) -> Floats:
        """Return how what the points see changes with parameters, at a place off all bounds.

        Counts count as cumulative hazards, in which models without relapse are linear.
        """
        chosen = [self.model.parameters[i] for i in free]
        found = []
        for shift in (1.0, 1.37):
            at = [
                min(max(self.values[i] * shift**n, 1e-4), 3e-3)
                if not p.is_delay
                else p.low + (p.high - p.low) * 0.45 * shift
                for n, (i, p) in enumerate(zip(free, chosen, strict=True))
            ]
            theta = np.log(np.array([at]))

            def model(theta: Floats) -> tuple[Floats, Floats]:
                p, means = self.terms(theta, free)
                return -np.log1p(-p), means

            of_counts, of_means = jacobian(model, theta)
            found.append(np.vstack([of_counts[0], of_means[0]]))
        return min(found, key=lambda j: null_directions(j).shape[1])

    @cached_property
    def flat(self) -> Floats:
        """Directions of the free parameters the points do not see."""
        return null_directions(self.slopes(self.free))

    @cached_property
    def determinable(self) -> tuple[int, ...]:
        """The first free parameters that points can fix together, as places among the free."""
        kept: list[int] = []
        for place in range(len(self.free)):
            trial = [self.free[i] for i in (*kept, place)]
            if null_directions(self.slopes(trial)).shape[1] == 0:
                kept.append(place)
        return tuple(kept)

    @cached_property
    def undetermined(self) -> tuple[int, ...]:
        """Places among the free parameters of those that points do not fix one by one."""
        if self.flat.shape[1] == 0:
            return ()
        share = (self.flat**2).sum(axis=1)
        return tuple(int(i) for i in np.flatnonzero(share > 1e-6))

    @cached_property
    def limits(self) -> tuple[Floats, Floats]:
        """Profile limits of the free parameters, logarithms; NaN for none."""
        more = None if self.concave or self.undetermined else self.starts[0]
        return profile_limits(self.terms, self.data, self.best, self.low, self.high, more)

    def estimates(self, replicates: int = 0, seed: int = 1) -> tuple[Estimate, ...]:
        """Return the fit, and with `replicates` how often such intervals hold the truth."""
        lower, upper = self.limits
        covered = self.coverage(replicates, seed) if replicates else [None] * len(self.free)
        found = []
        for place, p in enumerate(self.parameters):
            ends = [
                None if np.isnan(end[place]) else p.shown(exp(end[place])) for end in (lower, upper)
            ]
            held = covered[place]
            if ends[0] is None and not p.is_delay and ends[1] is not None:
                ends[0] = 0.0
            found.append(
                Estimate(
                    p,
                    p.shown(exp(self.best[place])),
                    ends[0],
                    ends[1],
                    place not in self.undetermined,
                    None if held is None else held.value,
                    None if held is None else held.mcse,
                )
            )
        return tuple(found)

    def coverage(self, replicates: int, seed: int) -> list[Characteristic | None]:
        """Return how often an interval holds the fit, in data of the published sizes made by it.

        An interval holds the truth where twice the log-likelihood lost by it is at most 3.84. All
        tables are enumerated where there are few, else data are simulated. None for parameters that
        points do not fix.
        """
        if len(self.undetermined) == len(self.free):
            return [None] * len(self.free)
        tables = self.tables()
        if tables is None:
            rng = Streams(seed).generator(Decision.CALIBRATION, 0)
            data = self.data_of(*self.simulated(rng, replicates))
            rows = np.hstack([data.events, data.n, data.estimates])
            _, first, back = np.unique(rows, axis=0, return_index=True, return_inverse=True)
            back = back.ravel()
            sets = data.at(first)
        else:
            sets = self.data_of(tables[0], np.zeros((len(tables[0]), 0)))
        truth = np.clip(self.best, np.log(1e-9), None)
        others = self.starts[0][1 : 2 if self.concave else _N_STARTS_OF_MANY]
        starts = np.vstack([truth, others])
        starts = np.broadcast_to(starts, (len(sets.n), *starts.shape))
        best, top = maximise_from(self.terms, sets, starts, self.low, self.high, gain_left=_ENOUGH)
        near = np.stack([best, np.broadcast_to(truth, best.shape)], axis=1)
        near = near[:, : 1 if self.concave else 2]
        held_at: dict[int, Floats] = {}
        for place in range(len(self.free)):
            if place not in self.undetermined:
                index, at = np.full(len(best), place), np.full(len(best), self.best[place])
                _, held_at[place] = profile(
                    self.terms, sets, near, index, at, self.low, self.high, _ENOUGH
                )
        top = np.max([top, *held_at.values()], axis=0)  # a search may have missed the maximum
        found: list[Characteristic | None] = []
        for place in range(len(self.free)):
            if place not in held_at:
                found.append(None)
                continue
            held = 2 * (top - held_at[place]) <= CHI_SQUARE_1 + 1e-9
            if tables is None:
                found.append(proportion(Measure.COVERAGE, held[back]))
            else:
                exact = float(tables[1][held].sum() / tables[1].sum())
                found.append(Characteristic(Measure.COVERAGE, exact, None, len(best)))
        return found

    def tables(self) -> tuple[Floats, Floats] | None:
        """Return all tables of counts the fit makes, and their probabilities; None where many.

        The least probable are left out, 1e-4 together.

        Returns
        -------
        events : ndarray, shape (n_tables, n_counts)
        probabilities : ndarray, shape (n_tables,)
        """
        if self.others or not (self.nested or all(b is None for b in self.before)):
            return None
        q, _ = self.terms(np.where(self.fitted[:, self.free] > 0, self.best, self.low))
        events, mass = np.zeros((1, 0)), np.ones(1)
        for index, (point, before) in enumerate(zip(self.counts, self.before, strict=True)):
            earlier = np.zeros(len(events)) if before is None else events[:, before]
            new = np.arange(point.n + 1.0)
            left = point.n - earlier[:, None]
            chance = mass[:, None] * binomial_probability(new[None], left, float(q[0, index]))
            row, column = np.nonzero(chance > 1e-12)
            events = np.column_stack([events[row], earlier[row] + new[column]])
            mass = chance[row, column]
            order = np.argsort(-mass, kind="stable")
            kept = order[: int(np.searchsorted(np.cumsum(mass[order]), 1 - _LEFT_OUT)) + 1]
            events, mass = events[kept], mass[kept]
            if len(mass) > _MOST_TABLES:
                return None
        return events, mass

    def simulated(self, rng: np.random.Generator, n_sets: int) -> tuple[Floats, Floats]:
        """Draw counts of patients who come and go, and estimates, from the fit.

        Returns
        -------
        events : ndarray, shape (n_sets, n_counts)
        estimates : ndarray, shape (n_sets, n_estimates)
        """
        events = np.zeros((n_sets, len(self.counts)))
        states: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        relapse = self.fitted[0, self.model.index("relapse")] + self.model.leaving
        for index, (point, before) in enumerate(zip(self.counts, self.before, strict=True)):
            since = 0.0 if before is None else self.counts[before].day
            none = np.full(n_sets, point.n) if before is None else states[before][0]
            old = np.zeros(n_sets, dtype=np.int64) if before is None else states[before][1]
            stay, reach, _ = self.model.between(
                point.arm, self.fitted, np.array([since]), np.array([point.day])
            )
            shares = np.clip([reach[0, 0], stay[0, 0]], 0.0, 1.0)
            drawn = rng.multinomial(none, [*shares, max(0.0, 1 - shares.sum())])
            response = drawn[:, 0] + rng.binomial(old, exp(-relapse * (point.day - since)))
            states[index] = (drawn[:, 1], response)
            events[:, index] = rng.binomial(response, 1 - self.model.missed)
        errors = np.array([p.error for p in self.others])
        normal = rng.standard_normal((n_sets, len(self.others)))
        return events, self.means(self.fitted) + errors * normal

    @cached_property
    def fitted_points(self) -> tuple[FittedPoint, ...]:
        """Every point beside what the fit says of it."""
        found = []
        for point in self.counts:
            p = float(self.model.response(point.arm, self.fitted, np.array([point.day]))[0, 0])
            seen = point.events / point.n
            covered = coverage_of_interval(point.n, p) if 0 < p < 1 else None
            residual = _deviance_residual(point.events, point.n, p)
            found.append(FittedPoint(point, seen, p, residual, covered))
        for other, mean in zip(self.others, self.means(self.fitted)[0], strict=True):
            residual = (other.value - float(mean)) / other.error
            found.append(FittedPoint(other, other.value, float(mean), residual, None))
        return tuple(found)

    def profiles(self) -> list[tuple[Parameter, Floats, Floats]]:
        """Return, per free parameter, values in its unit and twice the log-likelihood lost."""
        found = []
        lower, upper = self.limits
        for place, p in enumerate(self.parameters):
            best = self.best[place]
            ends = [
                np.clip(best + side * 3, self.low[place], self.high[place])
                if np.isnan(end)
                else best + 1.5 * (end - best)
                for side, end in ((-1, lower[place]), (1, upper[place]))
            ]
            at = np.clip(np.linspace(ends[0], ends[1], 41), self.low[place], self.high[place])
            zero, index = np.zeros(41, dtype=np.intp), np.full(41, place)
            near = np.vstack([self.best, self.starts[0][: 0 if self.concave else None]])
            near = np.broadcast_to(near, (41, *near.shape))
            theta = self.best[None, None]
            _, top = maximise_from(self.terms, self.data, theta, self.low, self.high)
            _, value = profile(self.terms, self.data.at(zero), near, index, at, self.low, self.high)
            shown = np.array([p.shown(x) for x in np.exp(at)])
            found.append((p, shown, 2 * (top[0] - value)))
        return found

    def result(self, *, replicates: int = 2_000, seed: int = 1, made_by: str = "") -> StudyResult:
        """Fit, and say what is known and what is not.

        Parameters
        ----------
        replicates : int
            Data sets simulated from the fit, for the coverage of its intervals.
        seed : int
        made_by : str
            The command, written into the scenario.
        """
        from trialsim.studies.fitted.calibration_words import (
            misfit_in_words,
            scenario_block,
            undetermined_in_words,
        )

        estimates = self.estimates(replicates, seed)
        rows = [row for estimate in estimates for row in self._rows_of(estimate, replicates)]
        cited = self.points.records
        notes = [assumption(note, self.scenario.id) for note in (*self.points.assumed, *self.again)]
        open_ones, misfit = undetermined_in_words(self, estimates), misfit_in_words(self)
        return StudyResult(
            rows=tuple(rows),
            observed=tuple(row for point in self.fitted_points for row in self._rows_at(point)),
            texts={
                **({"misfit": misfit} if misfit else {}),
                **{f"undetermined-{i + 1}": text for i, text in enumerate(open_ones)},
                "scenarios": scenario_block(self, estimates, made_by),
            },
            warnings=(*cautions_about(cited, self.resolved.evidence), *notes),
            figure_data={"estimates": estimates},
            n_replicates=replicates,
        )

    def _rows_of(self, estimate: Estimate, replicates: int) -> list[Row]:
        p = estimate.parameter
        measure = Measure.DELAY if p.is_delay else Measure.HAZARD
        blank = Row(
            measure=measure,
            value=None,
            scenario=self.scenario.id,
            variant=self.resolved.variant or None,
            arm=None if p.arm == "both" else p.arm,
            analysis=p.name,
            unit=p.unit,
        )
        why = "the likelihood rises up to this bound" if estimate.at_most else None
        why = why if estimate.determined else "the points do not determine it"
        value = estimate.value if estimate.determined else None
        ends = {"lower": estimate.lower, "upper": estimate.upper, "level": 0.95}
        rows = [replace(blank, value=value, why=why, **ends)]  # type: ignore[arg-type]
        if estimate.coverage is not None:
            rows.append(
                replace(
                    blank,
                    measure=Measure.COVERAGE,
                    value=estimate.coverage,
                    mcse=estimate.mcse,
                    n_replicates=replicates if estimate.mcse is not None else None,
                    analysis=f"{p.name}, {'enumerated' if estimate.mcse is None else 'simulated'}",
                    level=0.95,
                    unit=None,
                )
            )
        return rows

    def _rows_at(self, found: FittedPoint) -> list[Row]:
        point = found.point
        what = {
            CountPoint: "risk",
            OddsRatioPoint: "log odds ratio",
            RatePoint: "log rate per year",
        }
        blank = Row(
            measure=Measure.ESTIMATE,
            value=found.seen,
            scenario=self.scenario.id,
            evidence=point.record,
            arm=None if point.arm == "both" else point.arm,
            analysis=point.result or None,
            scale=what[type(point)],
            horizon=None if isinstance(point, RatePoint) else f"{point.day:g} d",
            status=point.status.value,
        )
        rows = [
            blank,
            replace(blank, measure=Measure.FITTED, value=found.fitted, status=None),
            replace(blank, measure=Measure.RESIDUAL, value=found.residual, status=None),
        ]
        if found.coverage is not None:
            exact = "interval of this one proportion, by enumeration"
            rows.append(
                replace(
                    blank,
                    measure=Measure.COVERAGE,
                    value=found.coverage,
                    level=0.95,
                    analysis=exact,
                    scale=None,
                    status=None,
                )
            )
        return rows


def _deviance_residual(events: float, n: int, p: float) -> float:
    """Return the signed root of twice the log-likelihood a count loses by the fit."""

    def part(x: float, expected: float) -> float:
        return x * log(x / expected) if x > 0 and expected > 0 else 0.0

    lost = 2 * (part(events, n * p) + part(n - events, n * (1 - p)))
    return sqrt(max(lost, 0.0)) * (1 if events >= n * p else -1)
