"""Group-sequential designs: bounds, the information they need, and what a look says.

Information is in units of the planned maximum, so that the planned last look is at 1; a drift is
the effect times the root of the planned maximum information, so that Z at information t has mean
drift sqrt(t). A larger Z speaks for treatment. A two-sided design is two one-sided ones at half
its alpha; its power is that of the right conclusion alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf, isfinite, sqrt
from typing import ClassVar, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from trialsim.errors import DesignError, Problem, RequestError, did_you_mean
from trialsim.kernels.boundaries import (
    Crossing,
    NormalPrior,
    Region,
    SpentBounds,
    Standing,
    beta_spending_bounds,
    crossing_probabilities,
    increasing_root,
    probit,
    scaled_bounds,
    spending_bounds,
)

__all__ = [
    "AssumedEffect",
    "BetaSpending",
    "Efficacy",
    "Futility",
    "GivenBounds",
    "GivenFutility",
    "HwangShihDeCani",
    "LanDeMetsObrienFleming",
    "LanDeMetsPocock",
    "NormalPrior",
    "ObrienFleming",
    "Pocock",
    "SequentialDesign",
    "Spending",
    "StagewiseInference",
    "UserSpending",
    "WangTsiatis",
    "bounds_from_words",
    "conditional_power",
    "predictive_power",
    "recomputed",
    "repeated_confidence_interval",
    "sequential_design",
    "sequential_p_value",
    "spending_from_words",
    "stagewise_inference",
    "type_i_error_of_repeated_looks",
]

Floats = NDArray[np.float64]

_MOST_LOOKS = 20
_LEAST_STEP = 0.001  # of the information: looks closer than this are one look


def _refuse(field: str, rule: str, value: object, remedy: str) -> NoReturn:
    raise DesignError(Problem(rule, remedy, field=field, value=str(value)))


@dataclass(frozen=True)
class WangTsiatis:
    """Bounds in proportion to information to the power of delta less a half, for planned looks.

    References
    ----------
    Wang and Tsiatis (1987), Biometrics 43:193-199.
    """

    delta: float
    name: ClassVar[str] = "Wang-Tsiatis"

    def __post_init__(self) -> None:
        if not -1 <= self.delta <= 1:
            _refuse("delta", "must be in [-1, 1]", self.delta, "0 is O'Brien-Fleming, 0.5 Pocock.")

    def __str__(self) -> str:
        return f"wt:{self.delta:g}"

    def shape(self, information: Floats) -> Floats:
        """Return the bounds up to a constant."""
        return np.asarray(information ** (self.delta - 0.5))


@dataclass(frozen=True)
class ObrienFleming(WangTsiatis):
    """Bounds in proportion to 1 / sqrt(information).

    References
    ----------
    O'Brien and Fleming (1979), Biometrics 35:549-556.
    """

    delta: float = field(default=0.0, init=False)
    name: ClassVar[str] = "O'Brien-Fleming"

    def __str__(self) -> str:
        return "obf"


@dataclass(frozen=True)
class Pocock(WangTsiatis):
    """The same bound at every look.

    References
    ----------
    Pocock (1977), Biometrika 64:191-199.
    """

    delta: float = field(default=0.5, init=False)
    name: ClassVar[str] = "Pocock"

    def __str__(self) -> str:
        return "pocock"


@dataclass(frozen=True)
class LanDeMetsObrienFleming:
    """Spends 2 - 2 Phi(z(total / 2) / sqrt(t)) by information t.

    References
    ----------
    Lan and DeMets (1983), Biometrika 70:659-663, alpha-star-1.
    """

    def __str__(self) -> str:
        return "ldof"

    def spent(self, information: Floats, total: float) -> Floats:
        """Return the error spent by each look, shape (n_looks,)."""
        return np.asarray(2 * ndtr(ndtri(total / 2) / np.sqrt(information)))


@dataclass(frozen=True)
class LanDeMetsPocock:
    """Spends total log(1 + (e - 1) t) by information t.

    References
    ----------
    Lan and DeMets (1983), Biometrika 70:659-663, alpha-star-2.
    """

    def __str__(self) -> str:
        return "ldpocock"

    def spent(self, information: Floats, total: float) -> Floats:
        """Return the error spent by each look, shape (n_looks,)."""
        return np.asarray(total * np.log1p((np.e - 1) * information))


@dataclass(frozen=True)
class HwangShihDeCani:
    """Spends total (1 - exp(-gamma t)) / (1 - exp(-gamma)) by information t.

    References
    ----------
    Hwang, Shih and De Cani (1990), Statistics in Medicine 9:1439-1445.
    """

    gamma: float

    def __str__(self) -> str:
        return f"hsd:{self.gamma:g}"

    def __post_init__(self) -> None:
        if not -40 <= self.gamma <= 40:
            _refuse(
                "gamma", "must be in [-40, 40]", self.gamma, "-4 is near O'Brien-Fleming, 1 Pocock."
            )

    def spent(self, information: Floats, total: float) -> Floats:
        """Return the error spent by each look, shape (n_looks,)."""
        if abs(self.gamma) < 1e-12:
            return total * information
        return np.asarray(total * np.expm1(-self.gamma * information) / np.expm1(-self.gamma))


@dataclass(frozen=True)
class UserSpending:
    """Spends what is given by given information, in proportion between.

    Attributes
    ----------
    information : tuple of float
        Rising, above 0, the last 1.
    alpha_cumulative : tuple of float
        Error spent by then, over both sides where there are two; the last is all of it.
    """

    information: tuple[float, ...]
    alpha_cumulative: tuple[float, ...]

    def __post_init__(self) -> None:
        t, spent = np.array(self.information), np.array(self.alpha_cumulative)
        if not len(t) or len(t) != len(spent) or not (np.diff(t, prepend=0) > 0).all():
            _refuse(
                "information", "must rise, one per alpha_cumulative", self.information, "Pair them."
            )
        if t[-1] != 1:
            _refuse("information", "must end at 1", t[-1], "All is spent by the planned end.")
        if not (np.diff(spent, prepend=0) >= 0).all() or not spent[-1] > 0:
            _refuse(
                "alpha_cumulative",
                "must not fall and must end above 0",
                self.alpha_cumulative,
                "Give what is spent by each look, not what is spent at it.",
            )

    def spent(self, information: Floats, total: float) -> Floats:
        """Return the error spent by each look, shape (n_looks,), scaled to end at `total`."""
        by_then = np.interp(information, (0.0, *self.information), (0.0, *self.alpha_cumulative))
        return np.asarray(by_then * (total / self.alpha_cumulative[-1]))


@dataclass(frozen=True)
class GivenBounds:
    """Efficacy bounds on the scale of Z, as they are; infinite for no test at a look."""

    z: tuple[float, ...]

    def __str__(self) -> str:
        return f"z {', '.join(f'{bound:g}' for bound in self.z)}"


@dataclass(frozen=True)
class GivenFutility:
    """Futility bounds on the scale of Z at every look but the last; -inf for none."""

    z: tuple[float, ...]

    def __str__(self) -> str:
        return f"z {', '.join(f'{bound:g}' for bound in self.z)}"


Spending = LanDeMetsObrienFleming | LanDeMetsPocock | HwangShihDeCani | UserSpending
Efficacy = WangTsiatis | Spending | GivenBounds


@dataclass(frozen=True)
class BetaSpending:
    """Futility bounds that spend the type II error at the planned effect."""

    rule: Spending

    def __str__(self) -> str:
        return f"beta by {self.rule}"


Futility = GivenFutility | BetaSpending


def bounds_from_words(words: str) -> WangTsiatis:
    """Read classical bounds: ``obf``, ``pocock`` or ``wt:DELTA``.

    Raises
    ------
    RequestError
    """
    word, number = _word_and_number("bounds", words, ("obf", "pocock", "wt"))
    if word == "wt":
        return WangTsiatis(_number(words, number, "wt:0.25"))
    return ObrienFleming() if word == "obf" else Pocock()


def spending_from_words(words: str) -> Spending:
    """Read a spending function: ``ldof``, ``ldpocock`` or ``hsd:GAMMA``.

    Raises
    ------
    RequestError
    """
    word, number = _word_and_number("spending", words, ("ldof", "ldpocock", "hsd"))
    if word == "hsd":
        return HwangShihDeCani(_number(words, number, "hsd:-4"))
    return LanDeMetsObrienFleming() if word == "ldof" else LanDeMetsPocock()


def _word_and_number(field: str, words: str, known: tuple[str, ...]) -> tuple[str, str]:
    """Split at the colon; the last of the known words takes a number, the others none."""
    word, _, number = words.partition(":")
    if word not in known:
        remedy = did_you_mean(word, known, f"Write one of {', '.join(known)}.")
        raise RequestError(Problem("must be a known rule", remedy, field=field, value=words))
    if number and word != known[-1]:
        raise RequestError(Problem("takes no number", f"Write {word}.", field=field, value=words))
    return word, number


def _number(words: str, number: str, example: str) -> float:
    try:
        return float(number)
    except ValueError:
        remedy = f"Write {example}, for example."
        raise RequestError(Problem("must end in a number", remedy, value=words)) from None


@dataclass(frozen=True)
class SequentialDesign:
    """A group-sequential design with its bounds.

    Attributes
    ----------
    information : tuple of float
        At each look, in units of the planned maximum.
    alpha : float
        Type I error allowed, over both sides where there are two.
    sides : {1, 2}
    efficacy, futility
        The rules.
    binding : bool
        Whether efficacy bounds count on stopping for futility.
    efficacy_z : tuple of float
        Upper bound at each look; where there are two sides, its negative is the lower one.
    futility_z : tuple of float or None
        Lower bound at each look, the last the efficacy bound.
    alpha_spent : tuple of float
        Type I error by each look, over all sides; futility bounds count only where binding.
    planned_power, planned_drift : float or None
        What the design was made for.
    """

    information: tuple[float, ...]
    alpha: float
    sides: int
    efficacy: Efficacy
    futility: Futility | None
    binding: bool
    efficacy_z: tuple[float, ...]
    futility_z: tuple[float, ...] | None
    alpha_spent: tuple[float, ...]
    planned_power: float | None = None
    planned_drift: float | None = None

    @property
    def nominal_p(self) -> tuple[float, ...]:
        """One-sided P value that meets the efficacy bound at each look."""
        return tuple(float(p) for p in ndtr(-np.array(self.efficacy_z)))

    @property
    def type_i_error(self) -> float:
        """Probability of rejecting where there is no effect, over all sides."""
        return self.alpha_spent[-1]

    def _lower(self, futility: bool) -> Floats:
        """Lower ends of the regions in which trials go on."""
        if self.sides == 2:
            return -np.array(self.efficacy_z)
        if self.futility_z is None or not futility:
            return np.full(len(self.information), -inf)
        return np.array(self.futility_z)

    def stop_probabilities(self, drift: float) -> Crossing:
        """Return the probability of stopping at each look.

        Parameters
        ----------
        drift : float
            Effect times the root of the planned maximum information.

        Returns
        -------
        Crossing
            `upper` for efficacy; `lower` for futility or, where there are two sides, for harm. At
            the last look of a one-sided design without futility `lower` is 0.
        """
        return crossing_probabilities(
            self.information, self._lower(futility=True), self.efficacy_z, drift
        )

    def power(self, drift: float) -> float:
        """Return the probability of crossing the upper bound first."""
        return float(self.stop_probabilities(drift).upper.sum())

    def drift_for(self, power: float) -> float:
        """Return the drift at which the design has a power: (drift / effect)^2 is its information.

        Raises
        ------
        DesignError
            Where the power is not above the type I error and below 1, or no look tests.
        """
        _check_power(power, max(self.alpha, self.type_i_error) / self.sides)
        if not np.isfinite(self.efficacy_z).any():
            _refuse("efficacy", "must test at a look", self.efficacy_z, "Give a finite bound.")
        guess = float(ndtri(1 - self.alpha / self.sides) + ndtri(power))
        target = probit(power)
        return increasing_root(lambda drift: probit(self.power(drift)) - target, guess, guess + 0.1)

    def inflation(self, power: float) -> float:
        """Return the maximum information as a multiple of the fixed design's at this power."""
        fixed = float(ndtri(1 - self.alpha / self.sides) + ndtri(power))
        return (self.drift_for(power) / fixed) ** 2

    def expected_information(self, drift: float) -> float:
        """Return the expected information at the end, in units of the planned maximum."""
        stops = self.stop_probabilities(drift)
        early = (stops.upper + stops.lower)[:-1]
        t = np.array(self.information)
        return float(early @ t[:-1] + (1 - early.sum()) * t[-1])


