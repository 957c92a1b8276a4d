"""Flaws of conduct whose settings a trial cannot have: a profile beside a protocol."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace as with_changes

from trialsim.errors import Problem, did_you_mean
from trialsim.protocol.conduct import (
    AllocationListKind,
    BestOfAnalyses,
    BestOfSubgroups,
    BestOfTimePoints,
    Conduct,
    Mechanism,
)
from trialsim.protocol.design import AllocationMethod, Protocol, SampleSize
from trialsim.protocol.endpoints import (
    Better,
    BinaryEndpoint,
    BinaryTest,
    ContinuousEndpoint,
    CountEndpoint,
    DaysAliveEndpoint,
    MaxComboTest,
    MeasuredTest,
    OrdinalEndpoint,
    ResponseEndpoint,
    TimeToEventEndpoint,
)
from trialsim.protocol.rules.conduct import WITHOUT_IT

__all__ = ["conduct_problems", "recruiting"]

_ONE_OUT = "Leave one out."
_AT_A_TIME = (BinaryEndpoint, ResponseEndpoint, ContinuousEndpoint, OrdinalEndpoint)
_WITHOUT = f"{WITHOUT_IT[0].upper()}{WITHOUT_IT[1:]}"


def conduct_problems(
    protocol: Protocol, conduct: Conduct, factors: Collection[str] = ()
) -> list[Problem]:
    """Return why flaws of a profile cannot act in this trial; empty where all can.

    Parameters
    ----------
    factors : collection of str
        Ids of the template's factors.
    """
    found = [
        *_of_allocation(protocol, conduct),
        *_of_sizes(protocol, conduct),
        *_of_immortal_time(protocol, conduct),
        *_of_best_of(protocol, conduct),
        *_of_subgroups(conduct, factors),
        *_of_looks(protocol, conduct),
        *_of_extension(protocol, conduct),
        *_of_publication(protocol, conduct),
    ]
    return [with_changes(p, field="--conduct", value=conduct.id) for p in found]


def recruiting(protocol: Protocol, conduct: Conduct) -> Protocol:
    """Return the protocol with as many patients as a trial of this conduct may recruit.

    The first are those of the protocol itself, which methods that do not look ahead assign alike.
    """
    flaw = conduct.extension
    if not (flaw and flaw.acts):
        return protocol
    unit = sum(protocol.ratio)
    more = -(-protocol.n_total * flaw.more // unit) * unit
    size = SampleSize(total=protocol.n_total + int(more))
    return protocol.model_copy(update={"sample_size": size})


def _acts(conduct: Conduct, mechanism: Mechanism) -> bool:
    return mechanism in conduct.mechanisms


def _decides_early(protocol: Protocol) -> bool:
    """Whether the protocol declares more than when its one analysis is held."""
    return len(protocol.looks) > 1 or any(look.efficacy_z is not None for look in protocol.looks)


def _of_allocation(protocol: Protocol, conduct: Conduct) -> Iterator[Problem]:
    flaw = conduct.foreseen_allocation
    if not (flaw and flaw.acts):
        return
    minimised = protocol.allocation_method is AllocationMethod.MINIMISATION
    if minimised and flaw.list is AllocationListKind.PROTOCOL:
        rule = "foresees a list, and minimisation has none"
        yield Problem(rule, "State `list: blocks-of-4`, or permuted blocks.")
    if flaw.list is AllocationListKind.PROTOCOL:
        return
    if protocol.ratio != (1, 1):
        rule = f"has a list of two equal arms, and this trial allocates {_ratio(protocol)}"
        yield Problem(rule, f"Allocate 1:1, or leave out `list: {flaw.list}`.")


def _of_sizes(protocol: Protocol, conduct: Conduct) -> Iterator[Problem]:
    """Find flaws whose size is stated on the scale of another kind of endpoint."""
    primary = protocol.primary
    match primary:
        case ContinuousEndpoint():
            keys = ("better_sd", "drift_sd", "better_sd_treated")
        case OrdinalEndpoint() | DaysAliveEndpoint():
            keys = ("odds_ratio", "drift", "odds_ratio_treated")
        case _:
            keys = ("averts", "drift", "sensitivity_treated")
    flaws = (conduct.co_intervention, conduct.historical_controls, conduct.assessment)
    names = (Mechanism.CO_INTERVENTION, Mechanism.HISTORICAL_CONTROLS, Mechanism.ASSESSMENT)
    for flaw, key, name in zip(flaws, keys, names, strict=True):
        if flaw and flaw.acts and getattr(flaw, key) is None:
            rule = f"states {name} on a scale that {primary.kind} has not got"
            both = f"{key} and {key.replace('treated', 'control')}" if "treated" in key else key
            yield Problem(rule, f"State {both} instead, or {WITHOUT_IT}")
    given, reads = conduct.co_intervention, conduct.assessment
    yes_or_no = isinstance(primary, BinaryEndpoint | ResponseEndpoint)
    if given and given.acts and given.averts and given.averts.value == 1 and not yes_or_no:
        rule = f"averts all of {primary.kind}, which leaves no rate to multiply"
        yield Problem(rule, "State averts below 1.")
    if isinstance(primary, CountEndpoint) and reads and reads.acts:
        clears = (reads.specificity_treated, reads.specificity_control)
        if any(own is not None and own.value < 1 for own in clears):
            rule = "makes up events of a count, of which only missed ones have a meaning"
            yield Problem(rule, "State specificity_treated and specificity_control as 1.")


def _ratio(protocol: Protocol) -> str:
    return ":".join(map(str, protocol.ratio))


def _of_immortal_time(protocol: Protocol, conduct: Conduct) -> Iterator[Problem]:
    flaw, primary = conduct.immortal_time, protocol.primary
    if not (flaw and flaw.acts):
        return
    if not isinstance(primary, BinaryEndpoint | TimeToEventEndpoint):
        return  # refused with every flaw that has no meaning for a kind
    if primary.better is not Better.LOWER:
        rule = "counts as treated who lived for so long on treatment, and the event is a good one"
        yield Problem(rule, _WITHOUT)
        return
    day = primary.read_out.days_after_entry(protocol.therapy)
    if flaw.exposed_after.days >= day:
        rule = (
            f"counts patients as treated after {flaw.exposed_after}, and the read-out is on day "
            f"{day:g}"
        )
        yield Problem(rule, f"State exposed_after below {day:g} d.")


def _of_best_of(protocol: Protocol, conduct: Conduct) -> Iterator[Problem]:
    flaw, primary = conduct.best_of, protocol.primary
    if not (flaw and flaw.acts):
        return
    if _decides_early(protocol):
        rule = "chooses among results, and the protocol declares looks, which decide by one"
        yield Problem(rule, _ONE_OUT)
    if isinstance(flaw, BestOfTimePoints):
        yield from _of_time_points(protocol, conduct, flaw)
    if isinstance(flaw, BestOfAnalyses) and primary.analysis in flaw.tests:
        rule = f"names {primary.analysis} as a further test, and it is the protocol's own"
        yield Problem(rule, "Name another, or leave it out.")
    if isinstance(flaw, BestOfAnalyses):
        yield from _of_tests(protocol, flaw)


def _of_tests(protocol: Protocol, flaw: BestOfAnalyses) -> Iterator[Problem]:
    primary = protocol.primary
    match primary:
        case BinaryEndpoint() | ResponseEndpoint():
            known: tuple[str, ...] = (BinaryTest.CHI_SQUARE, BinaryTest.FISHER)
        case ContinuousEndpoint():
            known = tuple(MeasuredTest)
        case _:
            known = ()
    if strange := [str(test) for test in flaw.tests if test not in known]:
        rule = f"names {', '.join(strange)}, which {primary.kind} is not analysed by here"
        listed = f"Name {', '.join(map(str, known))}" if known else "Choose per_protocol"
        yield Problem(rule, f"{listed}, or leave it out.")


def _of_time_points(
    protocol: Protocol, conduct: Conduct, flaw: BestOfTimePoints
) -> Iterator[Problem]:
    primary = protocol.primary
    if not isinstance(primary, _AT_A_TIME):
        rule = f"chooses among time points, and {primary.kind} adds up over time"
        yield Problem(rule, "Choose among endpoints or subgroups, or leave it out.")
        return
    if not isinstance(primary, ResponseEndpoint | ContinuousEndpoint):
        if flaw.correlation is None:
            rule = f"chooses among {flaw.k} time points of '{primary.id}' that nothing correlates"
            yield Problem(rule, "State the correlation of neighbours: correlation: 0.5.")
        return
    if flaw.correlation is not None:
        rule = f"states a correlation of time points, which the course of {primary.kind} decides"
        yield Problem(rule, "Leave out `correlation`.")
    last = primary.read_out.days_after_entry(protocol.therapy)
    visits = sum(0 < day <= last for day, _ in protocol.visit_days)
    if isinstance(primary, ContinuousEndpoint):
        visits = len(primary.at)
    if visits < flaw.k:
        rule = f"chooses among {flaw.k} time points, and {visits} visits lead up to the read-out"
        yield Problem(rule, f"State k of at most {visits}." if visits > 1 else _WITHOUT)
    of_one = isinstance(primary, ResponseEndpoint)  # a measurement's drift is in SDs of each
    if of_one and _acts(conduct, Mechanism.HISTORICAL_CONTROLS):
        rule = "chooses among time points, and historical controls have the risk of one"
        yield Problem(rule, _ONE_OUT)


def _of_subgroups(conduct: Conduct, factors: Collection[str]) -> Iterator[Problem]:
    flaw = conduct.best_of
    if not (isinstance(flaw, BestOfSubgroups) and flaw.acts):
        return
    for name in flaw.factors:
        if name not in factors:
            rule = f"chooses among levels of '{name}', which is no factor of this template"
            listed = (
                f"Its factors are {', '.join(factors)}." if factors else "It has none: state k."
            )
            yield Problem(rule, did_you_mean(name, list(factors), listed))


def _of_looks(protocol: Protocol, conduct: Conduct) -> Iterator[Problem]:
    by_p = protocol.primary.analysis is BinaryTest.FISHER and protocol.test.sides == 2
    if by_p and _acts(conduct, Mechanism.UNDECLARED_LOOKS):
        rule = "looks at a statistic that Fisher's two-sided test has not got"
        yield Problem(rule, "Analyse by chi-square, or leave out undeclared_looks.")


def _of_extension(protocol: Protocol, conduct: Conduct) -> Iterator[Problem]:
    flaw = conduct.extension
    if not (flaw and flaw.acts):
        return
    if _decides_early(protocol):
        rule = "recruits more patients after the end, and the protocol declares looks"
        yield Problem(rule, _ONE_OUT)
    if flaw.p_below <= protocol.test.alpha:
        rule = (
            f"goes on where P is below {flaw.p_below:g}, where a trial is significant "
            f"(alpha {protocol.test.alpha:g})"
        )
        yield Problem(rule, f"State p_below above {protocol.test.alpha:g}.")
    if protocol.allocation_method is AllocationMethod.RANDOM_ALLOCATION_RULE:
        rule = "recruits more patients, and the arm sizes are fixed in advance"
        yield Problem(rule, "State `sample_size: {total: N}` and permuted blocks.")


def _of_publication(protocol: Protocol, conduct: Conduct) -> Iterator[Problem]:
    flaw = conduct.publication
    by_decision = isinstance(protocol.primary.analysis, MaxComboTest)
    if flaw and flaw.acts and flaw.p_below is not None and by_decision:
        rule = "states a P, and MaxCombo gives the decision at alpha and no P"
        yield Problem(rule, "Leave out p_below, or choose another test.")
