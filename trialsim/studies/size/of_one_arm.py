"""The size of a single arm whose risk is compared with a known one: one stage, or Simon's two.

`OneArm` needs four numbers; `OneArmSize` is one about a template, told like the other sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

import numpy as np

from trialsim.characteristics import Characteristic, mean, proportion
from trialsim.errors import DesignError, Problem, RequestError
from trialsim.kernels.increments import binomial
from trialsim.kernels.one_sample import Stages, outcome_probabilities
from trialsim.protocol.endpoints import Better
from trialsim.protocol.published.cautions import Caution, assumption, unlike_formula
from trialsim.sizing.fixed import MOST_PATIENTS, problem_unless, refuse
from trialsim.sizing.single_arm import (
    SimonCriterion,
    SingleStage,
    TwoStage,
    simon_two_stage,
    single_stage_power,
    single_stage_size,
)
from trialsim.streams import Decision, Streams, block_width
from trialsim.studies.size.question import SizeQuestion
from trialsim.studies.size.screening import screened_for, screening_rows
from trialsim.trial import Measure, Row, StudyResult

__all__ = ["OneArm", "OneArmRow", "OneArmSize", "SimulatedArm", "known_risk"]

_MOST_IN_TWO_STAGES = 300  # patients of the single stage, from which no two stages are searched
_SAME_RISK = 1e-9
_UNIT = "size of a single arm"  # names the stream


@dataclass(frozen=True)
class OneArmRow:
    """A design of one or two stages with its exact operating characteristics.

    Attributes
    ----------
    name : str
    n_first, most_to_stop : int
        Stops for futility with at most so many among the first; `n` and -1 for one stage.
    n, least_to_reject : int
        Rejects the null risk with at least so many among all.
    type_1_error, power : float
    expected_n, stop_probability : float
        Under the null risk.
    conventions : tuple of str
    """

    name: str
    n_first: int
    most_to_stop: int
    n: int
    least_to_reject: int
    type_1_error: float
    power: float
    expected_n: float
    stop_probability: float
    conventions: tuple[str, ...]

    @classmethod
    def of(cls, name: str, found: SingleStage | TwoStage) -> OneArmRow:
        """Return what was found as a row."""
        if isinstance(found, SingleStage):
            return cls(
                name,
                found.n,
                -1,
                found.n,
                found.least_responses,
                found.type_1_error,
                found.power,
                float(found.n),
                0.0,
                found.conventions,
            )
        return cls(
            name,
            found.n_first,
            found.most_to_stop,
            found.n,
            found.most_to_accept + 1,
            found.type_1_error,
            found.power,
            found.expected_n,
            found.stop_probability,
            found.conventions,
        )

    def chance_at(self, rate: float) -> float:
        """Return the exact chance to reject at a rate of the good outcome."""
        stages = Stages(self.n, self.n_first, self.most_to_stop)
        ends = outcome_probabilities(stages, [rate])
        return float(ends[..., self.least_to_reject :].sum())

    @property
    def rule(self) -> str:
        """The decision rule in a few signs."""
        stop = f"stop at <= {self.most_to_stop}/{self.n_first}; " if self.most_to_stop >= 0 else ""
        return f"{stop}reject at >= {self.least_to_reject}/{self.n}"


@dataclass(frozen=True)
class SimulatedArm:
    """A design simulated: shares of trials that reject, and mean patients under the null risk."""

    power: Characteristic
    type_1_error: Characteristic
    expected_n: Characteristic


@dataclass(frozen=True)
class OneArm:
    """A single arm against a known risk.

    Attributes
    ----------
    null_risk, risk : float
        Of the event, in (0, 1): the known one, and that of the treatment.
    better : Better
        Where lower is better, patients without the event are counted.
    alpha : float
        One-sided.
    power : float
    """

    null_risk: float
    risk: float
    better: Better = Better.HIGHER
    alpha: float = 0.05
    power: float = 0.8

    def __post_init__(self) -> None:
        """Refuse risks that cannot be, and harm (DesignError)."""
        rule, remedy = "must be in (0, 1)", "Write 20% as 0.2."
        refuse(
            *(
                problem_unless(0 < risk < 1, name, risk, rule, remedy)
                for name, risk in (("the known risk", self.null_risk), ("the risk", self.risk))
            )
        )
        null, good = self.rates
        rule = f"must be on the better side of the known one, {self.null_risk:g}: {self.better}"
        remedy = "State a benefit, or what is better of the endpoint."
        refuse(problem_unless(good > null, "the risk", f"{self.risk:g}", rule, remedy))

    @property
    def rates(self) -> tuple[float, float]:
        """Rates of the good outcome: the known one, and that of the treatment."""
        if self.better is Better.HIGHER:
            return self.null_risk, self.risk
        return 1 - self.null_risk, 1 - self.risk

    @cached_property
    def single_stage(self) -> OneArmRow:
        """The smallest size from which the exact binomial test keeps its power."""
        return OneArmRow.of("single stage", single_stage_size(*self.rates, self.power, self.alpha))

    def two_stage(self, criterion: SimonCriterion) -> OneArmRow:
        """Return Simon's design.

        Raises
        ------
        DesignError
            If there is none up to 300 patients.
        """
        if self.single_stage.n > _MOST_IN_TWO_STAGES:
            rule = f"are not searched above {_MOST_IN_TWO_STAGES} patients"
            found = f"{self.single_stage.n} in one stage"
            raise DesignError(Problem(rule, "State a larger difference.", "two stages", found))
        design = simon_two_stage(*self.rates, criterion, self.power, self.alpha)
        return OneArmRow.of(f"Simon's {criterion}", design)

    @cached_property
    def designs(self) -> tuple[OneArmRow, ...]:
        """The single stage, then Simon's optimal and minimax where they are to be had."""
        found = [self.single_stage]
        for criterion in SimonCriterion:
            try:
                found.append(self.two_stage(criterion))
            except DesignError:
                continue
        return tuple(found)

    def power_of(self, n: int) -> float:
        """Return the exact power of so many patients in one stage (DesignError)."""
        return single_stage_power(*self.rates, n, self.alpha)

    def simulate(self, design: OneArmRow, *, replicates: int, seed: int) -> SimulatedArm:
        """Simulate a design under both risks; the same patients meet them.

        Raises
        ------
        DesignError
            If it has more patients than can be simulated.
        """
        width, streams = block_width(0, counts=True), Streams(seed, _UNIT)
        luck = np.concatenate(
            [
                streams.generator(Decision.COUNTS, block).random((width, 2))
                for block in range(-(-replicates // width))
            ]
        )[:replicates]
        ends = []
        for rate in self.rates:
            first, later = (
                binomial(luck[:, stage], np.full(len(luck), n), rate)
                for stage, n in enumerate((design.n_first, design.n - design.n_first))
            )
            goes_on = first > design.most_to_stop
            ends.append((goes_on, goes_on & (first + later >= design.least_to_reject)))
        (goes_on, wrong), (_, right) = ends
        used = np.where(goes_on, design.n, design.n_first).astype(float)
        return SimulatedArm(
            proportion(Measure.POWER, right),
            proportion(Measure.TYPE_I_ERROR, wrong),
            mean(Measure.EXPECTED_N, used),
        )

    def r_calls(self) -> str:
        """Return the R calls that reproduce the designs."""
        (null, good), one = self.rates, self.single_stage
        tail = f"pbinom({one.least_to_reject - 1}, {one.n}, c({null:.12g}, {good:.12g})"
        most = max(design.n for design in self.designs) + 1
        simon = (
            f"; clinfun::ph2simon({null:.12g}, {good:.12g}, {self.alpha:.12g}, "
            f"{1 - self.power:.12g}, nmax = {most})"
        )
        return f"{tail}, lower.tail = FALSE){simon if len(self.designs) > 1 else ''}"


def known_risk(question: SizeQuestion) -> float | None:
    """Return the risk a single arm is compared with; None where there are two arms.

    Raises
    ------
    RequestError
        For a single arm that is compared with anything but a known risk.
    """
    protocol = question.protocol
    if not protocol.is_single_arm:
        return None
    stated = protocol.historical_value(protocol.primary.id)
    if stated is not None and stated.risk is not None and stated.n is None:
        return stated.risk.value
    rule = "is not compared with a known risk, which is what one arm is sized against"
    remedy = "Try sizes with 'simulate --set protocol.sample_size.total=N'."
    raise RequestError(Problem(rule, remedy, f"protocol.endpoints.{protocol.primary.id}"))


@dataclass(frozen=True)
class OneArmSize(SizeQuestion):
    """The size of a template's single arm.

    Attributes
    ----------
    null_risk : float
        The known risk it is compared with; that of the treatment is the truth's.
    """

    null_risk: float

    @cached_property
    def arm(self) -> OneArm:
        """The four numbers, and the direction (DesignError where they cannot be)."""
        _, treated = self.risks
        alpha, power = self.level.per_side, self.request.power
        return OneArm(self.null_risk, treated, self.plan.better, alpha, power)

    @property
    def arms_in_words(self) -> str:
        """The known risk, then the treated one."""
        event, (_, treated) = self.protocol.primary.event, self.risks
        return f"{event} in {100 * treated:.1f}% against a known {100 * self.null_risk:.1f}%"

    @property
    def test_in_words(self) -> str:
        """The test with its sides and level."""
        return f"exact binomial, one-sided {100 * self.level.per_side:g}%"

    def check(self) -> None:
        """Refuse options that belong to two arms, and shares that cannot be (RequestError)."""
        problems, loss = list(_two_arm_options(self)), self.request.loss
        if self.truth.is_null:
            rule, remedy = "has no effect: no size finds it", "Name another with --scenario."
            problems.append(Problem(rule, remedy, "--scenario", self.scenario.id))
        if loss is not None and not 0 <= loss < 1:
            rule, remedy = "must be from 0 to below 1", "5% is 0.05."
            problems.append(Problem(rule, remedy, "--dropout", f"{loss:g}"))
        if problems:
            raise RequestError(problems)

    def randomised(self, n: int) -> int:
        """Return the patients to enter so that so many are analysed (DesignError)."""
        total = ceil(n / (1 - (self.request.loss or 0.0)) - 1e-9)
        rule, remedy = f"must not exceed {MOST_PATIENTS:,}", "State a smaller --dropout."
        refuse(problem_unless(total <= MOST_PATIENTS, "patients", total, rule, remedy))
        return total

    def result(self, *, replicates: int = 10_000, seed: int = 1) -> StudyResult:
        """Return the designs, exact and simulated again, as rows, texts and warnings.

        Raises
        ------
        DesignError
            For a design that cannot be met.
        """
        arm = self.arm
        found = [
            (design, arm.simulate(design, replicates=replicates, seed=seed))
            for design in arm.designs
        ]
        return StudyResult(
            rows=tuple(self._rows(found)),
            texts={"paragraph": self._paragraph(found[0]), "elsewhere": arm.r_calls()},
            warnings=tuple(self._cautions(found)),
            figure_data={"designs": found},
            n_replicates=replicates,
        )

    def _rows(self, found: list[tuple[OneArmRow, SimulatedArm]]) -> Iterator[Row]:
        blank = self._blank()
        for number, (design, simulated) in enumerate(found):
            here = replace(blank, analysis=f"{design.name}: {design.rule}")
            yield replace(
                here,
                measure=Measure.N_TOTAL,
                value=float(design.n),
                level=self.request.power,
                unit="patients",
                headline=number == 0,
            )
            for measure, value in (
                (Measure.TYPE_I_ERROR, design.type_1_error),
                (Measure.POWER_ACHIEVED, design.power),
                (Measure.EXPECTED_N, design.expected_n),
                (Measure.STOP_PROBABILITY, design.stop_probability),
            ):
                yield replace(here, measure=measure, value=value)
            yield replace(simulated.power.row(here), measure=Measure.POWER_SIMULATED)
            yield simulated.type_1_error.row(here)
            yield simulated.expected_n.row(here)
            yield from screening_rows(
                screened_for(self.resolved, self.randomised(design.n)), replace(here, scale=None)
            )
        if self.request.total is not None:
            n = self.request.total
            power, words = self.arm.power_of(n), f"single stage of {n:,}"
            yield replace(blank, measure=Measure.POWER_ACHIEVED, value=power, analysis=words)

    @property
    def differs_today(self) -> bool:
        """Whether patients like today's, untreated, have another risk than the known one."""
        return abs(self.risks[0] - self.null_risk) > _SAME_RISK

    def false_findings(self, design: OneArmRow) -> float:
        """Return the exact chance that a treatment without effect is found in today's patients."""
        today = self.risks[0] if self.plan.better is Better.HIGHER else 1 - self.risks[0]
        return design.chance_at(today)

    def _cautions(self, found: list[tuple[OneArmRow, SimulatedArm]]) -> Iterator[Caution]:
        today, treated = self.risks
        if self.differs_today:
            said = (
                f"Patients like today's have a risk of {100 * today:.1f}% without the treatment, "
                f"not the known {100 * self.null_risk:.1f}%: part of the way to "
                f"{100 * treated:.1f}% is no effect, and a trial that finds it is no proof of one."
            )
            yield assumption(said, self.scenario.id)
        for design, simulated in found:
            value, mcse = simulated.power.value, simulated.power.mcse
            assert value is not None
            assert mcse is not None
            if abs(value - design.power) > 4 * mcse:
                yield unlike_formula(design.power, value, f"{design.name} is exact")

    def _paragraph(self, found: tuple[OneArmRow, SimulatedArm]) -> str:
        design, simulated = found
        power, error = simulated.power, simulated.type_1_error
        assert power.value is not None
        assert power.mcse is not None
        assert error.value is not None
        counted = "with" if self.arm.better is Better.HIGHER else "without"
        event = self.protocol.primary.event
        lost = ""
        if self.request.loss:
            lost = (
                f" Allowing for {100 * self.request.loss:.4g}% without outcome, "
                f"{self.randomised(design.n):,} enter."
            )
        stated = self.protocol.historical_value(self.protocol.primary.id)
        known = (stated.number.source if stated else None) or "assumed"
        today = ""
        if self.differs_today:
            today = (
                f" In patients like today's, {100 * self.risks[0]:.1f}% untreated (assumed), a "
                f"treatment without effect is found in {100 * self.false_findings(design):.1f}%."
            )
        return (
            f"{design.n:,} patients in one arm give {100 * design.power:.1f}% power (target "
            f"{100 * self.request.power:g}%) to find {self.truth.label} "
            f"({self.truth.source or 'assumed'}), {self.arms_in_words}, with {self.with_test} "
            f"(type I error {100 * design.type_1_error:.2f}%): the known risk is rejected with at "
            f"least {design.least_to_reject:,} {counted} {event}.{lost} Simulated {power.n:,} "
            f"times, {100 * power.value:.1f}% rejected it under the effect (Monte Carlo standard "
            f"error {100 * power.mcse:.1f}) and {100 * error.value:.1f}% at the known risk.{today} "
            f"Conventions: {'; '.join(design.conventions)}. References: known risk, {known}. "
            "Written after SPIRIT 2025, item 19."
        )


def _two_arm_options(question: SizeQuestion) -> Iterator[Problem]:
    """Yield what was asked for and belongs to two arms."""
    request = question.request
    for option, given in (
        ("--ratio", request.allocation is not None),
        ("--looks", bool(request.information)),
        ("--margin", request.margin is not None),
        ("--exact", bool(request.exact)),
        ("--prior", bool(request.prior)),
        ("--reestimate", request.reestimate is not None),
        ("--grid", request.grid),
        ("--by", request.by_simulation),
        ("--observed", bool(request.observed)),
        ("--important", bool(request.important)),
        ("--realistic", bool(request.realistic)),
    ):
        if given:
            rule = "must belong to two arms: this trial has one, and its size is exact"
            yield Problem(rule, "Leave it out.", option)
