"""How many patients, where no formula says: stochastic root-finding on the power curve.

Along the root of the size, the probit of power is close to a straight line: for one normal
statistic with drift d per root of a patient, power is Phi(d sqrt(n) - z), z the critical value. A
few replicates at sizes on both sides of where power reaches its target determine the line there;
the sizes of the next round follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from trialsim.analyse.looks import stop
from trialsim.characteristics import Z95, proportion
from trialsim.engine.blocks import Job
from trialsim.engine.run import check_request, run
from trialsim.engine.workers import Workers
from trialsim.errors import DesignError, Problem, RequestError
from trialsim.kernels.proportions import wilson_interval
from trialsim.protocol.design import MAX_PATIENTS, Look, SampleSize
from trialsim.protocol.endpoints import TimeToEventEndpoint
from trialsim.protocol.scenario import Truth
from trialsim.sizing.fixed import Allocation, Level, check_power, problem_unless, refuse
from trialsim.sizing.proportions import TwoProportions, proportions_size
from trialsim.sizing.survival import events_required
from trialsim.trial import Measure

__all__ = ["PowerPoint", "SimulatedSize", "at_size", "size_by_simulation"]

Floats = NDArray[np.float64]

_FIRST = 256  # replicates at one size while the root is being enclosed: one block
_ROUNDS = 40  # of any kind, before the search is given up
_NEAR = 1.5  # sizes within this factor of the root take part in the last fits
_PROBE = 1_000  # added to the number of a round that looks far beyond the root
_FAR = 4.0  # a round moves at most by this factor
_SPREAD = 0.25  # of sizes around the root, in probits: 72% to 86% power around 80%
_SIZES = 16  # of a round, at most: many, so that the teeth of a saw cancel
_PRIOR_SD = 0.5  # of the line's height at size 0, in probits, around its value by theory
_MARGIN = 1.05  # replicates beyond those needed at the root, for the spread around it
_MOST_WORK = 4.0  # times the replicates needed, before the search is given up
_MOST_PER_UNIT = 20  # patients of an arm in an allocation unit, as in a stated ratio
_UNIT_SHARE = 0.42  # a root finer than this share of an allocation unit does not change the size
_PHI = NormalDist()


@dataclass(frozen=True)
class PowerPoint:
    """What replicates of one size found.

    Attributes
    ----------
    total : int
        Patients.
    rejections, n_replicates : int
        Of replicates that could be analysed.
    n_failed : int
        Replicates that could not.
    """

    total: int
    rejections: int
    n_replicates: int
    n_failed: int = 0


@dataclass(frozen=True)
class SimulatedSize:
    """The smallest size with a power, found by simulation.

    Attributes
    ----------
    n_treated, n_control : int
        Planned patients; in expectation where allocation leaves arm sizes to chance.
    power_simulated, mcse : float
        Of a confirming run at this size, on replicates that the search has not seen.
    n_replicates, n_failed : int
        Of the confirming run: analysed, and left out.
    replicates_searched : int
        Used before, failed ones included.
    points : tuple of PowerPoint
        Every size tried, in rising order, for a power curve.
    intercept, slope : float
        Fitted near the size: the probit of power is intercept + slope * sqrt(total).
    interval : (float, float)
        95%, of the unrounded total, by the delta method.
    conventions : tuple of str
        Every choice on which the numbers depend.
    """

    total: int
    n_treated: int
    n_control: int
    power_simulated: float
    mcse: float
    n_replicates: int
    n_failed: int
    replicates_searched: int
    points: tuple[PowerPoint, ...]
    intercept: float
    slope: float
    interval: tuple[float, float]
    conventions: tuple[str, ...]


def size_by_simulation(
    job: Job,
    truth: Truth,
    *,
    power: float,
    seed: int,
    tolerance: float = 0.0045,
    confirming: int = 10_000,
    workers: Workers = 1,
) -> SimulatedSize:
    """Find the smallest total at which the job's first plan rejects with a probability.

    Parameters
    ----------
    job : Job
        Its protocol at any size; a formula's size is better to start from where there is one.
    truth : Truth
        One of the job's.
    power : float
        P(reject at any look), bounds for futility heeded, in either direction of a two-sided
        test. In (alpha, 1).
    seed : int
        The same gives the same answer, whatever the workers.
    tolerance : float
        Standard error of power at the unrounded size that is aimed at, with about
        power (1 - power) / tolerance^2 replicates. The default keeps the true power within 0.01
        of its target in 95 of 100 searches, rounding included (measured:
        validation/test_size_by_simulation_at_length.py). Less is aimed at where whole units are
        coarser.
    confirming : int
        Replicates of the run at the size found, on the job's own streams: simulating the protocol
        at that size with the same seed repeats it.
    workers : int, Executor or Cluster
        An executor is started once, processes of our own in each of about four rounds.

    Raises
    ------
    DesignError
        If power is not in (alpha, 1), the truth is no effect, the target is not reached with the
        most patients a protocol can have, or power does not rise to it with size; if sizes that
        cannot be scaled are stated.
    RequestError
        If the truth is not one of the job's, or a number is out of range.

    Notes
    -----
    Each round fits probit(power) = a + b sqrt(n) by penalised maximum likelihood to the sizes
    near the current root (Wu 1985), and places the next sizes evenly around it: there the root
    hardly depends on the slope, and its variance is near the least possible,
    power (1 - power) / replicates on the scale of power.

    Every size of every round has random streams of its own. With common ones the errors on both
    sides of the root would no longer cancel: with 8,192 replicates on 16 sizes, the standard
    deviation of the root was 61 patients instead of 14, and the slope no more certain.
    Probabilistic bisection (Waeber, Frazier and Henderson 2013) needed four times the replicates
    for the same share of sizes within 0.01 of the target.

    Where a unit moves power in teeth of more than 0.01 (fewer than about 100 patients), the
    smooth line may be a unit or two from the first size that has the power: look at
    `power_simulated`, or enumerate (`trialsim.sizing.proportions.exact_proportions_size`).

    References
    ----------
    Wu (1985), Journal of the American Statistical Association 80:974-984: maximum likelihood
    recursion for a quantile of a binary response. McCullagh and Nelder (1989), Generalized Linear
    Models, section 2.5: iteratively reweighted fit. Finney (1971), Probit Analysis: the probit
    line. Waeber, Frazier and Henderson (2013), SIAM Journal on Control and Optimization
    51:2261-2279.
    """
    _check(job, truth, power, tolerance)
    check_request(confirming, seed, option="confirming")
    own = replace(job, plans=job.plans[:1], truths=(truth,))
    scale = _Scale(sum(job.protocol.ratio), power, Level(own.plans[0].alpha, own.plans[0].sides))

    def simulate(totals: Sequence[int], n_replicates: int, step: int) -> list[PowerPoint]:
        # A stream is known by its unit: these are met by no other run, and by no other point.
        jobs = [
            replace(at_size(own, total), unit=f"{job.unit} size, round {step}, point {index}")
            for index, total in enumerate(totals)
        ]
        return _simulated(jobs, n_replicates, seed, workers)

    tolerance = _finest(tolerance, power, scale.level)
    found = _Search(scale, simulate, tolerance).root_from(_guess(own, truth, power))
    total = scale.rounded(found.root)
    sized = at_size(own, total)
    (confirmed,) = _simulated([sized], confirming, seed, workers)
    _check_confirmed(confirmed, found, scale, tolerance)
    rate = proportion(Measure.POWER, np.arange(confirmed.n_replicates) < confirmed.rejections)
    assert rate.value is not None
    assert rate.mcse is not None
    n_treated, n_control = sized.protocol.arm_sizes
    return SimulatedSize(
        total=total,
        n_treated=n_treated,
        n_control=n_control,
        power_simulated=rate.value,
        mcse=rate.mcse,
        n_replicates=confirmed.n_replicates,
        n_failed=confirmed.n_failed,
        replicates_searched=sum(p.n_replicates + p.n_failed for p in found.points),
        points=_added_up(found.points),
        intercept=found.line.intercept,
        slope=found.line.slope,
        interval=found.interval,
        conventions=_conventions(own, scale),
    )


# -- the trial at another size -------------------------------------------------------------------


def at_size(job: Job, total: int) -> Job:
    """Return the job with another number of patients, looks in proportion.

    Parameters
    ----------
    total : int
        A whole number of allocation units.
    """
    protocol = job.protocol
    factor = total / protocol.n_total
    looks = tuple(_scaled(look, factor, total) for look in protocol.looks)
    sizes = SampleSize(total=total)
    if stated := protocol.sample_size.per_arm:
        sizes = SampleSize(per_arm={arm: round(n * factor) for arm, n in stated.items()})
    resized = protocol.model_copy(update={"sample_size": sizes, "looks": looks})
    plans = tuple(
        replace(plan, n_total=total, looks=looks if plan.looks else ()) for plan in job.plans
    )
    return replace(job, protocol=resized, plans=plans)


def _scaled(look: Look, factor: float, total: int) -> Look:
    """Scale what a look counts; shares of information and dates stay."""
    counts = {
        name: min(total, max(1, ceil(count * factor - 1e-9)))
        for name in ("events", "enrolled")
        if (count := getattr(look.at, name)) is not None
    }
    return look.model_copy(update={"at": look.at.model_copy(update=counts)}) if counts else look


def _simulated(
    jobs: Sequence[Job], n_replicates: int, seed: int, workers: Workers
) -> list[PowerPoint]:
    found = []
    for simulation in run(jobs, n_replicates=n_replicates, seed=seed, workers=workers):
        job = simulation.job
        final = stop(simulation.results[0][0], job.plans[0]).final
        ok = ~final.failed[:, 0]
        rejections, n = int(final.rejected[ok, 0].sum()), int(ok.sum())
        found.append(PowerPoint(job.protocol.n_total, rejections, n, n_replicates - n))
    return found


def _guess(job: Job, truth: Truth, power: float) -> float:
    """Return a total to start from: by formula, else the protocol's own."""
    protocol, plan = job.protocol, job.plans[0]
    level, allocation = Level(plan.alpha, plan.sides), Allocation(*protocol.ratio)
    try:
        if not isinstance(protocol.primary, TimeToEventEndpoint):
            control, treated = truth.risks_on(plan.day, plan.counted)
            design = TwoProportions(treated, control)
            return proportions_size(design, power, level, allocation).total_unrounded
        ratio = truth.lifetimes.constant_ratio if truth.lifetimes else None
        events = plan.looks[-1].at.events if plan.looks else None
        if ratio and events:
            needed = events_required(ratio, power=power, level=level, allocation=allocation)
            return protocol.n_total * needed.events_unrounded / events
    except DesignError:
        pass  # what the formula refuses may still be simulated
    return float(protocol.n_total)


