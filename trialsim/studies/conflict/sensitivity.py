"""Whether a reconciliation depends on choices that could have been made otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from trialsim.protocol.reconciliation import Alternative, Filtering, Shift
from trialsim.studies.conflict.reconciliation import (
    CLEAR,
    Reconciled,
    Reconciling,
    Which,
    reweighted,
)

__all__ = ["ASSUMED_AT", "Otherwise", "Sensitivity", "sensitivity"]

ASSUMED_AT = (0.5, 2.0)


@dataclass(frozen=True)
class Otherwise:
    """One choice made otherwise.

    Attributes
    ----------
    chosen : str
        Whether what stands in the file was chosen "before" its weights had been seen or "after";
        empty where the file does not say.
    weights : dict
        Of every explanation.
    without_data : tuple of str
        Explanations that keep the weight put in.
    """

    title: str
    chosen: str
    weights: Mapping[str, float]
    without_data: tuple[str, ...]

    @property
    def lead(self) -> str:
        """The explanation with the largest weight of those with data."""
        return _lead(self.weights, self.without_data)


@dataclass(frozen=True)
class Sensitivity:
    """What the file says, and every choice made otherwise.

    Attributes
    ----------
    declared, assumed, sets : tuple of Otherwise
        Alternatives of the file; each assumed standard deviation at half and double, and a tau
        squared that is published but not used; other sets of records.
    """

    main: Reconciled
    declared: tuple[Otherwise, ...]
    assumed: tuple[Otherwise, ...]
    sets: tuple[Otherwise, ...]

    @property
    def every(self) -> tuple[Otherwise, ...]:
        """All of them."""
        return (*self.declared, *self.assumed, *self.sets)

    @property
    def lead(self) -> str:
        """The same, as the file has it."""
        return _lead(self.main.weights, _without_data(self.main.plan))

    @property
    def changes(self) -> tuple[Otherwise, ...]:
        """Those in which another explanation has the largest weight."""
        return tuple(other for other in self.every if other.lead != self.lead)

    @property
    def doubts(self) -> tuple[Otherwise, ...]:
        """Those in which the leading explanation has no weight above `CLEAR`."""
        return tuple(other for other in self.every if other.weights[self.lead] <= CLEAR)

    @property
    def best(self) -> str | None:
        """The explanation that fits whichever way choices are made; None: cannot tell."""
        return None if self.doubts else self.main.best


def sensitivity(plan: Reconciling, every: Mapping[Which, Reconciled]) -> Sensitivity:
    """Return the weights with each choice made otherwise.

    Parameters
    ----------
    every : dict
        What each set of records says, all of them among them.

    Notes
    -----
    By quadrature, as the weights themselves: no simulation. Only what a choice touches is computed
    again.
    """
    main = every[Which.ALL]
    if not plan.file.has_records:
        return Sensitivity(main, (), (), ())
    declared = [
        _otherwise(main, one.title, _with(plan, one), one.chosen) for one in plan.file.alternatives
    ]
    assumed = [
        _otherwise(main, f"{name} x {factor:g}", other)
        for factor in ASSUMED_AT
        for name, other in plan.with_assumed(factor)
    ]
    assumed += [_otherwise(main, name, other) for name, other in plan.with_tau2()]
    sets = [
        Otherwise(which.value, "", found.weights, _without_data(plan))
        for which, found in every.items()
        if which is not Which.ALL
    ]
    return Sensitivity(main, tuple(declared), tuple(assumed), tuple(sets))


def _with(plan: Reconciling, one: Alternative) -> Reconciling:
    file = plan.file.with_alternative(one)
    return replace(plan, file=file, prior=reweighted(plan.prior, one.weights))


def _otherwise(main: Reconciled, title: str, other: Reconciling, chosen: str = "") -> Otherwise:
    known = zip(main.plan.models, main.log_marginals.tolist(), strict=True)
    kept = {name: value for name, value in known if name in set(_untouched(main.plan, other))}
    found = replace(other.records(Which.ALL), known=kept)
    return Otherwise(title, chosen, found.weights, _without_data(other))


def _untouched(plan: Reconciling, other: Reconciling) -> Iterator[str]:
    """Yield the explanations that are the same of two plans, with the same records."""
    if plan.file.effect_sd != other.file.effect_sd or plan.file.contrasts != other.file.contrasts:
        return
    for name, own in plan.explanations.items():
        levels = [
            [r.covariates.get(own.covariate) for r in each.file.records]
            if isinstance(own, Shift | Filtering)
            else []
            for each in (plan, other)
        ]
        same = own == other.explanations[name] and levels[0] == levels[1]
        if same and plan.shifts(own) == other.shifts(own):
            yield name


def _without_data(plan: Reconciling) -> tuple[str, ...]:
    return tuple(n for n, own in plan.explanations.items() if not plan.file.has_data(own))


def _lead(weights: Mapping[str, float], without_data: tuple[str, ...]) -> str:
    with_data = [name for name in weights if name not in without_data]
    return max(with_data or list(weights), key=lambda name: weights[name])
