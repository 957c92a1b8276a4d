"""What if the control risk is not as planned, and the size is computed again during the trial.

After a share of the planned patients has been read out, their pooled event rate, which needs no
unblinding, replaces the planned one; the planned effect is kept, and the size is computed again by
the formula the trial was planned with. All patients are analysed together, by Pearson's chi-square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from trialsim.characteristics import Characteristic, mean, proportion
from trialsim.engine.run import check_request
from trialsim.errors import DesignError, Problem
from trialsim.kernels.increments import binomial
from trialsim.kernels.proportions import Scale, normal_p, pearson_z, restricted_risks
from trialsim.protocol.scenario import risk_at_odds_ratio
from trialsim.sizing.fixed import (
    EQUAL,
    MOST_PATIENTS,
    TWO_SIDED_5,
    Allocation,
    FixedSize,
    Level,
    problem_unless,
    refuse,
)
from trialsim.sizing.proportions import TwoProportions, proportions_size
from trialsim.streams import Decision, Streams, block_width
from trialsim.trial import Measure

__all__ = [
    "QUANTILES",
    "Interim",
    "Reestimated",
    "Reestimation",
    "SizeRule",
    "TrueEffect",
    "reestimated",
    "risks_at_pooled_rate",
]

QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class SizeRule(StrEnum):
    """How far the size may move (Friede and Kieser 2004): never above the maximum.

    Restricted: nor below the planned size. Unrestricted: nor below what is enrolled already.
    """

    RESTRICTED = "restricted"
    UNRESTRICTED = "unrestricted"


class Interim(StrEnum):
    """What is looked at to compute the size again."""

    BLINDED = "pooled event rate, blinded"
    UNBLINDED = "event rate by arm, unblinded"


class TrueEffect(StrEnum):
    """What treatment does, at each true control risk."""

    NONE = "no effect"
    PLANNED = "planned effect"


def risks_at_pooled_rate(
    pooled_rate: float, effect: float, scale: Scale, treated_share: float = 0.5
) -> tuple[float, float]:
    """Return the (treated, control) risks that have a pooled rate and keep an effect.

    Parameters
    ----------
    pooled_rate : float
        In (0, 1).
    effect : float
        Treated to control, on `scale`; ratios not as logarithms.
    treated_share : float
        Of all patients.

    Returns
    -------
    treated, control : float
        Outside (0, 1) where the effect cannot be.

    References
    ----------
    Gould (1992), Statistics in Medicine 11:55-66.
    """
    if scale is Scale.RISK_DIFFERENCE:
        control = pooled_rate - treated_share * effect
        return control + effect, control
    if scale is Scale.RISK_RATIO:
        control = pooled_rate / (treated_share * effect + 1 - treated_share)
        return control * effect, control
    # maximum-likelihood risks under an odds ratio add up to the events seen
    own, other = restricted_risks(
        pooled_rate, treated_share, pooled_rate, 1 - treated_share, effect, scale
    )
    return float(own), float(other)


@dataclass(frozen=True)
class Reestimation:
    """A two-arm trial whose size is computed again from the blinded pooled event rate.

    Attributes
    ----------
    treated_risk, control_risk : float
        As planned, in (0, 1).
    interim_share : float
        Of the planned patients, read out when the size is computed again; in (0, 1). Rounded up to
        whole allocation units.
    n_maximum : int
        Patients in both arms, at most.
    rule : SizeRule
    scale : Scale
        On which the effect is kept as planned.
    n_planned : int or None
        Patients in both arms; by the formula if left out.
    n_enrolled : int or None
        Patients who have entered by the time the size is computed again, from those read out (if
        left out) to the maximum; the size does not fall below.
    power : float
    level : Level
    allocation : Allocation
        Kept exactly at the interim and at the end, as in permuted blocks.
    interim : Interim

    Raises
    ------
    DesignError
        Where the design cannot be met, and for unblinded re-estimation.

    References
    ----------
    Gould (1992), Statistics in Medicine 11:55-66; Gould and Shih (1992), Communications in
    Statistics - Theory and Methods 21:2833-2853; Friede and Kieser (2004), Pharmaceutical
    Statistics 3:269-279; Kieser and Friede (2000), Drug Information Journal 34:455-460; Friede and
    Kieser (2013), Pharmaceutical Statistics 12:141-146.
    """

    treated_risk: float
    control_risk: float
    interim_share: float
    n_maximum: int
    rule: SizeRule = SizeRule.RESTRICTED
    scale: Scale = Scale.ODDS_RATIO
    n_planned: int | None = None
    n_enrolled: int | None = None
    power: float = 0.8
    level: Level = TWO_SIDED_5
    allocation: Allocation = EQUAL
    interim: Interim = Interim.BLINDED

    def __post_init__(self) -> None:
        rule = (
            "is not supported: a size that follows the effect seen so far inflates the type I "
            "error of one test of all patients, unless stages are combined with weights fixed in "
            "advance (Cui, Hung and Wang 1999, Biometrics 55:853-857)"
        )
        remedy = "Use the blinded pooled event rate."
        blinded = self.interim is Interim.BLINDED
        refuse(problem_unless(blinded, "interim", self.interim, rule, remedy))
        rule, remedy = "must be in (0, 1)", "Half of the planned patients is 0.5."
        _ = self._by_formula  # refuses risks, effects and powers that no size meets
        refuse(
            problem_unless(
                0 < self.interim_share < 1, "interim_share", self.interim_share, rule, remedy
            ),
            *(self._whole(name, size) for name, size in self._stated),
        )
        refuse(*self._in_order())
        least, most = self._possible_control_risks
        refuse(
            problem_unless(
                least < most,
                "interim_share",
                self.interim_share,
                f"must read out more than {self.n_interim} patients",
                "Half an event in each arm must be possible under the planned effect.",
            )
        )

    @property
    def _stated(self) -> Iterator[tuple[str, int]]:
        for name in ("n_planned", "n_enrolled", "n_maximum"):
            size = getattr(self, name)
            if size is not None:
                yield name, size

    def _whole(self, name: str, size: int) -> tuple[Problem, ...]:
        unit = self.allocation.unit
        rule = f"must be a multiple of {unit} from {unit} to {MOST_PATIENTS:,}"
        holds = isinstance(size, int) and size % unit == 0 and unit <= size <= MOST_PATIENTS
        return problem_unless(holds, name, size, rule, "Round it up to whole allocation units.")

    def _in_order(self) -> Iterator[tuple[Problem, ...]]:
        yield problem_unless(
            self.n_maximum >= self.planned_total,
            "n_maximum",
            self.n_maximum,
            f"must not be below the planned size, {self.planned_total:,}",
            "State how many patients the trial could enrol at most.",
        )
        yield problem_unless(
            self.n_interim <= self.enrolled_total <= self.n_maximum,
            "n_enrolled",
            self.enrolled_total,
            f"must be from the {self.n_interim:,} read out to the maximum, {self.n_maximum:,}",
            "State who has entered by the time the size is computed again.",
        )

    @property
    def effect(self) -> float:
        """The planned effect, treated to control, on its scale."""
        return TwoProportions(self.treated_risk, self.control_risk, self.scale).effect

    def treated_risk_at(self, control_risk: float) -> float:
        """Return the risk on treatment under the planned effect; outside (0, 1) for impossible."""
        if self.scale is Scale.ODDS_RATIO:
            return risk_at_odds_ratio(self.effect, control_risk)
        if self.scale is Scale.RISK_RATIO:
            return control_risk * self.effect
        return control_risk + self.effect

    def formula_size(self, pooled_rate: float) -> int:
        """Return the total the formula gives at a pooled rate, before any rule.

        Where the effect leaves no risk between half an event and all but half an event of those
        read out, the nearest rate at which it does is taken.
        """
        _, control = risks_at_pooled_rate(
            pooled_rate, self.effect, self.scale, self.allocation.treated_share
        )
        least, most = self._possible_control_risks
        control = min(max(control, least), most)
        design = TwoProportions(self.treated_risk_at(control), control)
        try:
            return proportions_size(design, self.power, self.level, self.allocation).total
        except DesignError:  # more than any trial could enrol
            return MOST_PATIENTS

    def final_size(self, interim_events: int) -> int:
        """Return the total after so many events, in both arms, among those read out."""
        return int(self._final_sizes[interim_events])

    @property
    def planned_total(self) -> int:
        """Patients planned in both arms."""
        return self._by_formula.total if self.n_planned is None else self.n_planned

    @property
    def n_interim(self) -> int:
        """Patients read out, in both arms, when the size is computed again."""
        units = self.planned_total // self.allocation.unit
        return max(1, ceil(self.interim_share * units - 1e-9)) * self.allocation.unit

    @property
    def enrolled_total(self) -> int:
        """Patients enrolled when the size is computed again."""
        return self.n_interim if self.n_enrolled is None else self.n_enrolled

    @cached_property
    def _by_formula(self) -> FixedSize:
        design = TwoProportions(self.treated_risk, self.control_risk)
        return proportions_size(design, self.power, self.level, self.allocation)

    @cached_property
    def _possible_control_risks(self) -> tuple[float, float]:
        """Least and largest control risk at which both risks are possible."""
        half = 0.5 / self.n_interim
        if self.scale is Scale.ODDS_RATIO:
            low, high = (risk_at_odds_ratio(1 / self.effect, p) for p in (half, 1 - half))
        elif self.scale is Scale.RISK_RATIO:
            low, high = half / self.effect, (1 - half) / self.effect
        else:
            low, high = half - self.effect, 1 - half - self.effect
        return max(half, low), min(1 - half, high)

    @cached_property
    def _final_sizes(self) -> Ints:
        """Total by events among those read out, shape (n_interim + 1,)."""
        least = self.enrolled_total
        if self.rule is SizeRule.RESTRICTED:
            least = max(least, self.planned_total)
        n = self.n_interim
        found = np.array([self.formula_size(events / n) for events in range(n + 1)])
        return np.asarray(np.clip(found, least, self.n_maximum))


@dataclass(frozen=True)
class Reestimated:
    """Both designs under one truth, from the same patients.

    Attributes
    ----------
    truth : TrueEffect
    control_risk, treated_risk : float
    rejected, rejected_fixed : Characteristic
        Type I error or power, in either direction of a two-sided test: of the design whose size is
        computed again, and of the fixed one at the planned size.
    gained : Characteristic
        Their difference; its standard error knows that patients are shared.
    expected_n : Characteristic
    n_quantiles : tuple of int
        At `QUANTILES`.
    at_maximum : Characteristic
        Share of trials that grow to the maximum.
    """

    truth: TrueEffect
    control_risk: float
    treated_risk: float
    rejected: Characteristic
    rejected_fixed: Characteristic
    gained: Characteristic
    expected_n: Characteristic
    n_quantiles: tuple[int, ...]
    at_maximum: Characteristic


def reestimated(
    design: Reestimation,
    control_risks: Sequence[float],
    *,
    replicates: int = 10_000,
    seed: int = 1,
) -> tuple[Reestimated, ...]:
    """Simulate a design, and the fixed one beside it, at true control risks.

    Events by inverse distribution function from the uniforms that decide the counts of a trial with
    two looks: all truths meet the same luck, and more replicates extend a run.

    Parameters
    ----------
    design : Reestimation
    control_risks : sequence of float
        In (0, 1).
    replicates : int
    seed : int

    Returns
    -------
    tuple of Reestimated
        Per control risk: without effect, then under the planned one.

    Raises
    ------
    DesignError
        Where a control risk is outside (0, 1), or the planned effect takes it there.
    RequestError
        For `replicates` or `seed` out of range.
    """
    check_request(replicates, seed)
    refuse(*(_possible(design, risk) for risk in control_risks))
    luck = _luck(replicates, seed)
    found = []
    for risk in control_risks:
        for truth in TrueEffect:
            treated = risk if truth is TrueEffect.NONE else design.treated_risk_at(risk)
            found.append(_under(design, truth, treated, risk, luck))
    return tuple(found)


def _possible(design: Reestimation, control_risk: float) -> tuple[Problem, ...]:
    holds = 0 < control_risk < 1 and 0 < design.treated_risk_at(control_risk) < 1
    rule = "must be in (0, 1), and the risk on treatment under the planned effect too"
    remedy = "Leave it out, or state the effect on another scale."
    return problem_unless(holds, "control_risks", control_risk, rule, remedy)


def _luck(replicates: int, seed: int) -> Floats:
    """Uniforms of shape (replicates, stage, arm): before and after the interim; treated first."""
    width, streams = block_width(0, counts=True), Streams(seed)
    blocks = [
        streams.generator(Decision.COUNTS, block).random((width, 2, 4))[:, :, 1:3]
        for block in range(-(-replicates // width))
    ]
    return np.concatenate(blocks)[:replicates]


def _under(
    design: Reestimation, truth: TrueEffect, treated_risk: float, control_risk: float, luck: Floats
) -> Reestimated:
    risks = (treated_risk, control_risk)
    shares = np.array([design.allocation.treated, design.allocation.control])
    at_interim = design.n_interim // design.allocation.unit * shares
    early = [
        binomial(luck[:, 0, arm], np.full(len(luck), at_interim[arm]), risks[arm]) for arm in (0, 1)
    ]
    total = design._final_sizes[early[0] + early[1]]

    def rejects(patients: Ints) -> Bools:
        counts = []
        for arm in (0, 1):
            n = patients // design.allocation.unit * shares[arm]
            late = binomial(luck[:, 1, arm], n - at_interim[arm], risks[arm])
            counts += [early[arm] + late, n]
        z = pearson_z(*counts)
        towards = z if design.treated_risk < design.control_risk else -z
        return np.asarray(normal_p(towards, design.level.sides) <= design.level.alpha)

    own, fixed = rejects(total), rejects(np.full(len(luck), design.planned_total))
    measure = Measure.TYPE_I_ERROR if truth is TrueEffect.NONE else Measure.POWER
    return Reestimated(
        truth=truth,
        control_risk=control_risk,
        treated_risk=treated_risk,
        rejected=proportion(measure, own),
        rejected_fixed=proportion(measure, fixed),
        gained=mean(measure, own.astype(float) - fixed),
        expected_n=mean(Measure.EXPECTED_N, total.astype(float)),
        n_quantiles=tuple(int(n) for n in np.quantile(total, QUANTILES, method="inverted_cdf")),
        at_maximum=proportion(Measure.AT_MAXIMUM_N, total == design.n_maximum),
    )