# -- the line and its root -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Scale:
    """Sizes that can be asked for, the target, and what theory says of the line.

    Attributes
    ----------
    unit : int
        Patients in an allocation unit.
    """

    unit: int
    power: float
    level: Level

    @property
    def target(self) -> float:
        """Probit of the target."""
        return _PHI.inv_cdf(self.power)

    @property
    def most(self) -> int:
        """Patients of the largest trial."""
        return MAX_PATIENTS // self.unit * self.unit

    def within(self, total: float, least: float, most: float) -> float:
        """Return a total kept between two others, and among sizes that can be asked for."""
        return min(max(total, least, self.unit), most, self.most)

    def rounded(self, total: float) -> int:
        """Return the size rounded up to whole units."""
        return min(self.most, max(1, ceil(total / self.unit - 1e-9)) * self.unit)

    def nearest(self, total: float) -> int:
        """Return the nearest size in whole units."""
        return min(self.most, max(1, round(total / self.unit)) * self.unit)


@dataclass(frozen=True)
class _Line:
    """probit(power) = intercept + slope * sqrt(total), and its covariance, shape (2, 2)."""

    intercept: float
    slope: float
    covariance: Floats

    def root(self, target: float) -> float:
        """Total at which a probit is reached; infinity for never."""
        if self.slope <= 0:
            return inf
        return max(0.0, (target - self.intercept) / self.slope) ** 2

    def standard_error(self, total: float) -> float:
        """Of the line's height at a total, in probits."""
        at = np.array([1.0, sqrt(total)])
        return sqrt(float(at @ self.covariance @ at))