def sequential_design(
    information_fractions: Sequence[float],
    *,
    alpha: float,
    sides: int,
    efficacy: Efficacy,
    futility: Futility | None = None,
    binding: bool = False,
    power: float | None = None,
) -> SequentialDesign:
    """Find the bounds of a group-sequential design.

    Parameters
    ----------
    information_fractions : sequence of float
        Rising to 1; at most 20.
    alpha : float
        Type I error over all sides.
    sides : {1, 2}
    efficacy, futility
        Rules for stopping. Futility takes one side.
    binding : bool
        Whether efficacy bounds are lowered because trials stop for futility.
    power : float, optional
        Needed by `BetaSpending`, and for conditional power under the planned effect.

    Raises
    ------
    DesignError
        Where the design cannot be met.

    References
    ----------
    Jennison and Turnbull (2000), Group Sequential Methods, chapters 2, 4 and 7.
    """
    _check_information(information_fractions)
    if abs(information_fractions[-1] - 1) > 1e-9:
        _refuse(
            "information_fractions",
            "must end at 1",
            information_fractions[-1],
            "The last look is at all of the planned information: write 1.",
        )
    _check_error_rate(alpha, sides)
    design = SequentialDesign(
        information=tuple(float(t) for t in information_fractions),
        alpha=alpha,
        sides=sides,
        efficacy=efficacy,
        futility=futility,
        binding=binding,
        efficacy_z=(),
        futility_z=None,
        alpha_spent=(),
        planned_power=power,
    )
    _check_rules(design)
    if power is None:
        return _with_bounds(design, None)
    _check_power(power, alpha / sides)
    if isinstance(futility, BetaSpending):
        return _with_bounds(design, _planned_drift(design, power))
    design = _with_bounds(design, None)
    return replace(design, planned_drift=design.drift_for(power))


