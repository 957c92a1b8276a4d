"""Which formula sizes which primary endpoint, and what stands in where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trialsim.errors import Problem
from trialsim.protocol.design import Protocol, SampleSize
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    ContinuousEndpoint,
    DaysAliveEndpoint,
    LogRankTest,
    MeasuredTest,
    OrdinalEndpoint,
    ResponseEndpoint,
    TimeToEventEndpoint,
)
from trialsim.studies.size.kind import SizedKind, refused_options, whole_units
from trialsim.studies.size.of_categories import CategoriesSized
from trialsim.studies.size.of_lifetimes import LifetimesSized
from trialsim.studies.size.of_means import MeansSized
from trialsim.studies.size.of_risks import RisksSized
from trialsim.studies.size.question import SizeQuestion

__all__ = ["WithoutFormula", "kind_of", "own_protocol"]


@dataclass(frozen=True)
class WithoutFormula:
    """A primary endpoint whose analysis has no formula here; its size is found by simulation.

    Attributes
    ----------
    question : SizeQuestion
    what : str
        The endpoint, in words.
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
        if self.question.request.information:
            rule = "has no formula that looks could be added to"
            yield Problem(rule, "Leave out --looks; those of the template are kept.", "size")
        if not self.question.request.by_simulation:
            rule = f"has no formula for this analysis of {self.what}"
            analysis = str(self.question.protocol.primary.analysis)
            yield Problem(rule, f"Add --by simulation.{self.instead}", "size", analysis)

    @property
    def start(self) -> Protocol:
        """The template's own protocol, in the ratio asked for."""
        return own_protocol(self.question)


def own_protocol(question: SizeQuestion) -> Protocol:
    """Return the template's own protocol, in the ratio asked for."""
    protocol, asked = question.protocol, question.request.allocation
    if asked is None:
        return protocol
    ratio = {protocol.experimental.id: asked.treated, protocol.control.id: asked.control}
    kept = protocol.allocation.model_copy(update={"ratio": ratio, "block_sizes": None})
    total = whole_units(protocol.n_total, asked.unit)
    changes = {"allocation": kept, "sample_size": SampleSize(total=total)}
    return protocol.model_copy(update=changes)


def kind_of(question: SizeQuestion) -> SizedKind | WithoutFormula:
    """Return how the primary endpoint of a question is sized."""
    match question.protocol.primary:
        case TimeToEventEndpoint(analysis=LogRankTest(weight=None)):
            return LifetimesSized(question)
        case TimeToEventEndpoint():
            return WithoutFormula(question, "a time to an event")
        case ContinuousEndpoint(analysis=MeasuredTest.MMRM, id=name):
            instead = (
                " Or size the t-test at the last visit, which uses no other and needs no fewer "
                f"patients: --set protocol.endpoints.{name}.analysis=t-test."
            )
            return WithoutFormula(question, "a measurement at several visits", instead)
        case ContinuousEndpoint():
            return MeansSized(question)
        case OrdinalEndpoint() | DaysAliveEndpoint():
            return CategoriesSized(question)
        case BinaryEndpoint() | ResponseEndpoint():
            return RisksSized(question)
        case primary:
            return WithoutFormula(question, f"an endpoint of kind {primary.kind}")