def _fitted(points: Sequence[PowerPoint], around: float, scale: _Scale) -> _Line:
    """Fit the line by penalised maximum likelihood.

    The penalty stands for theory: the line starts at the probit of one side's alpha, give or take
    half a probit, and has reached the target at the total `around`, give or take its whole rise.
    With it there is one maximum whatever was found, all rejections or none.
    """
    x = np.sqrt([p.total / around for p in points])
    hits, n = (np.array([getattr(p, k) for p in points]) for k in ("rejections", "n_replicates"))
    design = np.stack([np.ones_like(x), x], axis=1)
    start = -scale.level.critical_z
    rise = max(scale.target - start, 0.5)
    prior, precision = np.array([start, rise]), np.array([_PRIOR_SD**-2, rise**-2])
    beta, information = prior, np.diag(precision)
    for _ in range(100):
        eta = np.clip(design @ beta, -8, 8)
        share = ndtr(eta)
        density = np.exp(-(eta**2) / 2) / sqrt(2 * np.pi)
        spread = share * ndtr(-eta)
        score = design.T @ (density * (hits - n * share) / spread) - precision * (beta - prior)
        information = (design.T * (n * density**2 / spread)) @ design + np.diag(precision)
        step = np.linalg.solve(information, score)
        beta = beta + step * min(1.0, 2.0 / float(np.abs(step).max(initial=1e-300)))
        if np.abs(step).max() < 1e-10:
            break
    back = np.array([1.0, 1 / sqrt(around)])
    intercept, slope = beta * back
    return _Line(float(intercept), float(slope), np.linalg.inv(information) * np.outer(back, back))