def recomputed(design: SequentialDesign, information: Sequence[float]) -> SequentialDesign:
    """Find a spending design's bounds anew, at the information that was seen.

    Bounds of looks already held do not change. The last look spends what is left, whether its
    information falls short of the planned maximum or passes it.

    Parameters
    ----------
    design : SequentialDesign
    information : sequence of float
        At each look held and, as planned, at those to come, in units of the planned maximum.

    Raises
    ------
    DesignError
        Where the bounds do not come from a spending function, or the information does not rise.

    References
    ----------
    Lan and DeMets (1983), Biometrika 70:659-663; Jennison and Turnbull (2000), chapter 7.
    """
    if not isinstance(design.efficacy, Spending):
        name = "Given" if isinstance(design.efficacy, GivenBounds) else design.efficacy.name
        _refuse(
            "efficacy",
            "must be a spending function to be recomputed",
            f"{name} bounds, made for planned looks",
            "Plan with LanDeMetsObrienFleming, LanDeMetsPocock or HwangShihDeCani.",
        )
    _check_information(information)
    if len(information) > 1 and information[-2] >= 1:
        _refuse(
            "information",
            "must be below 1 before the last look",
            information[-2],
            "The look that reaches the planned maximum is the last.",
        )
    seen = replace(design, information=tuple(float(t) for t in information))
    _check_rules(seen)
    return _with_bounds(seen, design.planned_drift)


