"""The design that buys most: what every design does, which are not dominated, which is chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import ceil, exp, log
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.looks import stop
from trialsim.characteristics import Characteristic, characteristics, mean
from trialsim.engine.blocks import Job
from trialsim.engine.run import Progress, estimated_seconds, kernel_for, run
from trialsim.engine.workers import Workers
from trialsim.errors import DesignError, Problem, RequestError, counted, did_you_mean
from trialsim.kernels.exact import ExactTest
from trialsim.kernels.pareto import knee, non_dominated
from trialsim.protocol.design import MAX_PATIENTS, Allocation
from trialsim.protocol.endpoints import BinaryEndpoint, BinaryTest, TimeToEventEndpoint
from trialsim.protocol.optimisation import (
    KNEE,
    Constraint,
    LookPlan,
    Optimise,
    Quantity,
    RatioOfArms,
    Vary,
)
from trialsim.protocol.published.cautions import Caution, cautions_about, unlike_formula
from trialsim.protocol.quantities import DAYS_PER_UNIT, Time
from trialsim.protocol.reading.load import TemplateFile
from trialsim.protocol.scenario import Scenario, Truth
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.studies.operations.designs import (
    Bench,
    Design,
    Judged,
    enumerable,
    exact_test_of,
)
from trialsim.studies.operations.enrichment import Enriched, enriched_at, read_enrichment
from trialsim.studies.operations.tested import TestedTimes
from trialsim.studies.operations.written import kits_for, read_at, text_of, tree_of
from trialsim.studies.size.claims import accepted_status, first_solid
from trialsim.studies.size.kind import whole_units
from trialsim.studies.size.question import SizeQuestion, SizeRequest
from trialsim.trial import AnalysisPlan, Measure, Row, StudyResult

__all__ = [
    "Bought",
    "Confirmed",
    "OptimiseRequest",
    "PlannedOptimisation",
    "fewer",
    "optimise_request",
    "plan_optimisation",
]

Bools = NDArray[np.bool_]
Kept = tuple[str, Time | None, float | None]  # variant, read-out, threshold
_POWERS = (0.5, 0.95)  # that the sizes tried reach from and to (assumed)
_N_SIZES = 20
_SITES = (0.5, 0.75, 1.0, 1.5, 2.0)  # times those of the file (assumed)
_AS_IT_STANDS = "as it stands"
_USUAL_POWER = 0.8  # assumed
_WEAK = ("document", "unverified")
_MOST_MONTHS = 95 * 12.0  # a file whose sites take a century is refused
_MOST_SHARE = 20  # of a ratio
_FEWER, _LEAST_REPLICATES = 5, 1_000  # the front's ends have a fifth of the replicates (assumed)
_SECONDS_WORTH_WORKERS = 3.0


@dataclass(frozen=True)
class OptimiseRequest:
    """What is asked: the file's ``optimise:`` with what was typed.

    Attributes
    ----------
    asked : Optimise
    accept_claim : bool
        Plan for numbers that only a document states, or that were not verified.
    """

    asked: Optimise
    accept_claim: bool = False

    @property
    def as_arguments(self) -> dict[str, object]:
        """What can change the answer, in the words it can be typed in."""
        vary, asked = self.asked.vary, self.asked
        stated = {name: getattr(vary, name) for name in type(vary).model_fields}
        return {
            "vary": {n: [_typed(v) for v in values] for n, values in stated.items() if values},
            "constraints": [str(constraint) for constraint in asked.constraints],
            "under": list(asked.under),
            "objectives": [str(own) for own in asked.objectives or ()],
            "choose": str(asked.choose) if asked.choose else None,
            "accept_claim": self.accept_claim,
        }


def _typed(value: object) -> object:
    if isinstance(value, Time):
        return f"{value.after} from {value.clock}"
    return value if isinstance(value, int | float) else str(value)


def optimise_request(
    resolved: ResolvedTemplate,
    *,
    vary: Vary | None = None,
    constraints: Sequence[Constraint] = (),
    under: Sequence[str] = (),
    choose: Quantity | Literal["knee"] | None = None,
    accept_claim: bool = False,
) -> OptimiseRequest:
    """Join what the file asks with what was typed, which goes before it.

    A constraint typed replaces those of the file on the same quantity under the same scenario.

    Raises
    ------
    RequestError
        For scenarios the file does not have.
    """
    own = resolved.template.optimise or Optimise()
    stated = vary or Vary()
    merged = {
        name: getattr(stated, name) or getattr(own.vary, name) for name in type(stated).model_fields
    }
    said = {(c.quantity, c.under) for c in constraints}
    kept = [c for c in own.constraints if (c.quantity, c.under) not in said]
    asked = Optimise.model_construct(
        vary=Vary.model_construct(**merged),
        constraints=(*kept, *constraints),
        under=tuple(under) or own.under,
        objectives=own.objectives,
        choose=choose or own.choose,
    )
    _check_scenarios(resolved, asked)
    return OptimiseRequest(asked, accept_claim)


def _check_scenarios(resolved: ResolvedTemplate, asked: Optimise) -> None:
    known = [scenario.id for scenario in resolved.template.scenarios]
    named = [("--under", name) for name in asked.under]
    named += [(str(c), c.under) for c in asked.constraints if c.under]
    problems = [
        Problem(
            "names a scenario that this protocol does not have",
            did_you_mean(name, known, f"Its scenarios are {', '.join(known)}."),
            option,
            f"'{name}'",
        )
        for option, name in named
        if name not in known
    ]
    if problems:
        raise RequestError(problems)


def plan_optimisation(file: TemplateFile, request: OptimiseRequest) -> PlannedOptimisation:
    """Decide which designs are tried, before any work.

    Raises
    ------
    RequestError
        For a weak claim that was not accepted, or what an endpoint has no answer to.
    """
    resolved = file.resolved(file.tree())
    asked = request.asked
    names = [*asked.under, *(c.under for c in asked.constraints if c.under)]
    names = list(dict.fromkeys(names))
    scenarios = resolved.scenarios(names) if names else (first_solid(resolved),)
    statuses = tuple(
        accepted_status(resolved, s, accept_claim=request.accept_claim, option="--under")
        for s in scenarios
    )
    _check(resolved, asked)
    planned = PlannedOptimisation(file, resolved, request, scenarios, statuses)
    planned.benches  # noqa: B018 (a variant or a time that cannot be is refused before any work)
    return planned


def _check(resolved: ResolvedTemplate, asked: Optimise) -> None:
    """Refuse what is not supported together (RequestError)."""
    template, problems = resolved.template, []
    protocol = template.protocol
    if protocol.is_single_arm:
        rule = "compares two arms: a single arm has no allocation, and no worse arm"
        problems.append(Problem(rule, "'trialsim size' plans a single arm.", "optimise"))
    if template.nature.intercurrent_events:
        rule = "changes the effect at the read-out, which 'optimise' does not plan for yet"
        remedy = "Try designs with 'simulate --set protocol.sample_size.total=N'."
        problems.append(Problem(rule, remedy, "nature.intercurrent_events"))
    money = (Quantity.COST, Quantity.EXPECTED_COST)
    if template.cost is None:
        for what, found in (
            *((str(c), c.quantity) for c in asked.constraints),
            *((f"objective {o}", o) for o in asked.objectives or ()),
            *((f"choose {c}", c) for c in [asked.choose] if isinstance(c, Quantity)),
        ):
            if found in money:
                remedy = "Add cost: {currency: EUR, year: 2025, per_patient: 1000}."
                problems.append(Problem("needs prices, and the file has no cost:", remedy, what))
    several = [k for k in asked.vary.looks or () if k.number > 1]
    if several and not _has_looks(resolved):
        rule = "cannot be tried: this endpoint and test have no looks"
        problems.append(Problem(rule, "Leave looks out.", "looks", str(several[0])))
    if problems:
        raise RequestError(problems)


def _has_looks(resolved: ResolvedTemplate) -> bool:
    protocol = resolved.template.protocol
    primary = protocol.primary
    if protocol.multiplicity:
        return False  # of several endpoints together
    if isinstance(primary, BinaryEndpoint):
        return primary.analysis is not BinaryTest.FISHER or protocol.test.sides == 1
    return isinstance(primary, TimeToEventEndpoint)


@dataclass(frozen=True)
class Binding:
    """A constraint that leaves no design, and how near one comes.

    Attributes
    ----------
    constraint : Constraint
    nearest : float
        The best value of its quantity among the designs that meet every other constraint.
    design : Judged
        That has it.
    alone : bool
        Whether no design meets it, whatever the others say.
    """

    constraint: Constraint
    nearest: float
    design: Judged
    alone: bool


@dataclass(frozen=True)
class Confirmed:
    """What simulating a design found, per scenario.

    Attributes
    ----------
    judged : Judged
    why : str
        Why this one: "chosen", "best power", ...
    power : tuple of Characteristic
    patients, months : tuple of Characteristic or None
        Enrolled when the trial ends; months to its end, where the file states enrolment.
    """

    judged: Judged
    why: str
    power: tuple[Characteristic, ...]
    patients: tuple[Characteristic | None, ...]
    months: tuple[Characteristic | None, ...]


@dataclass(frozen=True)
class Bought:
    """What a little more of something buys, all else kept."""

    what: str
    before: Judged
    after: Judged


@contextmanager
def _typed_as(value: str) -> Iterator[None]:
    """Say of a request's problems which value of ``--vary`` they are about."""
    try:
        yield
    except RequestError as error:
        own = [replace(problem, field="--vary", value=value) for problem in error.problems]
        raise RequestError(own) from None