@dataclass(frozen=True)
class _Root:
    """Where the line reaches the target.

    Attributes
    ----------
    points : tuple of PowerPoint
        All that was simulated, in its order.
    """

    root: float
    line: _Line
    points: tuple[PowerPoint, ...]

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the root, symmetric in the root of the total."""
        half = Z95 * self.line.standard_error(self.root) / self.line.slope
        centre = sqrt(self.root)
        return max(0.0, centre - half) ** 2, (centre + half) ** 2


_Simulate = Callable[[Sequence[int], int, int], list[PowerPoint]]  # totals, replicates, round


@dataclass(frozen=True)
class _Search:
    """The search for the root of a power curve.

    Attributes
    ----------
    simulate : callable (totals, replicates of each, round) -> list of PowerPoint
        Independent of whatever it returned before.
    tolerance : float
        Standard error of power at the root.
    """

    scale: _Scale
    simulate: _Simulate
    tolerance: float

    def root_from(self, guess: float) -> _Root:
        """Enclose the root, then pin it down.

        Raises
        ------
        DesignError
            If there is none, or it cannot be told where it is.
        """
        points, root = self._enclosed(self.scale.nearest(guess))
        needed, probed = self._needed(self.tolerance), False
        for step in range(_ROUNDS, 2 * _ROUNDS):
            line = _fitted(_near(points, root), root, self.scale)
            root = self.scale.within(line.root(self.scale.target), root / _FAR, root * _FAR)
            near = _near(points, root)
            used = sum(p.n_replicates for p in near)
            done = sum(p.n_replicates for p in points)
            if done > needed / 5 and not probed and self._shallow(line, root):
                points, probed = [*points, self._probe(root, step, 4 * _FIRST, 3)], True
            precise = near and self._error(line, root) <= self._aimed(root)
            if precise or self._least_has_it(near, root):
                if root >= self.scale.most:
                    raise _unreachable(max(points, key=lambda p: p.total), self.scale)
                return _Root(root, line, tuple(points))
            if done > _MOST_WORK * needed:
                break
            points += self.simulate(*self._next(line, root, used), step)
        raise _unclear(root, self.scale)

    def _enclosed(self, total: int) -> tuple[list[PowerPoint], float]:
        """Move by large steps until the root is near a size that was tried."""
        points: list[PowerPoint] = []
        for step in range(_ROUNDS):
            points += self.simulate([total], _FIRST, step)
            line = _fitted(points[-2:], total, self.scale)
            root = self.scale.within(line.root(self.scale.target), total / _FAR, total * _FAR)
            there = self.scale.rounded(root) == total
            if not self._within_reach(points[-1]):
                raise _unreachable(points[-1], self.scale)
            if there or total / _NEAR <= root <= total * _NEAR:
                return points, root
            if root > total and self._levels_off(points[-3:]):
                points.insert(0, self._probe(total, step, _FIRST, -3))
            total = self.scale.nearest(root)
        raise _unclear(total, self.scale)

    def _within_reach(self, point: PowerPoint) -> bool:
        """Whether the largest trial may have the power, 3 standard errors above what was found.

        The line starts no higher than at the probit of one side's alpha.
        """
        if not point.n_replicates:
            return point.total < self.scale.most
        _, upper = wilson_interval(point.rejections, point.n_replicates, 3.0)
        start = -self.scale.level.critical_z
        gained = max(0.0, float(ndtri(min(float(upper), 1 - 1e-12))) - start)
        return start + gained * sqrt(self.scale.most / point.total) >= self.scale.target

    def _levels_off(self, points: Sequence[PowerPoint]) -> bool:
        """Whether power, well above alpha, hardly rises any more."""
        last = points[-1]
        if len(points) < 3 or last.rejections < last.n_replicates / 4:
            return False
        return self._shallow(_fitted(points, last.total, self.scale), last.total)

    def _shallow(self, line: _Line, total: float) -> bool:
        """Whether power rises less than half as fast as by theory, with room to look further."""
        return line.slope < self._rise(total) / 2 and _FAR * total <= self.scale.most

    def _probe(self, root: float, step: int, n_replicates: int, margin: int) -> PowerPoint:
        """Look far beyond the root, and refuse a power that does not go on rising.

        Parameters
        ----------
        margin : int
            Standard errors from the target by which power is expected to be at least.
        """
        (far,) = self.simulate([self.scale.nearest(root * _FAR)], n_replicates, _PROBE + step)
        p, n = self.scale.power, max(1, far.n_replicates)
        if far.rejections / n < p + margin * sqrt(p * (1 - p) / n):
            raise _saturated(far, root, self.scale)
        return far

    def _least_has_it(self, near: Sequence[PowerPoint], root: float) -> bool:
        """Whether the smallest trial has the power, beyond 4 standard errors."""
        hits, n = (sum(getattr(p, k) for p in near) for k in ("rejections", "n_replicates"))
        p = self.scale.power
        return root <= self.scale.unit and hits > n * p + 4 * sqrt(n * p * (1 - p))

    def _error(self, line: _Line, total: float) -> float:
        """Return the standard error of power at a total near the root."""
        return _PHI.pdf(self.scale.target) * line.standard_error(total)

    def _aimed(self, root: float) -> float:
        """Return the standard error to be reached: no finer than whole units can show."""
        per_unit = _PHI.pdf(self.scale.target) * self._rise(root) * self.scale.unit
        return max(self.tolerance, _UNIT_SHARE * per_unit / (2 * sqrt(root)))

    def _rise(self, root: float) -> float:
        """Return the slope of the line by theory: from one side's alpha to the target."""
        return max(0.5, self.scale.target + self.scale.level.critical_z) / sqrt(root)

    def _needed(self, error: float) -> float:
        """Replicates at the root for a standard error."""
        return self.scale.power * (1 - self.scale.power) / error**2

    def _next(self, line: _Line, root: float, used: int) -> tuple[list[int], int]:
        """Return the sizes of the next round, and replicates of each."""
        needed = _MARGIN * self._needed(self._aimed(root))
        wanted = needed - used if used > needed / 5 else needed / 4
        blocks = max(1, ceil(wanted / _FIRST))
        each = ceil(blocks / _SIZES)
        n_sizes = ceil(blocks / each)
        per_root = max(line.slope, self._rise(root) / 2)
        away = _SPREAD * np.linspace(-1, 1, n_sizes) if n_sizes > 1 else np.zeros(1)
        totals = [self.scale.nearest((sqrt(root) + d / per_root) ** 2) for d in away]
        return totals, each * _FIRST