def _spent_at_looks(rule: Spending, information: tuple[float, ...], total: float) -> Floats:
    t = np.minimum(information, 1.0)
    t[-1] = 1.0
    return np.diff(rule.spent(t, total), prepend=0.0)


def _efficacy_z(design: SequentialDesign, alpha: float) -> Floats:
    """Upper bounds at a type I error over all sides, by any rule."""
    rule, t = design.efficacy, design.information
    lower = None
    if design.binding and isinstance(design.futility, GivenFutility):
        lower = np.array([*design.futility.z, -inf])
    region = Region(lower=lower, symmetric=design.sides == 2)
    if isinstance(rule, GivenBounds):
        return np.array(rule.z, dtype=float)
    if isinstance(rule, WangTsiatis):
        return scaled_bounds(t, rule.shape(np.array(t)), alpha / design.sides, region)
    return spending_bounds(t, _spent_at_looks(rule, t, alpha / design.sides), region)


def _bounds_by_drift(design: SequentialDesign) -> Callable[[float], SpentBounds]:
    """Return the bounds of a design that spends beta as a function of the drift assumed."""
    assert isinstance(design.futility, BetaSpending)
    assert design.planned_power is not None
    rule, t = design.efficacy, design.information
    beta_spent = _spent_at_looks(design.futility.rule, t, 1 - design.planned_power)
    if design.binding and isinstance(rule, Spending):
        alpha_spent = _spent_at_looks(rule, t, design.alpha)
        return lambda drift: beta_spending_bounds(t, alpha_spent, beta_spent, drift)
    upper, nothing = _efficacy_z(design, design.alpha), np.zeros(len(t))
    return lambda drift: beta_spending_bounds(t, nothing, beta_spent, drift, upper)


