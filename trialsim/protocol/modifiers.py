"""Who benefits: ``modifiers:`` of a scenario, and ``subgroups:`` the protocol declares.

What moves the outcome in both arms is prognostic (`Factor.odds_ratio`, ``severity_slope``); what
moves the *effect* is a modifier, or predictive. The stated effect stays the overall, marginal one:
the effect in the reference is solved so that the average over all patients is as stated, and
effects in subgroups keep the ratio stated. Pure Python, so that ``check`` can tell an impossible
one without numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import ceil, exp, log, prod
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from trialsim.protocol.endpoints import Summary
from trialsim.protocol.outcomes import MeasuredTruth, OutcomeTruth, RiskTruth
from trialsim.protocol.quantities import (
    Frozen,
    Id,
    OneOf,
    Ratio,
    SourcedNumber,
    Text,
    broken,
    one_of,
)
from trialsim.protocol.survival import HazardCurve, Lifetimes

if TYPE_CHECKING:
    from trialsim.protocol.scenario import Factor

__all__ = [
    "SEVERITY",
    "Cells",
    "ImpossibleModifierError",
    "Modified",
    "ModifiedMeans",
    "ModifiedRisks",
    "Modifier",
    "ObservedSubgroups",
    "Subgroup",
    "cells_of",
    "control_risks",
    "modified_lifetimes",
    "modified_outcome",
    "modified_risks",
]

SEVERITY = "severity"  # the covariate that is always there; nature.covariates are others

Floats = tuple[float, ...]


class ImpossibleModifierError(ValueError):
    """Modifiers that cannot be: why, and what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


class Subgroup(OneOf):
    """A subgroup analysis: an estimate in every level of a factor, and a test of interaction.

    With a `covariate`, the interaction in a regression model alone. Of the primary endpoint unless
    another is named; `prespecified` unless said otherwise.
    """

    model_config = one_of("factor", "covariate", remedy="Write {factor: age-group}.")

    factor: Id | None = None
    covariate: Id | None = None
    endpoint: Id | None = None
    prespecified: bool = True

    @property
    def name(self) -> str:
        """What tells patients apart."""
        return self.factor or self.covariate or ""

    def __str__(self) -> str:
        of = f", {self.endpoint}" if self.endpoint else ""
        return f"{self.name}{of} ({'' if self.prespecified else 'not '}prespecified)"


