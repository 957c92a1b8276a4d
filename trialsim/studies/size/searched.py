"""The size of a design by simulation at several sizes, told and as rows: whatever the analysis."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trialsim.engine.blocks import Job
from trialsim.engine.run import kernel_for
from trialsim.protocol.design import Protocol
from trialsim.studies.size.by_simulation import size_by_simulation
from trialsim.studies.size.question import SizeQuestion
from trialsim.studies.size.screening import screened_for, screening_rows
from trialsim.trial import AnalysisPlan, Measure, StudyResult

__all__ = ["WITHOUT_INFORMATION", "SearchedSize"]

WITHOUT_INFORMATION = (
    "found by simulation, since looks by calendar or enrolment see a share of the information "
    "that no formula knows"
)


@dataclass(frozen=True)
class SearchedSize(SizeQuestion):
    """A design whose size is found by simulation.

    Attributes
    ----------
    start : Protocol
        At a size to start from: that of the formula where there is one, else the template's own.
    why : str
        Why it is simulated; empty where that was asked for.
    """

    start: Protocol
    why: str = ""

    def by_simulation(self, *, replicates: int = 10_000, seed: int = 1) -> StudyResult:
        """Find the size by simulation, whatever the analysis; confirmed by a run of its own.

        Raises
        ------
        DesignError
            If no size has the power, or it cannot be told which.
        """
        plan = AnalysisPlan.of(self.start)
        job = Job(self.start, (plan,), (self.truth,)).on_its_shortest_path()
        kernel = kernel_for(job, 2 * replicates)
        job = replace(job, plans=(replace(plan, kernel=kernel),), kernel=kernel)
        found = size_by_simulation(
            job, self.truth, power=self.request.power, seed=seed, confirming=replicates
        )
        conventions = (*([self.why] if self.why else []), *found.conventions, *self._lost)
        blank = replace(self._blank(), level=self.request.power)
        low, high = found.interval
        rows = [
            replace(
                blank,
                measure=Measure.N_TOTAL,
                value=float(found.total),
                lower=low,
                upper=high,
                analysis="; ".join(conventions),
                unit="patients",
                headline=True,
            ),
            replace(
                blank,
                measure=Measure.POWER_SIMULATED,
                value=found.power_simulated,
                mcse=found.mcse,
                n_replicates=found.n_replicates,
                n_failed=found.n_failed,
            ),
        ]
        screened = screened_for(self.resolved, found.total)
        rows += screening_rows(screened, replace(blank, level=None))
        told = (
            f"{found.total:,} patients ({found.n_treated:,} + {found.n_control:,}; 95% interval "
            f"{low:,.0f} to {high:,.0f} before rounding) have "
            f"{100 * found.power_simulated:.1f}% power (Monte Carlo standard error "
            f"{100 * found.mcse:.1f}, {found.n_replicates:,} trials that the search had not seen) "
            f"to find {self.truth.label} ({self.truth.source or 'assumed'}) with "
            f"{self.with_test}. The search took {found.replicates_searched:,} trials. "
            f"Conventions: {'; '.join(conventions)}."
        )
        told += f" {screened.in_words}" if screened else ""
        return StudyResult(
            rows=tuple(rows),
            texts={"paragraph": told, "elsewhere": ""},
            figure_data={"points": found.points, "target": self.request.power},
            n_replicates=replicates,
        )

    @property
    def _lost(self) -> tuple[str, ...]:
        """Say whether some of the patients are lost, of an endpoint under ``nature.outcomes``."""
        own = self.outcome
        lost = getattr(own, "lost_per_visit", 0.0) or getattr(own, "loss", 0.0)
        return ("patients are those randomised, lost as the template says",) if lost else ()