def _planned_drift(design: SequentialDesign, power: float) -> float:
    """Drift at which the futility bounds spend beta and meet the efficacy bound at the end."""
    bounds, beta = _bounds_by_drift(design), 1 - power
    guess = float(ndtri(1 - design.alpha) + ndtri(power))
    found = increasing_root(
        lambda drift: probit(beta) - probit(bounds(drift).type_ii_error), guess + 0.1, guess + 0.2
    )
    if abs(bounds(found).type_ii_error - beta) > 1e-7:
        _refuse(
            "futility",
            "must leave the power within reach",
            design.futility,
            "Spend beta later, or less of it.",
        )
    return found


def _with_bounds(design: SequentialDesign, drift: float | None) -> SequentialDesign:
    futility_z: Floats | None = None
    if isinstance(design.futility, BetaSpending):
        assert drift is not None
        efficacy_z, futility_z, _ = _bounds_by_drift(design)(drift)
    else:
        efficacy_z = _efficacy_z(design, design.alpha)
        if design.futility is not None:
            futility_z = np.array([*design.futility.z, efficacy_z[-1]])
    if efficacy_z.min() == -inf:
        _refuse(
            "futility", "must leave alpha to spend", design.futility, "Stop fewer for futility."
        )
    if futility_z is not None and (crossed := futility_z[:-1] >= efficacy_z[:-1]).any():
        look = int(np.argmax(crossed))
        _refuse(
            "futility",
            f"must be below the efficacy bound {efficacy_z[look]:.4g} at look {look + 1}",
            f"{futility_z[look]:.4g}",
            "Lower the futility bound, or spend less beta by then.",
        )
    found = replace(
        design,
        planned_drift=drift,
        efficacy_z=tuple(efficacy_z.tolist()),
        futility_z=None if futility_z is None else tuple(futility_z.tolist()),
    )
    crossing = crossing_probabilities(
        found.information, found._lower(futility=design.binding), found.efficacy_z
    )
    spent = np.cumsum(design.sides * crossing.upper)
    return replace(found, alpha_spent=tuple(spent.tolist()))


def _check_information(information: Sequence[float]) -> None:
    if not 1 <= len(information) <= _MOST_LOOKS:
        _refuse("information", "must hold 1 to 20 looks", len(information), "Count the last one.")
    steps = np.diff(np.asarray(information, dtype=float), prepend=0.0)
    if not (np.isfinite(steps).all() and steps.min() >= _LEAST_STEP):
        _refuse(
            "information",
            f"must rise by at least {_LEAST_STEP:g} per look",
            ", ".join(f"{t:g}" for t in information),
            "List the information at each look in order, each part of the planned maximum.",
        )


def _check_error_rate(alpha: float, sides: int) -> None:
    if sides not in (1, 2):
        _refuse("sides", "must be 1 or 2", sides, "Write 1 or 2.")
    if not 0 < alpha / sides < 0.5:
        _refuse("alpha", "must be above 0 and below 0.5 a side", alpha, "Write 0.025, one-sided.")


def _check_power(power: float, alpha: float) -> None:
    if not alpha < power < 1:
        _refuse(
            "power",
            f"must be above the type I error {alpha:g} a side and below 1",
            power,
            "Write 0.9, for example.",
        )


def _check_rules(design: SequentialDesign) -> None:
    _check_efficacy(design)
    futility, looks = design.futility, len(design.information)
    if futility is None:
        return
    if design.sides == 2:
        _refuse(
            "futility",
            "must belong to a one-sided design",
            futility,
            "Test one side, with half of alpha.",
        )
    if isinstance(futility, GivenFutility):
        if len(futility.z) != looks - 1:
            _refuse(
                "futility",
                f"must hold {looks - 1} bounds",
                len(futility.z),
                "Give one for every look but the last.",
            )
        if not all(z < inf for z in futility.z):
            _refuse("futility", "must be below infinity", futility.z, "-10 is as good as none.")
        return
    if design.planned_power is None:
        _refuse(
            "power", "must be given where beta is spent", "", "State the power, for example 0.9."
        )
    _check_user_spending(futility.rule, 1 - design.planned_power)
    if design.binding and not isinstance(design.efficacy, Spending):
        _refuse(
            "efficacy",
            "must be a spending function where futility is binding and spends beta",
            design.efficacy,
            "Spend alpha too (ldof, ldpocock or hsd), or let futility not bind.",
        )