@dataclass(frozen=True)
class PlannedOptimisation:
    """Everything to be tried, decided before any work starts.

    Attributes
    ----------
    file : TemplateFile
    resolved : ResolvedTemplate
        The file as it stands, with its settings.
    request : OptimiseRequest
    scenarios : tuple of Scenario
        That a design must do well under,
    statuses : tuple of str
        and how far each can be relied on.
    """

    file: TemplateFile
    resolved: ResolvedTemplate
    request: OptimiseRequest
    scenarios: tuple[Scenario, ...]
    statuses: tuple[str, ...]

    # -- what is tried -----------------------------------------------------------------------

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        """What must hold; 80% power where nothing is stated (assumed)."""
        if self.request.asked.constraints or self.request.asked.choose == KNEE:
            return self.request.asked.constraints
        return (Constraint(quantity=Quantity.POWER, at_least=True, bound=_USUAL_POWER),)

    @cached_property
    def looks(self) -> tuple[LookPlan, ...]:
        """Numbers of analyses, with bounds."""
        if stated := self.request.asked.vary.looks:
            return stated
        planned = [LookPlan(number=0)] if self._knows_own_looks else []
        exact_alone = exact_test_of(self.resolved) is ExactTest.FISHER  # no formula is near it
        if exact_alone or not _has_looks(self.resolved):
            return tuple(planned or [LookPlan(number=1)])
        more = [LookPlan(number=1), LookPlan(number=2, rule="obf"), LookPlan(number=3, rule="obf")]
        return (*planned, *more)

    @cached_property
    def _knows_own_looks(self) -> bool:
        """Whether the file has interim looks, of which the information is known."""
        protocol, scenario = self.resolved.template.protocol, self.scenarios[0]
        if len(protocol.looks) < 2:
            return False
        truth, status = self.resolved.truth(scenario), self.statuses[0]
        question = SizeQuestion(self.resolved, SizeRequest(), scenario, truth, status)
        try:
            return question.looks is not None
        except DesignError:
            return False

    @cached_property
    def ratios(self) -> tuple[RatioOfArms, ...]:
        """Allocation ratios."""
        if stated := self.request.asked.vary.ratio:
            return stated
        tried = [_in_small_numbers(self.resolved.template.protocol.ratio), (1, 1), (2, 1)]
        return tuple(RatioOfArms(treated=t, control=c) for t, c in dict.fromkeys(tried))

    @cached_property
    def sites(self) -> tuple[int, ...]:
        """Numbers of sites."""
        if stated := self.request.asked.vary.sites:
            return stated
        own, where = self._first.calendar.sites
        if where == "assumed" and self._first.calendar.stated is not None:
            return (own,)  # nothing says how many that pace is for
        return tuple(sorted({max(1, round(own * times)) for times in _SITES}))

    @cached_property
    def follow_ups(self) -> tuple[Time | None, ...]:
        """Read-outs; None for that of the file."""
        return self.request.asked.vary.follow_up or (None,)

    @cached_property
    def variants(self) -> tuple[str, ...]:
        """Variants of the file; empty for none."""
        stated = self.request.asked.vary.variant or (_AS_IT_STANDS,)
        return tuple("" if name == _AS_IT_STANDS else name for name in stated)

    @cached_property
    def enriched(self) -> Mapping[str, Enriched | None]:
        """What the file says of its threshold, by variant; None where there is none to move."""
        if not self.request.asked.vary.threshold:
            return dict.fromkeys(self.variants)
        if self.resolved.template.nature.enrichment is None:
            rule = "cannot be tried: the file does not say what they change"
            remedy = "Add nature.enrichment: {marker, factor, level, share_of_all}."
            raise RequestError(Problem(rule, remedy, "threshold"))
        found = {}
        for name in self.variants:
            with _typed_as(f"variant={name}"):
                found[name] = read_enrichment(self.file.resolved(self.file.tree(name), name))
        return found

    @cached_property
    def trees(self) -> Mapping[Kept, dict[str, Any]]:
        """The file of every variant, read-out and threshold, as plain data."""
        found: dict[Kept, dict[str, Any]] = {}
        for variant, time in product(self.variants, self.follow_ups):
            with _typed_as(f"variant={variant}"):
                tree = self.file.tree(variant)
            enriched = self.enriched[variant]
            for threshold in (self.request.asked.vary.threshold or ()) if enriched else (None,):
                own = tree
                if enriched and threshold is not None:
                    loaded = self.file.resolved(tree, variant)
                    own = enriched_at(tree, loaded, enriched, threshold)
                if time:
                    with _typed_as(f"follow-up={time.after}"):
                        own = read_at(self.file, own, time)
                found[variant, time, threshold] = own
        return found

    @cached_property
    def benches(self) -> Mapping[Kept, Bench]:
        """What designs of every variant, read-out and threshold are judged on."""
        names = [scenario.id for scenario in self.scenarios]
        loaded = {key: self.file.resolved(tree, key[0]) for key, tree in self.trees.items()}
        found = {
            key: Bench(own, own.scenarios(names), None, 4, MAX_PATIENTS)
            for key, own in loaded.items()
        }
        exact = all(enumerable(bench, self.looks) for bench in found.values())
        fewest, most = self._range(found)
        return {
            key: replace(
                bench,
                exact=exact_test_of(bench.resolved) if exact else None,
                fewest=fewest,
                most=most,
                _tests={},
            )
            for key, bench in found.items()
        }

    @property
    def _first(self) -> Bench:
        return next(iter(self.benches.values()))

    @property
    def by_enumeration(self) -> bool:
        """Whether powers are exact."""
        return self._first.exact is not None

    def _range(self, benches: Mapping[Kept, Bench]) -> tuple[int, int]:
        """Return how many patients the smallest design has, and the largest, and some."""
        sizes = list(self.request.asked.vary.size or ())
        sizes = sizes or [n for bench in benches.values() for n in self._spread(bench)]
        return min(sizes), min(MAX_PATIENTS, max(sizes) * 5 // 4 + 200)

    def _spread(self, bench: Bench) -> list[int]:
        """Return sizes of one analysis and the file's ratio, from hardly enough to plenty."""
        protocol = bench.resolved.template.protocol
        one = LookPlan(number=1)
        treated, control = _in_small_numbers(protocol.ratio)
        ratio = RatioOfArms(treated=treated, control=control)
        low, high = (
            [bench.smallest(i, one, ratio, p) for i in range(len(self.scenarios))] for p in _POWERS
        )
        ends = [n for n in (*low, *high) if n is not None] or [protocol.n_total]
        first, last = max(4, min(ends)), min(MAX_PATIENTS, max(ends))
        step = log(last / first) / (_N_SIZES - 1)
        return [*(round(first * exp(step * k)) for k in range(_N_SIZES)), protocol.n_total]

    def _sizes(self, bench: Bench, looks: LookPlan, ratio: RatioOfArms) -> list[int]:
        """Return the sizes tried with these looks and this ratio."""
        unit = Design(1, 1, looks, ratio).ratio
        per_unit = unit.treated + unit.control
        stated = self.request.asked.vary.size
        if stated:
            return sorted({min(MAX_PATIENTS, whole_units(n, per_unit)) for n in stated})
        sizes = {whole_units(n, per_unit) for n in self._spread(bench)}
        for constraint in self.constraints:
            if constraint.quantity is Quantity.POWER:
                needed = [
                    bench.smallest(i, looks, ratio, constraint.bound)
                    for i in self._indices(constraint)
                ]
                if all(n is not None for n in needed):
                    sizes.add(max(n for n in needed if n is not None))
            if constraint.quantity is Quantity.PATIENTS:
                sizes.add(max(per_unit, int(constraint.bound) // per_unit * per_unit))
        return sorted(n for n in sizes if 4 <= n <= min(MAX_PATIENTS, bench.most))

    def _indices(self, constraint: Constraint) -> range:
        """Return which scenarios a constraint is about."""
        if constraint.under is None:
            return range(len(self.scenarios))
        index = [scenario.id for scenario in self.scenarios].index(constraint.under)
        return range(index, index + 1)

    @property
    def n_designs(self) -> int:
        """How many designs are tried."""
        every = product(self.benches.values(), self.looks, self.ratios)
        return len(self.sites) * sum(len(self._sizes(*own)) for own in every)

    @cached_property
    def designs(self) -> tuple[Judged, ...]:
        """Every design tried, judged."""
        return self.judge()

    def judge(self, on_progress: Progress | None = None) -> tuple[Judged, ...]:
        """Judge every design.

        Raises
        ------
        DesignError
            Where none can ever be filled.
        """
        found: list[Judged] = []
        every = list(product(self.benches.items(), self.looks, self.ratios))
        for number, (((variant, time, threshold), bench), looks, ratio) in enumerate(every):
            sizes = self._sizes(bench, looks, ratio)
            for done, sites in enumerate(self.sites, start=1):
                bench.calendar.prepare(sizes, sites)
                found += (
                    bench.judged(Design(size, sites, looks, ratio, time, variant, threshold))
                    for size in sizes
                )
                if on_progress:
                    on_progress(number + done / len(self.sites), len(every))
        kept = tuple(judged for judged in found if judged.worst(Quantity.MONTHS) <= _MOST_MONTHS)
        if not kept:
            soonest = min(judged.worst(Quantity.MONTHS) for judged in found)
            rule = f"would take {soonest / 12:,.0f} years or more to fill every design tried"
            raise DesignError(Problem(rule, "Plan more sites: --vary sites=...", "recruitment"))
        return kept

    # -- which is best -----------------------------------------------------------------------

    @cached_property
    def objectives(self) -> tuple[Quantity, ...]:
        """What the front is made of."""
        if stated := self.request.asked.objectives:
            return stated
        third = Quantity.COST if self.resolved.template.cost else Quantity.PATIENTS
        return (Quantity.POWER, Quantity.MONTHS, third, Quantity.WORSE_ARM)

    def points(self, designs: Sequence[Judged]) -> NDArray[np.float64]:
        """Return what is to be small, shape (n_designs, n_objectives), at its worst."""
        signs = [-1.0 if own.larger_is_better else 1.0 for own in self.objectives]
        rows = [
            [sign * judged.worst(own) for own, sign in zip(self.objectives, signs, strict=True)]
            for judged in designs
        ]
        return np.array(rows).reshape(len(designs), len(self.objectives))

    @cached_property
    def on_front(self) -> Bools:
        """Which designs no other dominates."""
        return non_dominated(self.points(self.designs))

    @cached_property
    def meets(self) -> NDArray[np.bool_]:
        """Which design meets which constraint, shape (n_designs, n_constraints)."""
        found = [[self.holds(c, judged) for c in self.constraints] for judged in self.designs]
        return np.array(found, dtype=np.bool_).reshape(len(self.designs), len(self.constraints))

    def value(self, constraint: Constraint, judged: Judged) -> float:
        """Return what a constraint is about: under its scenario, else at its worst."""
        if constraint.under is None:
            return judged.worst(constraint.quantity)
        return judged.under(constraint.quantity, self._indices(constraint)[0])

    def holds(self, constraint: Constraint, judged: Judged) -> bool:
        """Whether a design meets a constraint."""
        return constraint.holds(self.value(constraint, judged))

    @cached_property
    def feasible(self) -> Bools:
        """Which designs meet every constraint."""
        return np.asarray(self.meets.all(axis=1))

    @cached_property
    def front(self) -> tuple[Judged, ...]:
        """The undominated designs that meet every constraint, in order of power."""
        kept = [
            judged
            for judged, on, ok in zip(self.designs, self.on_front, self.feasible, strict=True)
            if on and ok
        ]
        return tuple(sorted(kept, key=lambda judged: judged.worst(Quantity.POWER)))

    def bindings(self) -> tuple[Binding, ...]:
        """Return the constraints because of which no design is left; empty where one is."""
        if self.feasible.any():
            return ()
        columns = range(len(self.constraints))
        alone = [k for k in columns if not self.meets[:, k].any()]
        if alone:
            return tuple(
                self._binding(k, np.ones(len(self.designs), np.bool_), True) for k in alone
            )
        last = []
        for k in columns:
            others = np.asarray(np.delete(self.meets, k, axis=1).all(axis=1))
            if others.any():
                last.append(self._binding(k, others, False))
        if last:
            return tuple(last)
        left = np.ones(len(self.designs), np.bool_)
        for k in columns:  # in the order stated: the first that leaves none
            following = left & self.meets[:, k]
            if not following.any():
                return (self._binding(k, left, False),)
            left = following
        raise AssertionError("some constraint leaves no design")

    def _binding(self, k: int, among: Bools, alone: bool) -> Binding:
        constraint = self.constraints[k]
        some = [judged for judged, ok in zip(self.designs, among, strict=True) if ok]
        sign = -1.0 if constraint.quantity.larger_is_better else 1.0
        best = min(some, key=lambda judged: sign * self.value(constraint, judged))
        return Binding(constraint, self.value(constraint, best), best, alone)

    def check(self) -> None:
        """Refuse constraints that no design meets (DesignError), naming those that bind."""
        problems = []
        for binding in self.bindings():
            constraint = binding.constraint
            n = len(self.designs)
            which = "alone" if binding.alone else "once the others hold"
            rule = (
                f"is met by none of the {counted(n, 'design')} tried, {which}; the nearest has "
                f"{self.shown(constraint.quantity, binding.nearest)}: "
                f"{binding.design.design.in_words()}"
            )
            problems.append(Problem(rule, self._remedy(binding), str(constraint)))
        if problems:
            raise DesignError(problems)

    def _remedy(self, binding: Binding) -> str:
        constraint, near = binding.constraint, binding.nearest
        about = [self.scenarios[index] for index in self._indices(constraint)]
        if constraint.quantity is Quantity.POWER and self.resolved.truth(about[0]).is_null:
            return "Plan for a scenario with an effect: there is nothing to find under this one."
        if constraint.quantity is Quantity.POWER:
            relaxed = f"{int(near * 1000) / 1000:g}"
        elif near >= 1000:
            relaxed = f"{-(-near // 10) * 10:,.0f}".replace(",", "")
        else:
            relaxed = f"{ceil(near)}"
        sign, under = ">=" if constraint.at_least else "<=", constraint.under
        asked = f"{constraint.quantity} {sign} {relaxed}{f' under {under}' if under else ''}"
        more = {
            Quantity.MONTHS: "allow more sites: --vary sites=...",
            Quantity.EXPECTED_MONTHS: "allow more sites: --vary sites=...",
            Quantity.POWER: "allow more patients: --vary size=...",
        }.get(constraint.quantity, "relax another constraint")
        return f'Ask for --constraint "{asked}", or {more}.'

    def shown(self, quantity: Quantity, value: float) -> str:
        """Return a value with its unit."""
        if quantity is Quantity.POWER:
            return f"{100 * value:.1f} % power"
        if quantity.unit == "months":
            return f"{value:,.1f} months"
        cost = self.resolved.template.cost
        if not quantity.unit and cost:
            return f"{cost.currency} {value:,.0f}"
        return counted(value, "patient", ",.0f")

    @cached_property
    def chosen_by(self) -> tuple[Quantity | None, str]:
        """By what a design is chosen (None: the knee), and the rule in words."""
        asked = self.request.asked.choose
        what = f"of the designs that meet every constraint ({len(self.constraints)})"
        if asked == KNEE:
            return None, (
                "the knee of the front, nearest to the best of every objective when each is scaled "
                "to its range, as asked"
            )
        if isinstance(asked, Quantity):
            most = "largest" if asked.larger_is_better else "smallest"
            return asked, f"the {most} {asked} {what}, as asked"
        own = Quantity.COST if self.resolved.template.cost else Quantity.PATIENTS
        named = "cheapest" if own is Quantity.COST else "smallest"
        return own, f"the {named} {what}"

    @cached_property
    def chosen(self) -> Judged:
        """The design chosen (DesignError where constraints leave none)."""
        self.check()
        some = list(self.front)
        if not some:  # what is constrained is no objective
            some = [j for j, ok in zip(self.designs, self.feasible, strict=True) if ok]
        by, _ = self.chosen_by
        if by is None:
            return some[knee(self.points(some))]
        order = [by, *(own for own in self.objectives if own is not by)]

        def key(judged: Judged) -> list[float]:
            return [
                -judged.worst(own) if own.larger_is_better else judged.worst(own) for own in order
            ]

        return min(some, key=key)

    @cached_property
    def ends(self) -> tuple[tuple[str, Judged], ...]:
        """The designs of the front that are best in one objective, by name."""
        found = []
        for own in self.objectives:
            sign = -1.0 if own.larger_is_better else 1.0
            best = min(self.front, key=lambda j: sign * j.worst(own), default=None)
            if best is not None:
                most = "most" if own.larger_is_better else "least"
                found.append((f"{most} {own}", best))
        return tuple(found)

    def months_from_invitation(self, judged: Judged) -> float | None:
        """Return months from the first invitation; None where the file states when they enter."""
        calendar, design = self.bench_of(judged.design).calendar, judged.design
        if calendar.stated is not None:
            return None
        waiting = calendar.first_day(design.sites) / DAYS_PER_UNIT["mo"]
        return judged.worst(Quantity.MONTHS) + waiting

    @property
    def written_kits(self) -> tuple[int, int | None] | None:
        """Kits of an arm in the file of the chosen design; None where none are stated."""
        design, bench = self.chosen.design, self.bench_of(self.chosen.design)
        return kits_for(design, bench.resolved, bench.calendar)

    def binding_scenario(self, quantity: Quantity, judged: Judged) -> str:
        """Return the scenario under which a quantity is worst; empty where none matters."""
        own = judged.values[quantity]
        if len(own) < 2:
            return ""
        return self.scenarios[own.index(judged.worst(quantity))].id

    def tight(self) -> tuple[tuple[Constraint, float], ...]:
        """Return the constraints the chosen design is up against, with its value.

        A constraint binds where without it another design would be chosen.
        """
        found = []
        for k, constraint in enumerate(self.constraints):
            others = np.delete(self.meets, k, axis=1).all(axis=1) & self.on_front
            by, _ = self.chosen_by
            if by is None:
                continue
            some = [j for j, ok in zip(self.designs, others, strict=True) if ok]
            sign = -1.0 if by.larger_is_better else 1.0
            best = min((sign * j.worst(by) for j in some), default=sign * self.chosen.worst(by))
            if best < sign * self.chosen.worst(by) - 1e-9:
                found.append((constraint, self.value(constraint, self.chosen)))
        return tuple(found)

    def bench_of(self, design: Design) -> Bench:
        """Return what a design is judged on."""
        return self.benches[design.variant, design.follow_up, design.threshold]

    @cached_property
    def bought(self) -> tuple[Bought, ...]:
        """What a month, 100 patients or a site more buys, all else as chosen."""
        own = self.chosen
        design, bench = own.design, self.bench_of(own.design)
        calendar, unit = bench.calendar, design.ratio.treated + design.ratio.control
        found = []
        last = calendar.last_day(design.size, design.sites)
        pace = (last - calendar.last_day(max(unit, design.size - 50 * unit), design.sites)) / (
            design.size - max(unit, design.size - 50 * unit) or 1
        )
        if pace > 0:
            more = int(DAYS_PER_UNIT["mo"] / pace) // unit * unit
            changed = replace(design, size=min(MAX_PATIENTS, design.size + max(unit, more)))
            found.append(Bought("one more month", own, bench.judged(changed)))
        changed = replace(design, size=min(MAX_PATIENTS, whole_units(design.size + 100, unit)))
        found.append(Bought("100 more patients", own, bench.judged(changed)))
        if len(self.sites) > 1:
            found.append(
                Bought("one more site", own, bench.judged(replace(design, sites=design.sites + 1)))
            )
        return tuple(found)

    # -- the same, as files and by simulation ------------------------------------------------------

    def tree(self, design: Design) -> dict[str, object]:
        """Return the file of a design as plain data."""
        bench = self.bench_of(design)
        tested = bench.tested(0, design.looks, design.ratio)
        looks = tested.kind.question.looks if design.looks.number > 1 else None
        tree = self.trees[design.variant, design.follow_up, design.threshold]
        events = 0.0
        if isinstance(tested, TestedTimes):
            events = tested.events(design.size, design.sites)
        return tree_of(tree, design, bench.resolved, bench.calendar, looks, events)

    def resolved_of(self, design: Design) -> ResolvedTemplate:
        """Return the file of a design, loaded."""
        return self.file.resolved(self.tree(design), design.variant)

    def text(self, command: str) -> str:
        """Return the file of the chosen design, with the command it came from above it."""
        _, rule = self.chosen_by
        facts = [f"Chosen: {rule}.", f"The design: {self.chosen.design.in_words()}."]
        worst = "; ".join(
            self.shown(own, self.chosen.worst(own))
            for own in (Quantity.POWER, Quantity.MONTHS, Quantity.COST)
            if own in self.chosen.values
        )
        facts.append(f"By formula, at its worst: {worst}.")
        facts += [f"It had to meet: {constraint}." for constraint in self.constraints]
        return text_of(self.file, self.tree(self.chosen.design), command, tuple(facts))

    def confirmed(
        self,
        replicates: int,
        seed: int,
        *,
        workers: Workers = 1,
        on_progress: Progress | None = None,
    ) -> Iterator[Confirmed]:
        """Simulate the chosen design, and with fewer replicates the ends of the front."""
        todo: dict[Design, tuple[str, Judged]] = {self.chosen.design: ("chosen", self.chosen)}
        for why, judged in self.ends:
            todo.setdefault(judged.design, (why, judged))
        jobs = [
            (
                judged,
                why,
                self._job(judged.design),
                replicates if why == "chosen" else fewer(replicates),
            )
            for why, judged in todo.values()
        ]
        seconds = [estimated_seconds([job], n) for _, _, job, n in jobs]
        for k, (judged, why, job, n) in enumerate(jobs):
            before = sum(seconds[:k])

            def told(done: float, _: float, before: float = before) -> None:
                assert on_progress is not None
                on_progress(before + done, sum(seconds))

            own = told if on_progress else None
            yield self._simulated(judged, why, job, n, seed, workers, own)

    def simulated(self, judged: Judged, why: str, replicates: int, seed: int) -> Confirmed:
        """Simulate one design under every scenario."""
        return self._simulated(judged, why, self._job(judged.design), replicates, seed, 1, None)

    def _job(self, design: Design) -> Job:
        """Return the trials of a design, as its file has them, with the primary endpoint alone.

        Strata by which nothing differs are left out: they cost time, and change no power.
        """
        resolved = self.resolved_of(design)
        protocol = resolved.template.protocol
        if not self.bench_of(design).tested(0, design.looks, design.ratio).kind.strata_matter:
            plain = Allocation().model_copy(update={"ratio": protocol.allocation.ratio})
            protocol = protocol.model_copy(update={"allocation": plain})
        names = [scenario.id for scenario in self.scenarios]
        truths = tuple(_primary_alone(resolved.truth(s)) for s in resolved.scenarios(names))
        return Job(protocol, (AnalysisPlan.of(protocol),), truths).on_its_shortest_path()

    def _simulated(
        self,
        judged: Judged,
        why: str,
        job: Job,
        replicates: int,
        seed: int,
        workers: Workers,
        on_progress: Progress | None,
    ) -> Confirmed:
        kernel = kernel_for(job, replicates)
        plan = replace(job.plans[0], kernel=kernel)
        job = replace(job, plans=(plan,), kernel=kernel)
        few = estimated_seconds([job], replicates) < _SECONDS_WORTH_WORKERS
        (simulation,) = run(
            [job],
            n_replicates=replicates,
            seed=seed,
            workers=1 if few else workers,
            on_progress=on_progress,
        )
        power, patients, months = [], [], []
        for found in simulation.results:
            final = stop(found[0], plan).final
            ok = ~final.failed[:, 0]
            power.append(characteristics(final, 0.0, plan.summary)[0])
            enrolled, day = final.enrolled[ok, 0], final.day[ok, 0] / DAYS_PER_UNIT["mo"]
            known = len(enrolled) > 1 and np.isfinite(enrolled).all()
            patients.append(mean(Measure.EXPECTED_N, enrolled) if known else None)
            known = len(day) > 1 and np.isfinite(day).all()
            months.append(mean(Measure.DURATION_MONTHS, day) if known else None)
        return Confirmed(judged, why, tuple(power), tuple(patients), tuple(months))

    def result(
        self,
        *,
        replicates: int = 10_000,
        seed: int = 1,
        workers: Workers = 1,
        on_progress: Progress | None = None,
    ) -> StudyResult:
        """Judge every design, choose one, simulate it, and return all of it as rows and texts.

        Raises
        ------
        DesignError
            Where constraints leave no design, naming those that bind.
        """
        if "designs" not in self.__dict__:
            self.__dict__["designs"] = self.judge(on_progress)  # as `cached_property` keeps it
        self.check()
        confirmed = tuple(
            self.confirmed(replicates, seed, workers=workers, on_progress=on_progress)
        )
        return StudyResult(
            rows=(*self._rows(), *self._confirmed_rows(confirmed)),
            texts=self._texts(),
            warnings=tuple(self._cautions(confirmed)),
            figure_data={"planned": self, "confirmed": confirmed},
            n_replicates=replicates,
        )

    def _rows(self) -> Iterator[Row]:
        for judged in dict.fromkeys([self.chosen, *self.front]):
            yield from self._rows_of(judged, headline=judged is self.chosen)
            if (months := self.months_from_invitation(judged)) is not None:
                yield Row(
                    measure=Measure.DURATION_MONTHS,
                    value=months,
                    variant=judged.design.variant or None,
                    endpoint=self.resolved.template.protocol.primary.id,
                    analysis="from the first invitation",
                    unit="months",
                    set_by=judged.design.in_words(),
                )

    def _rows_of(self, judged: Judged, *, headline: bool) -> Iterator[Row]:
        cost = self.resolved.template.cost
        money = f"{cost.currency} of {cost.year}" if cost else None
        for quantity, values in judged.values.items():
            measure, analysis, unit = _MEASURES[quantity]
            for index, value in enumerate(values):
                own = len(values) > 1 or quantity.needs_scenario
                yield Row(
                    measure=measure,
                    value=value,
                    scenario=self.scenarios[index].id if own else None,
                    status=self.statuses[index] if own else None,
                    variant=judged.design.variant or None,
                    endpoint=self.resolved.template.protocol.primary.id,
                    analysis=analysis,
                    unit=money if unit == "money" else unit or None,
                    set_by=judged.design.in_words(),
                    headline=(headline and quantity is Quantity.POWER) or None,
                )

    def _confirmed_rows(self, confirmed: Sequence[Confirmed]) -> Iterator[Row]:
        for found in confirmed:
            blank = Row(
                measure=Measure.POWER_SIMULATED,
                value=None,
                endpoint=self.resolved.template.protocol.primary.id,
                variant=found.judged.design.variant or None,
                set_by=found.judged.design.in_words(),
                analysis=found.why,
            )
            for index, scenario in enumerate(self.scenarios):
                here = replace(blank, scenario=scenario.id, status=self.statuses[index])
                yield replace(found.power[index], measure=Measure.POWER_SIMULATED).row(here)
                for own, unit in ((found.patients, "patients"), (found.months, "months")):
                    if simulated := own[index]:
                        yield simulated.row(replace(here, unit=unit))

    def _texts(self) -> dict[str, str]:
        _, rule = self.chosen_by
        texts = {
            "asked": self.asked_in_words,
            "chosen": f"{self.chosen.design.in_words()}: {rule}.",
            "more": " ".join(map(self._bought_in_words, self.bought)),
            "assumed": " ".join(self.assumed),
        }
        if tight := self.tight():
            texts["binds"] = "; ".join(
                f"{constraint} (here {self.shown(constraint.quantity, value)})"
                for constraint, value in tight
            )
        worst = [
            f"{quantity}: {name}"
            for quantity in (Quantity.POWER, Quantity.WORSE_ARM)
            if (name := self.binding_scenario(quantity, self.chosen))
        ]
        if worst:
            texts["worst"] = f"The scenario that is worst for {'; for '.join(worst)}."
        return texts

    @property
    def asked_in_words(self) -> str:
        """How many designs were judged, under what, and how many are left."""
        truths = [self.resolved.truth(scenario) for scenario in self.scenarios]
        under = ", ".join(
            f"{s.id} ({t.label}; {known.upper() if known in _WEAK else known})"
            for s, t, known in zip(self.scenarios, truths, self.statuses, strict=True)
        )
        each = "the worst of " if len(truths) > 1 else ""
        said = (
            f"{counted(len(self.designs), 'design')} judged under {each}{under}. "
            f"{int(self.on_front.sum()):,} are not dominated in "
            f"{', '.join(map(str, self.objectives))}"
        )
        if not self.constraints:
            return f"{said}."
        return (
            f"{said}; {int(self.feasible.sum()):,} meet every constraint "
            f"({'; '.join(map(str, self.constraints))}), {len(self.front):,} both."
        )

    def _bought_in_words(self, bought: Bought) -> str:
        """Return what a little more buys, in a sentence."""
        parts = []
        for quantity in (Quantity.POWER, Quantity.MONTHS, Quantity.COST, Quantity.WORSE_ARM):
            if quantity not in bought.after.values:
                continue
            change = bought.after.worst(quantity) - bought.before.worst(quantity)
            if quantity is Quantity.POWER:
                parts.append(f"{100 * change:+.2f} points of power")
            elif quantity.unit == "months":
                parts.append(f"{change:+.1f} months")
            elif quantity is Quantity.WORSE_ARM:
                parts.append(f"{counted(change, 'patient', '+,.0f')} in the worse arm")
            else:
                parts.append(f"{change:+,.0f} of cost")
        more = bought.after.design.size - bought.before.design.size
        size = (
            f" ({counted(more, 'patient', '+,')})" if "patients" not in bought.what and more else ""
        )
        return f"{bought.what.capitalize()}{size}: {', '.join(parts)}."

    @cached_property
    def assumed(self) -> tuple[str, ...]:
        """What was not stated, in sentences."""
        vary, told = self.request.asked.vary, []
        if self.constraints and not self.request.asked.constraints:
            told.append("No constraint is stated: 80% power is assumed.")
        left = [
            name
            for name, own in (
                ("size", vary.size),
                ("sites", vary.sites if len(self.sites) > 1 else self.sites),
                ("looks", vary.looks if len(self.looks) > 1 else self.looks),
                ("ratio", vary.ratio if len(self.ratios) > 1 else self.ratios),
            )
            if not own
        ]
        if left:
            told.append(f"Values tried are assumed for {', '.join(left)}: state them with --vary.")
        if not (self.request.asked.under or any(c.under for c in self.constraints)):
            told.append(f"Planned for {self.scenarios[0].id}, the first with an effect.")
        told.append(self._first.calendar.in_words)
        told += [own.in_words() for own in self.enriched.values() if own][:1]
        if (whole := self.months_from_invitation(self.chosen)) is not None:
            waiting = whole - self.chosen.worst(Quantity.MONTHS)
            told.append(
                "Months count from the first patient in to the last read-out, as 'simulate' counts "
                f"them; 'forecast' counts from the first invitation, {waiting:.1f} months before "
                f"on average at {counted(self.chosen.design.sites, 'site')}, to the database lock."
            )
        if self.written_kits is not None:
            told.append("Kits of the file that is written are as many per patient (assumed).")
        cost = self.resolved.template.cost
        if cost is None:
            told.append("The file has no cost: block: patients stand for it.")
        else:
            names = [n for n, v in cost if hasattr(v, "value") and v.value and not v.source]
            told += ["Prices are assumed."] if names else []
        return tuple(told)

    def _cautions(self, confirmed: Sequence[Confirmed]) -> Iterator[Caution]:
        for found in confirmed:
            design = found.judged.design
            bench = self.bench_of(design)
            for index, simulated in enumerate(found.power):
                if simulated.value is None or simulated.mcse is None:
                    continue
                own = found.judged.values[Quantity.POWER][index]
                tested = bench.tested(index, design.looks, design.ratio)
                slack = 4 * simulated.mcse + tested.kind.tolerance(design.size)
                if abs(simulated.value - own) > slack:
                    why = "; ".join(tested.kind.reasons(design.size))
                    yield unlike_formula(
                        own, simulated.value, why or "the formula is an approximation"
                    )
                    break
        sources = [self.resolved.truth(scenario).source for scenario in self.scenarios]
        yield from cautions_about([s for s in sources if s], self.resolved.evidence)


def _in_small_numbers(ratio: tuple[int, int]) -> tuple[int, int]:
    """Return a ratio, of exact arm sizes too, in numbers that somebody would write down."""
    share = Fraction(*ratio)
    if share < 1:
        control, treated = _in_small_numbers(ratio[::-1])
        return treated, control
    near = next(
        own
        for limit in range(_MOST_SHARE, 0, -1)
        if (own := share.limit_denominator(limit)).numerator <= _MOST_SHARE or limit == 1
    )
    return min(near.numerator, _MOST_SHARE), near.denominator


def fewer(replicates: int) -> int:
    """Return with how many replicates the ends of the front are simulated."""
    return min(replicates, max(_LEAST_REPLICATES, replicates // _FEWER))


def _primary_alone(truth: Truth) -> Truth:
    """Return a truth without other endpoints, which no design is judged by."""
    kept = tuple(own for own in truth.outcomes if own[0] == truth.primary)
    return replace(truth, outcomes=kept, correlations=())


_MEASURES = {
    Quantity.POWER: (Measure.POWER_ACHIEVED, "by formula", ""),
    Quantity.MONTHS: (Measure.DURATION_MONTHS, "if it runs to its end", "months"),
    Quantity.COST: (Measure.COST, "if it runs to its end", "money"),
    Quantity.PATIENTS: (Measure.N_TOTAL, "if it runs to its end", "patients"),
    Quantity.WORSE_ARM: (Measure.EXPECTED_N, "in the worse arm", "patients"),
    Quantity.EXPECTED_MONTHS: (Measure.DURATION_MONTHS, "expected", "months"),
    Quantity.EXPECTED_COST: (Measure.COST, "expected", "money"),
    Quantity.EXPECTED_PATIENTS: (Measure.EXPECTED_N, "expected", "patients"),
}