def _near(points: Sequence[PowerPoint], root: float) -> list[PowerPoint]:
    return [p for p in points if root / _NEAR <= p.total <= root * _NEAR]


def _unclear(root: float, scale: _Scale) -> DesignError:
    return DesignError(
        Problem(
            "cannot be placed on the power curve: power hardly changes with size, or jumps, near "
            f"{scale.rounded(root):,} patients",
            "Simulate the protocol at a few sizes and look at its power.",
            "power",
            f"{scale.power:g}",
        )
    )


def _saturated(far: PowerPoint, root: float, scale: _Scale) -> DesignError:
    share = far.rejections / max(1, far.n_replicates)
    return DesignError(
        Problem(
            f"is not reached for certain: power levels off. Beyond {scale.rounded(root):,} "
            f"patients it hardly rises: {far.total:,} find an effect in {100 * share:.0f}% of "
            f"{far.n_replicates:,} replicates",
            "State a longer follow-up, later looks or a lower power.",
            "power",
            f"{scale.power:g}",
        )
    )


def _unreachable(largest: PowerPoint, scale: _Scale) -> DesignError:
    share = largest.rejections / max(1, largest.n_replicates)
    return DesignError(
        Problem(
            f"is not reached with {scale.most:,} patients, the most a protocol can have: "
            f"{largest.total:,} find an effect in {100 * share:.0f}% of "
            f"{largest.n_replicates:,} replicates",
            "State a larger effect, a longer follow-up or a lower power.",
            "power",
            f"{scale.power:g}",
        )
    )