def _check_efficacy(design: SequentialDesign) -> None:
    rule, looks = design.efficacy, len(design.information)
    if not isinstance(rule, GivenBounds):
        _check_user_spending(rule, design.alpha)
        return
    if len(rule.z) != looks:
        _refuse("efficacy", f"must hold {looks} bounds", len(rule.z), "Give one per look.")
    if not all(z > 0 for z in rule.z):
        _refuse(
            "efficacy",
            "must be above 0 at every look",
            rule.z,
            "A very large bound, 10, is as good as no test.",
        )


def _check_user_spending(rule: Spending | WangTsiatis, total: float) -> None:
    if isinstance(rule, UserSpending) and abs(rule.alpha_cumulative[-1] - total) > 1e-9:
        _refuse(
            "alpha_cumulative",
            f"must end at {total:g}",
            rule.alpha_cumulative[-1],
            "All of the error is spent at the last look.",
        )


class AssumedEffect(Enum):
    """Effects under which conditional power is asked for, beside any number."""

    TREND = "as estimated so far"
    PLANNED = "as planned"
    NONE = "none"


class StagewiseInference(NamedTuple):
    """What a stopped trial says, by stage-wise ordering.

    Attributes
    ----------
    p_one_sided : float
    median_unbiased, lower, upper : float
        Drifts; divided by the root of the planned maximum information, effects.
    confidence : float
        Of the interval from `lower` to `upper`.
    """

    p_one_sided: float
    median_unbiased: float
    lower: float
    upper: float
    confidence: float


def _information_at(design: SequentialDesign, look: int, z: float, last: int) -> float:
    if not 1 <= look <= last:
        rule = f"must be a look from 1 to {last}"
        raise RequestError(Problem(rule, "Count looks from 1.", field="look", value=str(look)))
    if not isfinite(z):
        raise RequestError(Problem("must be finite", "Give Z.", field="z", value=str(z)))
    return design.information[look - 1]


def _power_ahead(
    design: SequentialDesign, look: int, standing: Standing, effect: float | NormalPrior
) -> float:
    t, lower, upper = design.information, design._lower(futility=True), design.efficacy_z
    crossing = crossing_probabilities(t[look:], lower[look:], upper[look:], effect, standing)
    return float(crossing.upper.sum())


def conditional_power(
    design: SequentialDesign, look: int, z: float, effect: AssumedEffect | float
) -> float:
    """Return the probability of crossing a later efficacy bound first, given Z at a look.

    Parameters
    ----------
    design : SequentialDesign
    look : int
        From 1, before the last.
    z : float
    effect : AssumedEffect or float
        A number is a drift.

    Raises
    ------
    RequestError
        Where the look is not there, or the planned effect is asked of a design without power.

    References
    ----------
    Lan, Simon and Halperin (1982), Sequential Analysis 1:207-219.
    """
    t = _information_at(design, look, z, len(design.information) - 1)
    drift = effect if not isinstance(effect, AssumedEffect) else 0.0
    if effect is AssumedEffect.TREND:
        drift = z / sqrt(t)
    elif effect is AssumedEffect.PLANNED:
        if design.planned_drift is None:
            remedy = "Make the design with power=0.9, or give a drift."
            raise RequestError(Problem("must be planned", remedy, field="effect"))
        drift = design.planned_drift
    return _power_ahead(design, look, Standing(t, z), drift)


def predictive_power(
    design: SequentialDesign,
    look: int,
    z: float,
    prior: NormalPrior = NormalPrior(),  # noqa: B008 (frozen)
) -> float:
    """Return conditional power averaged over the drift, given Z and a prior, flat by default.

    Parameters
    ----------
    design : SequentialDesign
    look : int
        From 1, before the last.
    z : float
    prior : NormalPrior
        Of the drift; its information is in units of the planned maximum.

    References
    ----------
    Spiegelhalter, Freedman and Blackburn (1986), Controlled Clinical Trials 7:8-17.
    """
    t = _information_at(design, look, z, len(design.information) - 1)
    if not prior.information >= 0:
        problem = Problem("must be 0 or more", "0 is flat.", "prior", str(prior.information))
        raise RequestError(problem)
    return _power_ahead(design, look, Standing(t, z), prior)