class Modifier(Frozen):
    """How an effect differs between levels of a factor, or per SD of a covariate.

    Effects are on the scale of the endpoint's own summary. `ratio_of_effects` names levels and
    how many times the effect there is that of the levels not named, the reference;
    `difference_of_effects` does so for differences. `only_in` names the levels in which treatment
    does anything. Per SD of severity, ratios of odds ratios or differences of mean differences.
    """

    model_config = one_of(
        "ratio_of_effects",
        "difference_of_effects",
        "only_in",
        "ratio_of_effects_per_sd",
        "difference_of_effects_per_sd",
    )

    factor: Id | None = None
    covariate: Id | None = None
    endpoint: Id | None = None
    ratio_of_effects: Annotated[dict[Id, Ratio], Field(min_length=1)] | None = None
    difference_of_effects: Annotated[dict[Id, SourcedNumber], Field(min_length=1)] | None = None
    only_in: Annotated[tuple[Id, ...], Field(min_length=1)] | None = None
    ratio_of_effects_per_sd: Ratio | None = None
    difference_of_effects_per_sd: SourcedNumber | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _stated_once(self) -> Self:
        if (self.factor is None) == (self.covariate is None):
            raise broken(
                "must have exactly one of 'factor' and 'covariate'",
                "Write {factor: age-group, ratio_of_effects: {under-60: 0.6}}.",
            )
        by_level = (self.ratio_of_effects, self.difference_of_effects, self.only_in)
        per_sd = (self.ratio_of_effects_per_sd, self.difference_of_effects_per_sd)
        own, other = (by_level, per_sd) if self.factor else (per_sd, by_level)
        if sum(item is not None for item in own) != 1 or any(item is not None for item in other):
            if self.factor:
                raise broken(
                    "must have exactly one of 'ratio_of_effects', 'difference_of_effects' and "
                    "'only_in' for a factor",
                    "Write {factor: age-group, ratio_of_effects: {under-60: 0.6}}.",
                )
            raise broken(
                "must have exactly one of 'ratio_of_effects_per_sd' and "
                "'difference_of_effects_per_sd' for a covariate",
                "Write {covariate: severity, ratio_of_effects_per_sd: 0.8}.",
            )
        return self

    @property
    def numbers(self) -> tuple[SourcedNumber, ...]:
        """The numbers it states."""
        by_level = {**(self.ratio_of_effects or {}), **(self.difference_of_effects or {})}
        per_sd = (self.ratio_of_effects_per_sd, self.difference_of_effects_per_sd)
        return (*by_level.values(), *(number for number in per_sd if number is not None))

    def __str__(self) -> str:
        of = f"effect on {self.endpoint}" if self.endpoint else "effect"
        if self.only_in:
            return f"{of} only in {' and '.join(self.only_in)} of {self.factor}"
        if self.ratio_of_effects_per_sd:
            return f"{of} times {self.ratio_of_effects_per_sd} per SD of {self.covariate}"
        if self.difference_of_effects_per_sd:
            return f"{of} {self.difference_of_effects_per_sd.value:+g} per SD of {self.covariate}"
        ratios = [f"in {name} {r} times" for name, r in (self.ratio_of_effects or {}).items()]
        differences = (self.difference_of_effects or {}).items()
        moved = [f"in {name} {number.value:+g} from" for name, number in differences]
        return f"{of} {', '.join([*ratios, *moved])} that in the other levels of {self.factor}"

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels it names."""
        return tuple(self.ratio_of_effects or self.difference_of_effects or self.only_in or ())


class ObservedSubgroups(Frozen):
    """What a published trial found in every level of a factor: a result of its record for each."""

    evidence: Id
    factor: Id
    levels: Annotated[dict[Id, Id], Field(min_length=2, max_length=20)]


# -- resolved ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cells:
    """The combinations of levels between which an effect differs, the last factor fastest.

    Attributes
    ----------
    factors : tuple of (id, number of levels)
        Empty where only a covariate modifies.
    shares : tuple of float, one per cell
        Of patients; factors are independent.
    relative : tuple of float, one per cell
        By how much the effect differs from the reference, on the analysis scale.
    active : tuple of bool, one per cell
        Whether treatment does anything there.
    per_sd : tuple of (covariate, difference)
        By how much the effect differs per SD of a covariate, on the analysis scale.
    """

    factors: tuple[tuple[str, int], ...]
    shares: Floats
    relative: Floats
    active: tuple[bool, ...]
    per_sd: tuple[tuple[str, float], ...] = ()

    def slopes_on_treatment(self, slopes: Sequence[tuple[str, float]]) -> dict[str, float]:
        """Return how the outcome changes with every covariate where treatment acts.

        Parameters
        ----------
        slopes : sequence of (covariate, slope)
            Without treatment.
        """
        found = dict(slopes)
        for name, more in self.per_sd:
            found[name] = found.get(name, 0.0) + more
        return found

    def within(self, factor: str, level: int) -> tuple[int, ...]:
        """Return the cells of one level of a modifying factor; all of them for another factor."""
        names = [name for name, _ in self.factors]
        every = product(*(range(n) for _, n in self.factors))
        if factor not in names:
            return tuple(range(len(self.shares)))
        place = names.index(factor)
        return tuple(index for index, cell in enumerate(every) if cell[place] == level)

    def averaged(self, values: Sequence[float], cells: Sequence[int]) -> float:
        """Return the mean of a number over the patients of some cells."""
        total = sum(self.shares[cell] for cell in cells)
        return sum(self.shares[cell] * values[cell] for cell in cells) / total


@dataclass(frozen=True)
class ModifiedRisks:
    """Marginal risks in every cell: their averages are the stated overall risks."""

    cells: Cells
    control: Floats
    treated: Floats


@dataclass(frozen=True)
class ModifiedMeans:
    """Effects on a mean (of logarithms, for a ratio of geometric means).

    Attributes
    ----------
    effects : tuple of tuple of float
        Of every cell, at every time; at the last they average to the stated effect.
    per_sd : tuple of (covariate, effects)
        What a standard deviation of it adds, at every time.
    """

    cells: Cells
    effects: tuple[Floats, ...]
    per_sd: tuple[tuple[str, Floats], ...]


Modified = ModifiedRisks | ModifiedMeans


def cells_of(
    modifiers: Sequence[Modifier],
    factors: Sequence[Factor],
    covariates: Sequence[str],
    *,
    ratios: bool,
) -> Cells | None:
    """Return the cells some modifiers of one endpoint make; None for none.

    Parameters
    ----------
    modifiers : sequence of Modifier
    factors : sequence of Factor
        Those of nature.
    covariates : sequence of str
        Ids of nature's, besides severity.
    ratios : bool
        Whether the endpoint's effect is a ratio: the analysis scale is then its logarithm.

    Raises
    ------
    ImpossibleModifierError
        Where a factor, level or covariate is unknown, no level is left as the reference, one
        modifies twice, or a ratio is stated of a difference.
    """
    if not modifiers:
        return None
    by_id = {factor.id: factor for factor in factors}
    names: list[str] = []
    by_factor: list[tuple[Floats, Floats, tuple[bool, ...]]] = []
    per_sd: list[tuple[str, float]] = []
    for modifier in modifiers:
        name = modifier.factor or modifier.covariate or ""
        if name in names:
            raise ImpossibleModifierError(f"modifies by '{name}' twice", "Keep one of the two.")
        names.append(name)
        _check_scale(modifier, ratios=ratios)
        if modifier.covariate:
            per_sd.append((name, _per_sd(modifier, covariates)))
            continue
        if name not in by_id:
            known = ", ".join(by_id) or "none yet"
            raise ImpossibleModifierError(
                f"modifies by '{name}', which is no factor under nature.factors",
                f"Describe it there, with the share of patients in each level; it has: {known}.",
            )
        by_factor.append(_of_factor(modifier, by_id[name]))
    own = tuple((name, len(by_id[name].shares)) for name in names if name in by_id)
    every = list(product(*(range(n) for _, n in own)))

    def combined(place: int) -> list[list[float]]:
        return [[part[place][i] for part, i in zip(by_factor, cell, strict=True)] for cell in every]

    active = tuple(all(cell) for cell in combined(2))
    return Cells(
        own,
        tuple(prod(cell) for cell in combined(0)),
        tuple(sum(cell) for cell in combined(1)),
        active,
        tuple(per_sd),
    )


def _check_scale(modifier: Modifier, *, ratios: bool) -> None:
    of_ratios = modifier.ratio_of_effects or modifier.ratio_of_effects_per_sd
    of_differences = modifier.difference_of_effects or modifier.difference_of_effects_per_sd
    if ratios and of_differences:
        raise ImpossibleModifierError(
            "states a difference of effects, but the effect of this endpoint is a ratio",
            "Write 'ratio_of_effects', or 'ratio_of_effects_per_sd', instead.",
        )
    if not ratios and of_ratios:
        raise ImpossibleModifierError(
            "states a ratio of effects, but the effect of this endpoint is a difference",
            "Write 'difference_of_effects', or 'difference_of_effects_per_sd', instead.",
        )


def _per_sd(modifier: Modifier, covariates: Sequence[str]) -> float:
    known = (SEVERITY, *covariates)
    if modifier.covariate not in known:
        raise ImpossibleModifierError(
            f"modifies by '{modifier.covariate}', which is no covariate",
            f"There are: {', '.join(known)}. Describe it under nature.covariates.",
        )
    if modifier.ratio_of_effects_per_sd:
        return log(modifier.ratio_of_effects_per_sd.value)
    assert modifier.difference_of_effects_per_sd is not None  # one of two, by the model
    return modifier.difference_of_effects_per_sd.value


def _of_factor(modifier: Modifier, factor: Factor) -> tuple[Floats, Floats, tuple[bool, ...]]:
    """Return shares, relative effects and whether treatment acts, per level."""
    known = [level.id for level in factor.levels or ()]
    listed = ", ".join(known)
    if not known:
        raise ImpossibleModifierError(
            f"modifies by '{factor.id}', whose levels have no names",
            "Give it 'levels' instead of 'equal_levels'.",
        )
    for name in modifier.levels:
        if name not in known:
            raise ImpossibleModifierError(
                f"names '{name}', which is no level of '{factor.id}'", f"It has: {listed}."
            )
    if set(modifier.levels) == set(known):
        if modifier.only_in:
            raise ImpossibleModifierError(
                f"names every level of '{factor.id}': nothing is modified",
                "Leave out the levels in which treatment does nothing.",
            )
        raise ImpossibleModifierError(
            f"names every level of '{factor.id}': none is left to be the reference",
            "Leave one out: the others are so many times its effect.",
        )
    if modifier.only_in:
        active = tuple(name in modifier.only_in for name in known)
        return factor.shares, (0.0,) * len(known), active
    ratios = modifier.ratio_of_effects or {}
    differences = modifier.difference_of_effects or {}
    relative = tuple(
        log(ratios[name].value)
        if name in ratios
        else differences[name].value
        if name in differences
        else 0.0
        for name in known
    )
    return factor.shares, relative, (True,) * len(known)


def modified_risks(
    cells: Cells, control: Floats, treated: float, summary: Summary
) -> ModifiedRisks:
    """Solve the risks on treatment that keep the overall one and the stated modification.

    With ``m`` the summary's scale (log odds ratio, log risk ratio, risk difference), the treated
    risk of cell ``g`` is the ``p1[g]`` at which ``m(p1[g], p0[g]) = theta + relative[g]``, and
    ``theta`` is the root of ``sum(share[g] * p1[g]) = treated``, which rises in theta.

    Parameters
    ----------
    cells : Cells
    control : tuple of float
        Control risk ``p0`` of every cell.
    treated : float
        The overall risk on treatment.
    summary : Summary

    Raises
    ------
    ImpossibleModifierError
        Where a risk would leave (0, 1), or no effect in some cells can give the overall one.
    """
    if cells.per_sd and summary is not Summary.ODDS_RATIO:
        raise ImpossibleModifierError(
            f"modifies per SD of a covariate, but the endpoint's summary is the {summary}",
            "A covariate modifies odds ratios: use that summary, or a factor in levels.",
        )

    def risks(theta: float) -> Floats:
        return tuple(
            _moved(p, theta + own, summary) if active else p
            for p, own, active in zip(control, cells.relative, cells.active, strict=True)
        )

    found = risks(
        _root(
            lambda theta: _average(cells.shares, risks(theta)),
            treated,
            -1.0 if summary is Summary.RISK_DIFFERENCE else -40.0,
            1.0 if summary is Summary.RISK_DIFFERENCE else 40.0,
            "give the overall risk on treatment",
        )
    )
    if not all(0 < p < 1 for p in found):
        worst = max(found, key=lambda p: abs(p - 0.5))
        raise ImpossibleModifierError(
            f"takes a subgroup's risk on treatment to {worst:.4g}, which is not between 0 and 1",
            "Use a ratio or difference nearer to none, or the odds ratio as the summary.",
        )
    return ModifiedRisks(cells, control, found)


def _moved(risk: float, theta: float, summary: Summary) -> float:
    if theta == 0:
        return risk
    match summary:
        case Summary.ODDS_RATIO:
            odds = exp(theta) * risk / (1 - risk)
            return odds / (1 + odds)
        case Summary.RISK_RATIO:
            return risk * exp(theta)
        case Summary.RISK_DIFFERENCE:
            return risk + theta


def _average(shares: Sequence[float], values: Sequence[float]) -> float:
    return sum(share * value for share, value in zip(shares, values, strict=True))


def _root(
    rising: Callable[[float], float], target: float, low: float, high: float, what: str
) -> float:
    """Return where a rising function is `target`; 0 where it already is there."""
    if abs(rising(0.0) - target) < 1e-15:
        return 0.0
    if not rising(low) < target < rising(high):
        raise ImpossibleModifierError(
            f"cannot {what} of {target:.4g}: the levels in which treatment acts hold too few "
            "patients, or its effect is too large",
            "Let treatment act in more levels, or state a smaller overall effect.",
        )
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=256)  # the same under every scenario of a file
def control_risks(
    cells: Cells, risk: float, factors: tuple[Factor, ...], prognostic_sd: float
) -> Floats:
    """Return the control risk of every cell, given the overall one and prognosis.

    Parameters
    ----------
    cells : Cells
    risk : float
    factors : tuple of Factor
    prognostic_sd : float
        Of the log odds that severity and covariates add, a normal sum.
    """
    rest, offsets = _scores(cells, factors, prognostic_sd)
    if len(rest) == 1 and len(set(offsets)) == 1:
        return (risk,) * len(cells.shares)

    def by_cell(intercept: float) -> tuple[Floats, float]:
        """Return the risk of every cell, and how fast their mean rises."""
        risks, rise = [], 0.0
        for share, offset in zip(cells.shares, offsets, strict=True):
            own = [(p, 1 / (1 + exp(-intercept - offset - score))) for score, p in rest]
            risks.append(sum(p * q for p, q in own))
            rise += share * sum(p * q * (1 - q) for p, q in own)
        return tuple(risks), rise

    scores = [score for score, _ in rest]
    low = log(risk / (1 - risk)) - max(offsets) - max(scores)
    high = log(risk / (1 - risk)) - min(offsets) - min(scores)
    intercept = (low + high) / 2
    for _ in range(100):  # Newton's method inside a bracket
        found, rise = by_cell(intercept)
        excess = _average(cells.shares, found) - risk
        if abs(excess) < 1e-14 * min(risk, 1 - risk) or high - low < 1e-14:
            break
        low, high = (low, intercept) if excess > 0 else (intercept, high)
        step = intercept - excess / rise if rise else low
        intercept = step if low < step < high else (low + high) / 2
    return by_cell(intercept)[0]


def _scores(
    cells: Cells, factors: Sequence[Factor], prognostic_sd: float
) -> tuple[list[tuple[float, float]], Floats]:
    """Return what others add to the log odds, with its probabilities, and what each cell adds."""
    by_id = {factor.id: factor for factor in factors}
    own = [[log(ratio) for ratio in by_id[name].odds_ratios] for name, _ in cells.factors]
    offsets = tuple(sum(cell) for cell in product(*own))
    names = {name for name, _ in cells.factors}
    scores = {0.0: 1.0}
    for factor in factors:
        if factor.id in names or set(factor.odds_ratios) == {1.0}:
            continue
        merged: dict[float, float] = {}
        for score, p in scores.items():
            for ratio, share in zip(factor.odds_ratios, factor.shares, strict=True):
                there = score + log(ratio)
                merged[there] = merged.get(there, 0.0) + p * share
        scores = merged
    spread = list(_normal(prognostic_sd))
    return [(a + b, p * q) for a, p in scores.items() for b, q in spread], offsets


def _normal(sd: float) -> Iterator[tuple[float, float]]:
    """Yield a normal distribution by the trapezoidal rule, as in `trialsim.kernels.marginal`."""
    if not sd:
        yield 0.0, 1.0
        return
    n = max(30, ceil(13 * sd))  # steps on each side: errors below 1e-11 whatever the SD
    grid = [9 * step / n for step in range(-n, n + 1)]
    weights = [exp(-(x**2) / 2) for x in grid]
    total = sum(weights)
    for x, weight in zip(grid, weights, strict=True):
        yield sd * x, weight / total


def modified_lifetimes(
    lifetimes: Lifetimes,
    cells: Cells,
    ratios: Sequence[tuple[float, float]],
    day: float,
) -> Lifetimes:
    """Return both arms' distributions in every cell.

    The hazard ratio of cell ``g`` is ``c * ratio[g]`` times the stated one at all times, where
    treatment acts, and ``c`` is the root of ``sum(share[g] * S1[g](day)) = S1(day)``: the treated
    arm's survival at the read-out is the one the stated hazard ratio gives when it acts alike in
    all. (A hazard ratio that is constant in every subgroup is not constant overall.)

    Parameters
    ----------
    lifetimes : Lifetimes
        Without modifiers.
    cells : Cells
    ratios : sequence of (until, ratio)
        The stated hazard ratio or ratios.
    day : float
        Of the primary endpoint's read-out.

    Raises
    ------
    ImpossibleModifierError
        Where a covariate modifies, the treated arm states itself, or no ratio gives that survival.
    """
    if cells.per_sd:
        raise ImpossibleModifierError(
            "modifies a hazard ratio by a covariate, on which times to an event do not depend",
            "Modify by a factor in levels.",
        )
    if not ratios:
        raise ImpossibleModifierError(
            "modifies an effect that is stated by the treated arm's own lifetime",
            "State a hazard ratio, or lifetimes by level and no modifier.",
        )
    names = [name for name, _ in cells.factors]
    if lifetimes.factor in names or not lifetimes.factor:
        factors = cells.factors
    else:
        factors = (*cells.factors, (lifetimes.factor, len(lifetimes.shares)))
    base: list[tuple[float, HazardCurve, int]] = []  # share, control, cell of the modifiers
    for index, (cell, share) in enumerate(
        zip(product(*(range(n) for _, n in cells.factors)), cells.shares, strict=True)
    ):
        if not lifetimes.factor:
            base.append((share, lifetimes.control[0], index))
        elif lifetimes.factor in names:
            base.append((share, lifetimes.control[cell[names.index(lifetimes.factor)]], index))
        else:
            base += [
                (share * own, curve, index)
                for own, curve in zip(lifetimes.shares, lifetimes.control, strict=True)
            ]

    def curves(log_factor: float) -> tuple[HazardCurve, ...]:
        return tuple(
            curve.times(
                [(until, r * exp(log_factor + cells.relative[cell])) for until, r in ratios]
            )
            if cells.active[cell]
            else curve
            for _, curve, cell in base
        )

    shares = tuple(share for share, _, _ in base)

    def risk(log_factor: float) -> float:
        return 1 - _average(shares, [curve.survival(day) for curve in curves(log_factor)])

    target = 1 - _average(shares, [c.times(ratios).survival(day) for _, c, _ in base])
    found = curves(_root(risk, target, -40.0, 6.0, "give the treated arm a risk at the read-out"))
    control = tuple(curve for _, curve, _ in base)
    return replace(
        lifetimes,
        factor="",
        cells=factors,
        shares=shares,
        control=control,
        treated=found,
        constant_ratio=1.0 if found == control else None,
    )


def modified_outcome(truth: OutcomeTruth, cells: Cells, summary: Summary | None) -> Modified:
    """Modify the effect on an endpoint that stands under ``outcomes:``; the overall effect stays.

    Means average linearly: the effect of cell ``g`` is ``theta + relative[g]``, and theta such that
    the mean over patients is as stated. At earlier times the differences are in proportion to the
    stated effects. Spread within a cell is as stated, so that the treated arm as a whole spreads a
    little more. Risks are the same in every cell without treatment.

    Raises
    ------
    ImpossibleModifierError
        For kinds of endpoint for which that is not there.
    """
    match truth:
        case MeasuredTruth():
            return _modified_means(truth, cells)
        case RiskTruth():
            if cells.per_sd:
                raise ImpossibleModifierError(
                    "modifies a further risk by a covariate", "Modify by a factor in levels."
                )
            assert summary is not None  # a binary endpoint has one of risks
            control = (truth.control,) * len(cells.shares)
            return modified_risks(cells, control, truth.treated, summary)
        case _:
            raise ImpossibleModifierError(
                "modifies an effect on an endpoint of a kind for which that is not there yet",
                "Modify the effect on a binary, continuous or time-to-event endpoint.",
            )


def _modified_means(truth: MeasuredTruth, cells: Cells) -> ModifiedMeans:
    overall = [t - c for t, c in zip(truth.treated, truth.control, strict=True)]
    last = overall[-1]
    weights = [s if active else 0.0 for s, active in zip(cells.shares, cells.active, strict=True)]
    shift = _average(weights, cells.relative)
    part = [mean / last if last else 1.0 for mean in overall]
    effects = tuple(
        tuple(
            (mean - shift * p) / sum(weights) + own * p if active else 0.0
            for mean, p in zip(overall, part, strict=True)
        )
        for own, active in zip(cells.relative, cells.active, strict=True)
    )
    per_sd = tuple((name, tuple(slope * p for p in part)) for name, slope in cells.per_sd)
    return ModifiedMeans(cells, effects, per_sd)
