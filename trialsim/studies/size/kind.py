"""What a formula has to say of one kind of primary endpoint, so that its size can be found.

One subclass for each kind, in a module of its own: `of_risks`, `of_lifetimes`,
`of_means`, `of_categories`. Everything else about a size is the same for all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, exp, inf, log
from typing import Any, ClassVar

from trialsim.analyse.looks import stop
from trialsim.characteristics import Characteristic, characteristics
from trialsim.engine.blocks import Job
from trialsim.engine.run import run
from trialsim.errors import Problem
from trialsim.protocol.design import Allocation, Look, Protocol, SampleSize, Trigger
from trialsim.protocol.published.cautions import Caution
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.sizing.sequential import (
    HwangShihDeCani,
    LanDeMetsObrienFleming,
    LanDeMetsPocock,
    WangTsiatis,
)
from trialsim.sizing.with_looks import WithLooks
from trialsim.studies.size.question import SizeQuestion
from trialsim.trial import AnalysisPlan, Measure

__all__ = [
    "PowerAt",
    "PowerTable",
    "SizedKind",
    "not_simulated",
    "refused_options",
    "whole_units",
]


@dataclass(frozen=True)
class PowerAt:
    """Power of the size if something that was assumed is otherwise.

    Attributes
    ----------
    cells : tuple of str
        What is otherwise, as shown,
    analysis : str
        and in words.
    power : float
    """

    cells: tuple[str, ...]
    analysis: str
    power: float


@dataclass(frozen=True)
class PowerTable:
    """Powers of one size over something that was assumed.

    Attributes
    ----------
    title : str
    header : tuple of str
        Of the cells of a row.
    rows : tuple of PowerAt
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[PowerAt, ...]