def repeated_confidence_interval(
    design: SequentialDesign, look: int, z: float
) -> tuple[float, float]:
    """Return the drifts not rejected by the design's bounds at this look.

    Over all looks it holds with confidence 1 - alpha for two sides, 1 - 2 alpha for one.

    References
    ----------
    Jennison and Turnbull (1989), Journal of the Royal Statistical Society B 51:305-361.
    """
    root = sqrt(_information_at(design, look, z, len(design.information)))
    bound = design.efficacy_z[look - 1]
    return (z - bound) / root, (z + bound) / root


def stagewise_inference(
    design: SequentialDesign, look: int, z: float, confidence: float | None = None
) -> StagewiseInference:
    """Return P value, estimate and interval of a trial that stopped at a look with a Z.

    Outcomes above an efficacy bound come before all later ones, outcomes below a lower bound after
    them; futility bounds count only where they bind.

    Parameters
    ----------
    design : SequentialDesign
    look : int
        At which the trial stopped, from 1.
    z : float
    confidence : float, optional
        By default 1 - alpha for two sides, 1 - 2 alpha for one.

    References
    ----------
    Tsiatis, Rosner and Mehta (1984), Biometrics 40:797-803; Jennison and Turnbull (2000),
    chapter 8.
    """
    t = _information_at(design, look, z, len(design.information))
    if confidence is None:
        confidence = 1 - (2 / design.sides) * design.alpha
    if not 0 < confidence < 1:
        problem = Problem("must be in (0, 1)", "Write 0.95.", "confidence", str(confidence))
        raise RequestError(problem)
    bounds = np.array([*design.efficacy_z[: look - 1], z])
    lower = design._lower(futility=design.binding)[:look]

    def p_at(drift: float) -> float:
        crossing = crossing_probabilities(design.information[:look], lower, bounds, drift)
        return float(crossing.upper.sum())

    def drift_with(p: float) -> float:
        guess = (z + float(ndtri(p))) / sqrt(t)
        return increasing_root(lambda drift: probit(p_at(drift)) - probit(p), guess, guess + 0.1)

    tail = (1 - confidence) / 2
    return StagewiseInference(
        p_at(0.0), drift_with(0.5), drift_with(tail), drift_with(1 - tail), confidence
    )


def sequential_p_value(design: SequentialDesign, z: ArrayLike) -> float:
    """Return the least alpha, up to a half a side, at which the rule would have rejected by now.

    Parameters
    ----------
    design : SequentialDesign
    z : array of float
        Z at the looks held so far.

    Raises
    ------
    DesignError
        Where bounds are given, not made from alpha.

    References
    ----------
    Liu and Anderson (2008), Journal of the American Statistical Association 103:1621-1630.
    """
    seen = np.atleast_1d(np.asarray(z, dtype=float))
    _information_at(design, len(seen), float(seen.sum()), len(design.information))
    if isinstance(design.efficacy, GivenBounds):
        _refuse("efficacy", "must make bounds from alpha", design.efficacy, "Use a spending rule.")
    if isinstance(design.futility, BetaSpending) and design.binding:
        _refuse("futility", "must not bind", design.futility, "Let futility not bind.")
    seen = np.abs(seen) if design.sides == 2 else seen

    def margin(quantile: float) -> float:
        alpha = design.sides * float(ndtr(quantile))
        return float((seen - _efficacy_z(design, alpha)[: len(seen)]).max())

    if margin(0.0) <= 0:
        return 0.5 * design.sides
    guess = -max(0.1, float(seen.max()))
    quantile = increasing_root(margin, guess, guess + 0.05)
    return design.sides * min(0.5, float(ndtr(quantile)))


def type_i_error_of_repeated_looks(n_looks: int, alpha_two_sided: float) -> float:
    """Return the error of testing at every one of equally spaced looks without correction.

    References
    ----------
    Armitage, McPherson and Rowe (1969), Journal of the Royal Statistical Society A 132:235-244.
    """
    _check_error_rate(alpha_two_sided, 2)
    if n_looks < 1:
        _refuse("n_looks", "must be at least 1", n_looks, "Count the last one.")
    bound = np.full(n_looks, -float(ndtri(alpha_two_sided / 2)))
    crossing = crossing_probabilities(np.arange(1.0, n_looks + 1), -bound, bound)
    return float(crossing.upper.sum() + crossing.lower.sum())
