"""Allocation lists, used up one patient after another in the order they are randomised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from trialsim.kernels.allocation import BIASED_COIN
from trialsim.operations.plan import AllocationPlan
from trialsim.protocol.design import AllocationMethod
from trialsim.streams import Decision, Streams

__all__ = ["Allocator"]

_AT_ONCE = 64


class Allocator:
    """Assigns patients by the protocol's method.

    Every stratum has a list of its own, drawn from its name, so that what happens elsewhere does
    not change it.
    """

    def __init__(self, plan: AllocationPlan, streams: Streams, run: int) -> None:
        self._plan = plan
        self._streams, self._run = streams, run
        self._lists: dict[str, Iterator[bool]] = {}
        self._one = self._chosen()
        self._luck = self._uniforms("all")  # of minimisation
        self._ahead: Counter[tuple[int, str]] = Counter()  # treated less control, by level

    def _minimised(self, stratum: str) -> bool:
        """Return the arm by a biased coin that keeps every level balanced (Pocock and Simon)."""
        levels = list(enumerate(stratum.split("-")))
        ahead = sum((d > 0) - (d < 0) for d in (self._ahead[level] for level in levels))
        share = 1 - BIASED_COIN if ahead > 0 else BIASED_COIN if ahead < 0 else 0.5
        treated = next(self._luck) < share
        for level in levels:
            self._ahead[level] += 1 if treated else -1
        return treated

    def _uniforms(self, name: str) -> Iterator[float]:
        generator = self._streams.generator(Decision.ALLOCATION_LIST, self._run, name)
        while True:
            yield from generator.random(_AT_ONCE).tolist()

    def _chosen(self) -> Callable[[], Iterator[bool]] | None:
        plan = self._plan
        if plan.single_arm:
            return lambda: _always()
        match plan.method:
            case AllocationMethod.SIMPLE:
                return lambda: _simple(self._uniforms("all"), plan.ratio)
            case AllocationMethod.RANDOM_ALLOCATION_RULE:
                return lambda: _rule(self._uniforms("all"), plan.arm_sizes)
            case _:
                return None

    def assign(self, stratum: str) -> bool:
        """Return whether the next patient of a stratum is in the experimental arm."""
        if self._plan.method is AllocationMethod.MINIMISATION and not self._plan.single_arm:
            return self._minimised(stratum)
        name = "" if self._one else stratum
        if name not in self._lists:
            if self._one:
                self._lists[name] = self._one()
            else:
                plan = self._plan
                uniforms = self._uniforms(f"stratum {stratum}")
                self._lists[name] = _blocks(uniforms, plan.ratio, plan.block_sizes)
        return next(self._lists[name])


def _always() -> Iterator[bool]:
    while True:
        yield True


def _simple(uniforms: Iterator[float], ratio: tuple[int, int]) -> Iterator[bool]:
    share = ratio[0] / sum(ratio)
    for uniform in uniforms:
        yield uniform < share


def _rule(uniforms: Iterator[float], arm_sizes: tuple[int, int]) -> Iterator[bool]:
    treated, control = arm_sizes
    while treated + control:
        chosen = next(uniforms) * (treated + control) < treated
        treated, control = treated - chosen, control - (not chosen)
        yield chosen


def _blocks(
    uniforms: Iterator[float], ratio: tuple[int, int], sizes: tuple[int, ...]
) -> Iterator[bool]:
    while True:
        size = sizes[int(next(uniforms) * len(sizes))]
        units = size // sum(ratio)
        yield from _rule(uniforms, (units * ratio[0], units * ratio[1]))