def _finest(tolerance: float, power: float, level: Level) -> float:
    """Return the tolerance, less where the target is close to alpha or 1."""
    return min(tolerance, (1 - power) / 4, (power - level.alpha) / 4)


def _check_confirmed(confirmed: PowerPoint, found: _Root, scale: _Scale, tolerance: float) -> None:
    """Refuse a size whose power is not what the line says (DesignError).

    Allowed are 4 standard errors of both, and what two allocation units change.
    """
    share = confirmed.rejections / max(1, confirmed.n_replicates)
    own = sqrt(scale.power * (1 - scale.power) / max(1, confirmed.n_replicates))
    per_root = _PHI.pdf(scale.target) * found.line.slope
    allowed = 4 * (own + tolerance) + 2 * per_root * scale.unit / (2 * sqrt(confirmed.total))
    above = share > scale.power and confirmed.total == scale.unit  # no smaller size is there
    if not confirmed.n_replicates or (abs(share - scale.power) > allowed and not above):
        raise _unclear(found.root, scale)


def _added_up(points: Sequence[PowerPoint]) -> tuple[PowerPoint, ...]:
    """Return one point per size, in rising order."""
    sums: dict[int, PowerPoint] = {}
    for p in sorted(points, key=lambda p: p.total):
        so_far = sums.get(p.total, PowerPoint(p.total, 0, 0))
        sums[p.total] = PowerPoint(
            p.total,
            so_far.rejections + p.rejections,
            so_far.n_replicates + p.n_replicates,
            so_far.n_failed + p.n_failed,
        )
    return tuple(sums.values())


# -- what can be asked for, and what was assumed -------------------------------------------------


def _check(job: Job, truth: Truth, power: float, tolerance: float) -> None:
    plan, protocol = job.plans[0], job.protocol
    check_power(power, Level(plan.alpha, plan.sides))
    if truth not in job.truths:
        known = ", ".join(t.scenario for t in job.truths)
        raise RequestError(
            Problem("is not one of the job's", f"Its truths: {known}.", "truth", truth.scenario)
        )
    if not 0.001 <= tolerance <= 0.05:
        rule, remedy = "must be from 0.001 to 0.05", "0.0045 keeps power within 0.01 of its target."
        raise RequestError(Problem(rule, remedy, "tolerance", f"{tolerance:g}"))
    ratio, given = protocol.ratio, truth.enrolment and truth.enrolment.given
    refuse(
        problem_unless(
            not truth.is_null,
            f"scenarios.{truth.scenario}",
            truth.label,
            "must have an effect: no size finds none",
            "Name a scenario with an effect.",
        ),
        problem_unless(
            max(ratio) <= _MOST_PER_UNIT,
            "protocol.sample_size.per_arm",
            ":".join(map(str, ratio)),
            f"must be in a ratio of whole numbers up to {_MOST_PER_UNIT}, to be scaled",
            "State sample_size.total and allocation.ratio.",
        ),
        problem_unless(
            not given,
            "nature.enrolment.given",
            "a list of days",
            "must not fix how many patients enter",
            "Write for example {uniform: 12 mo}.",
        ),
    )


def _conventions(job: Job, scale: _Scale) -> tuple[str, ...]:
    protocol, plan = job.protocol, job.plans[0]
    words = [
        f"{plan.in_words}; power is P(reject at any look), bounds for futility heeded"
        + (", in either direction" if plan.sides == 2 else ""),
        "replicates that cannot be analysed are left out and counted",
        "total from a probit line on the root of the total, fitted near the target; where power "
        "rises as a saw (few patients, counts), where the line through the saw reaches the target",
        f"allocation treated:control {protocol.ratio[0]}:{protocol.ratio[1]}; total rounded up to "
        f"a multiple of {scale.unit}",
    ]
    triggers = [look.at for look in protocol.looks]
    if any(at.events for at in triggers):
        words.append("events that set off a look in proportion to the total, rounded up")
    if any(at.enrolled for at in triggers):
        words.append("patients that set off a look in proportion to the total, rounded up")
    if triggers:
        words.append("bounds, shares of information and dates of looks are the same at every size")
    if job.truths[0].sites:
        words.append("sites enrol at the same pace at every size")
    elif job.truths[0].enrolment:
        words.append("enrolment takes the same time at every size")
    return tuple(words)
