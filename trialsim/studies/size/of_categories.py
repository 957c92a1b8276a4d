"""The size for a primary endpoint of ordered categories, or of days alive and free."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from math import exp, log, sqrt

from trialsim.errors import DesignError, Problem
from trialsim.protocol.outcomes import OrderedTruth
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.sizing.ordinal import (
    log_odds_ratio_deviation,
    ordinal_conventions,
    ordinal_power,
    ordinal_size,
    treated_probabilities,
)
from trialsim.sizing.with_looks import WithLooks
from trialsim.studies.size.kind import (
    PowerAt,
    PowerTable,
    SizedKind,
    refused_options,
)

__all__ = ["CategoriesSized"]

_EFFECTS = (0.5, 0.75, 1.0, 1.25, 1.5)  # times the log odds ratio planned for (assumed)


class CategoriesSized(SizedKind):
    """Shares of ordered categories under proportional odds (Whitehead 1993)."""

    effect_scale = "common odds ratio"
    effect_short = "OR"
    null_effect = 1.0

    def problems(self) -> Iterator[Problem]:
        """Yield what was asked for and cannot be had with this kind."""
        options = ("--exact", "--reestimate", "--grid", "--prior", "--margin")
        yield from refused_options(self.question, options, "of ordered categories")

    def _ordered(self, truth: Truth) -> OrderedTruth:
        found = truth.outcome(self.question.protocol.primary.id)
        assert isinstance(found, OrderedTruth)
        return found

    @cached_property
    def _control(self) -> tuple[float, ...]:
        """Shares on control from the highest category, so that odds ratios are of a higher one.

        Categories that nobody is in are left out.
        """
        shares = self._ordered(self.question.truth).control
        return tuple(p / sum(shares) for p in reversed(shares) if p > 0)

    def test_of(self, truth: Truth, scenario: Scenario) -> WithLooks:
        """Return size and power of the test under a truth of the template."""
        del scenario
        return self.test_at(self._ordered(truth).odds_ratio)

    def test_at(self, effect: float) -> WithLooks:
        """Return size and power of the test at another common odds ratio."""
        level, allocation, control = self.question.level, self.question.allocation, self._control
        share = allocation.treated_share
        return WithLooks(
            lambda power: ordinal_size(control, effect, power, level, allocation).total_unrounded,
            lambda n: ordinal_power(control, effect, n * share, n * (1 - share), level),
            level,
            self.question.looks,
        )

    def conventions(self) -> tuple[str, ...]:
        """Return every choice the fixed design depends on, in words."""
        return (
            *ordinal_conventions(self.question.level),
            "categories from the highest, so that the odds ratio is of a higher one",
            self.question.allocation.convention,
        )

    # -- effects -----------------------------------------------------------------------------

    @property
    def planned_effect(self) -> float:
        """The common odds ratio planned for."""
        return self._ordered(self.question.truth).odds_ratio

    def effect_of_drift(self, drift: float, total: int) -> float:
        """Return the odds ratio whose statistic is expected at `drift`."""
        share = self.question.allocation.treated_share
        deviation = log_odds_ratio_deviation(self._control, self.planned_effect, share)
        return exp(self.question.plan.benefit * drift * deviation / sqrt(total))

    # -- what is said ------------------------------------------------------------------------

    def table(self, total: int) -> PowerTable:
        """Return the power over the odds ratio."""
        found = []
        for multiple in _EFFECTS:
            ratio = exp(multiple * log(self.planned_effect))
            try:
                power = self.test_at(ratio).power(total)
            except DesignError:
                continue
            said = f"common odds ratio {ratio:.4g}"
            found.append(PowerAt((f"{ratio:.3f}", f"x {multiple:g}"), said, power))
        title = "If the odds ratio is another, the control arm the same:"
        return PowerTable(title, ("odds ratio", "log of it"), tuple(found))

    def assumptions(self) -> Iterator[tuple[str, str]]:
        """Yield what else is assumed beside the effect."""
        yield "shares of categories on control, proportional odds", ""

    def reasons(self, total: int) -> Iterator[str]:
        """Yield why the simulation may differ from the formula."""
        del total
        if self.planned_effect > 3 or self.planned_effect < 1 / 3:
            yield "the formula takes the variance under no effect, and this effect is large"

    def r_call(self) -> str:
        """Return Hmisc's call (posamsize), which is two-sided; empty with looks."""
        if self.question.looks is not None:
            return ""
        share = self.question.allocation.treated_share
        treated = treated_probabilities(self._control, self.planned_effect)
        both = [share * a + (1 - share) * b for a, b in zip(treated, self._control, strict=True)]
        shares = ", ".join(f"{p:.12g}" for p in both)
        return (
            f"Hmisc::posamsize(c({shares}), odds.ratio = {self.planned_effect:.12g}, fraction = "
            f"{share:.12g}, alpha = {2 * self.question.level.per_side:.12g}, power = "
            f"{self.question.request.power:.12g})$n"
        )