@dataclass(frozen=True)
class SizedKind(ABC):
    """How one kind of primary endpoint is sized.

    Attributes
    ----------
    question : SizeQuestion
    seen_unit : str
        What a look counts.
    """

    question: SizeQuestion
    seen_unit: ClassVar[str] = "patients read out"

    def tolerance(self, total: int) -> float:
        """Return how far power may be from its simulation, beside 4 MCSE (assumed: 0.02).

        Less where power is exact.
        """
        del total
        return 0.02

    # -- the formula -------------------------------------------------------------------------

    def problems(self) -> Iterator[Problem]:
        """Yield what was asked for and cannot be had with this kind."""
        yield from ()

    @abstractmethod
    def test_of(self, truth: Truth, scenario: Scenario) -> WithLooks:
        """Return size and power of the test under a truth of the template."""

    @cached_property
    def test(self) -> WithLooks:
        """Size and power of the planned test under the truth planned for."""
        return self.test_of(self.question.truth, self.question.scenario)

    def enumerated_total(self) -> int | None:
        """Return the size found by enumeration, where that is asked for."""
        return None

    def enumerated_power(self, total: int) -> float | None:
        """Return the power of a size by enumeration, where that is asked for."""
        del total
        return None

    @abstractmethod
    def conventions(self) -> tuple[str, ...]:
        """Return every choice the fixed design depends on, in words."""

    @property
    def lost_by_nature(self) -> float:
        """Share of patients without outcome that the template states."""
        return 0.0

    def information(self, total: int) -> float:
        """Return what looks are counted in, at the end of a trial of so many patients."""
        return float(total)

    # -- effects -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def effect_scale(self) -> str:
        """The scale of `effect_of_drift`, in words."""

    @property
    @abstractmethod
    def effect_short(self) -> str:
        """The same in a few letters."""

    @abstractmethod
    def effect_of_drift(self, drift: float, total: int) -> float:
        """Return the effect whose statistic is expected at `drift`; not a number for none."""

    @property
    def axis(self) -> str:
        """The scale of `planned_effect` and `test_at`."""
        return self.effect_scale

    @property
    @abstractmethod
    def planned_effect(self) -> float:
        """The effect planned for."""

    @property
    @abstractmethod
    def null_effect(self) -> float:
        """The effect at which the null hypothesis is just true."""

    @abstractmethod
    def test_at(self, effect: float) -> WithLooks:
        """Return size and power of the test if the truth were another effect."""

    def reflected(self, effect: float) -> float:
        """Return the effect as far on the other side of the null hypothesis."""
        return self.null_effect**2 / effect

    def effects_around(self) -> list[float]:
        """Return effects of both directions, for a power curve."""
        spread = max(1.6, exp(abs(log(self.planned_effect)) * 1.6))
        return [spread ** (-1 + i / 30) for i in range(61)]

    # -- what is said ------------------------------------------------------------------------

    @abstractmethod
    def table(self, total: int) -> PowerTable | None:
        """Return the power of a size if something that was assumed is otherwise."""

    @property
    def margin_scale(self) -> str:
        """What a margin is on."""
        return self.effect_scale

    @property
    def test_in_words(self) -> str:
        """The test with its sides and level."""
        return self.question.plan.in_words

    def assumptions(self) -> Iterator[tuple[str, str]]:
        """Yield what else is assumed beside the effect, and its source."""
        yield from ()

    def cautions(self) -> Iterator[Caution]:
        """Yield where sources disagree with what is planned for."""
        yield from ()

    def reasons(self, total: int) -> Iterator[str]:
        """Yield why the simulation may differ from the formula."""
        del total
        yield from ()

    def r_call(self) -> str:
        """Return the R call that reproduces the size; empty where there is none."""
        return ""

    def rpact_design(self) -> str:
        """Return rpact's words for level, power and looks; empty where it has none."""
        level, looks, power = self.question.level, self.question.looks, self.question.request.power
        shared = f"alpha = {level.alpha:.12g}, beta = {1 - power:.12g}, sided = {level.sides}"
        if looks is None:
            return f"getDesignGroupSequential(kMax = 1, {shared})"
        match looks.efficacy:
            case LanDeMetsObrienFleming():
                kind = '"asOF"'
            case LanDeMetsPocock():
                kind = '"asP"'
            case HwangShihDeCani(gamma=gamma):
                kind = f'"asHSD", gammaA = {gamma:.12g}'
            case WangTsiatis(delta=delta):
                kind = f'"WT", deltaWT = {delta:.12g}'
            case _:
                return ""
        if looks.futility is not None:
            return ""
        rates = ", ".join(f"{t:.12g}" for t in looks.information)
        informed = f"informationRates = c({rates}), {shared}"
        return f"getDesignGroupSequential({informed}, typeOfDesign = {kind})"

    # -- the same design, simulated ------------------------------------------------------------

    @property
    def strata_matter(self) -> bool:
        """Whether patients differ in what the scenario says, so that strata change the power."""
        return False

    def final_look(self, total: int) -> Trigger | None:
        """Return what sets off the analysis, where it must be said."""
        del total
        return None

    def interim_look(self, fraction: float, total: int) -> Trigger:
        """Return what sets off a look at a fraction of the information."""
        del total
        return Trigger(information=fraction)

    @property
    def drawn_as_counts(self) -> bool:
        """Whether a trial of any size is drawn without its patients."""
        return False

    @property
    def simulated_truth(self) -> Truth:
        """The truth that the simulated trials meet."""
        return self.question.truth

    def protocol_at(self, total: int) -> Protocol:
        """Return the template's protocol at a size, with the looks asked for."""
        protocol, allocation = self.question.protocol, self.question.allocation
        beyond = SampleSize.model_construct(total=total)  # counts have no limit
        size = beyond if self.drawn_as_counts else SampleSize(total=total)
        changes: dict[str, Any] = {"sample_size": size}
        ratio = {
            protocol.experimental.id: allocation.treated,
            protocol.control.id: allocation.control,
        }
        if self.strata_matter:
            kept = protocol.allocation.model_copy(update={"ratio": ratio, "block_sizes": None})
            changes["allocation"] = kept
        else:
            # exact sizes may have a ratio such as 28:29, which nobody would write down
            changes["allocation"] = Allocation().model_copy(update={"ratio": ratio})
        last = self.final_look(total)
        if self.question.looks or last:
            changes["looks"] = tuple(self._looks(last or Trigger(information=1), total))
        return protocol.model_copy(update=changes)

    def _looks(self, last: Trigger, total: int) -> Iterator[Look]:
        design = self.question.looks
        if design is None:
            yield Look(at=last)
            return
        for k, t in enumerate(design.information):
            final = k == len(design.information) - 1
            z = design.efficacy_z[k]
            futility = design.futility_z[k] if design.futility_z and not final else None
            yield Look(
                at=last if final else self.interim_look(t, total),
                efficacy_z=z if z < inf else None,
                futility_z=futility if futility is not None and futility > -10 else None,
                binding=design.binding,
            )

    def simulated_power(self, total: int, *, replicates: int, seed: int) -> Characteristic:
        """Return the power of a size by simulation, prognosis and strata included."""
        protocol = self.protocol_at(total)
        plan = AnalysisPlan.of(protocol)
        job = Job(protocol, (plan,), (self.simulated_truth,)).on_its_shortest_path()
        (simulation,) = run([job], n_replicates=replicates, seed=seed)
        final = stop(simulation.results[0][0], plan).final
        return characteristics(final, 0.0, plan.summary)[0]


def not_simulated(why: str) -> Characteristic:
    """Return that there is no simulation of a design, and why."""
    return Characteristic(Measure.POWER, None, None, 0, why=why)


def whole_units(total: float, unit: int) -> int:
    """Return a total rounded up to whole allocation units."""
    return max(1, ceil(total / unit - 1e-9)) * unit


def refused_options(
    question: SizeQuestion, options: tuple[str, ...], kind: str
) -> Iterator[Problem]:
    """Yield those of some options that were given, which belong to other kinds of endpoint."""
    request = question.request
    given = {
        "--exact": bool(request.exact),
        "--reestimate": request.reestimate is not None,
        "--grid": request.grid,
        "--prior": bool(request.prior),
        "--margin": request.margin is not None,
    }
    wanted = {
        "--exact": "a binary endpoint",
        "--reestimate": "a binary endpoint",
        "--grid": "a binary endpoint or a time to an event",
        "--prior": "an odds ratio of risks or a hazard ratio",
        "--margin": "risks, means or a hazard ratio",
    }
    for option in options:
        if given[option]:
            rule = f"must belong to {wanted[option]}: this primary endpoint is {kind}"
            yield Problem(rule, "Leave it out.", option)
