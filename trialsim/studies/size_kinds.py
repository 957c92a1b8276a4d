"""Which formula sizes which primary endpoint, and what stands in where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trialsim.errors import Problem
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    LogRankTest,
    ResponseEndpoint,
    TimeToEventEndpoint,
)
from trialsim.studies.size_kind import SizedKind, refused_options
from trialsim.studies.size_of_lifetimes import LifetimesSized
from trialsim.studies.size_of_risks import RisksSized
from trialsim.studies.size_question import SizeQuestion

__all__ = ["WithoutFormula", "kind_of"]


@dataclass(frozen=True)
class WithoutFormula:
    """A primary endpoint whose analysis has no formula here; its size is found by simulation.

    Attributes
    ----------
    question : SizeQuestion
    what : str
        The endpoint and its analysis, in words.
    instead : str
        What else could be done; empty for nothing.
    """

    question: SizeQuestion
    what: str
    instead: str = ""

    def problems(self) -> Iterator[Problem]:
        """Yield what was asked for and cannot be had."""
        options: tuple[str, ...] = ("--exact", "--reestimate")
        if not self.question.is_survival:
            options = (*options, "--grid", "--prior", "--margin")
        yield from refused_options(self.question, options, self.what)
        if not self.question.request.by_simulation:
            rule = f"has no formula for this analysis of {self.what}"
            analysis = str(self.question.protocol.primary.analysis)
            yield Problem(rule, f"Add --by simulation.{self.instead}", "size", analysis)


def kind_of(question: SizeQuestion) -> SizedKind | WithoutFormula:
    """Return how the primary endpoint of a question is sized."""
    match question.protocol.primary:
        case BinaryEndpoint() | ResponseEndpoint():
            return RisksSized(question)
        case TimeToEventEndpoint(analysis=LogRankTest(weight=None)):
            return LifetimesSized(question)
        case TimeToEventEndpoint():
            return WithoutFormula(question, "a time to an event")
        case primary:
            return WithoutFormula(question, f"an endpoint of kind {primary.kind}")
