"""How many patients does this trial need? By formula, exactly, with looks, and simulated again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, exp, sqrt
from statistics import NormalDist

from trialsim.characteristics import Characteristic
from trialsim.engine.blocks import Job
from trialsim.engine.run import kernel_for
from trialsim.errors import DesignError, Problem, RequestError
from trialsim.kernels.proportions import Scale
from trialsim.protocol.design import MAX_PATIENTS, Protocol
from trialsim.protocol.published.cautions import Caution, assumption, cautions_about, unlike_formula
from trialsim.protocol.scenario import Truth
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.sizing.fixed import MOST_PATIENTS
from trialsim.sizing.with_looks import WithLooks
from trialsim.studies.size.claims import accepted_status, first_solid
from trialsim.studies.size.kind import PowerTable, SizedKind, not_simulated, whole_units
from trialsim.studies.size.kinds import WithoutFormula, kind_of, own_protocol
from trialsim.studies.size.monitoring import Seen, seen_so_far
from trialsim.studies.size.of_one_arm import OneArmSize, known_risk
from trialsim.studies.size.operating_grid import ExampleTrial, OperatingGrid, operating_grid
from trialsim.studies.size.paragraph import justification
from trialsim.studies.size.prior import EffectBelief, pooled_prior
from trialsim.studies.size.question import SizeQuestion, SizeRequest
from trialsim.studies.size.reestimation import Reestimated, Reestimation, reestimated
from trialsim.studies.size.rows import (
    belief_rows,
    reestimated_rows,
    seen_rows,
    size_rows,
    table_rows,
)
from trialsim.studies.size.screening import Screened, screened_for
from trialsim.studies.size.searched import WITHOUT_INFORMATION, SearchedSize
from trialsim.trial import Kernel, Row, StudyResult

__all__ = ["Belief", "LookRow", "PlannedSize", "SizeRequest", "plan_size"]

_PRIOR_POINTS = 201
_ODDS_MULTIPLES = (0.5, 0.75, 1.0, 1.25, 1.5)  # of the planned control risk's odds (assumed)


@dataclass(frozen=True)
class LookRow:
    """One look of a design, at its size.

    Attributes
    ----------
    information : float
        Fraction of the final.
    seen : float
        Patients read out, or events.
    z, nominal_p : float
        Efficacy bound; one-sided P there.
    futility_z : float or None
    effect : float
        The estimate that just meets the bound: a difference of risks or means, a hazard or odds
        ratio.
    alpha_spent, power : float
        Cumulative.
    stops_null, stops_effect : float
        Probability to stop here for any reason, without and with the effect.
    """

    information: float
    seen: float
    z: float
    nominal_p: float
    futility_z: float | None
    effect: float
    alpha_spent: float
    power: float
    stops_null: float
    stops_effect: float


@dataclass(frozen=True)
class Belief:
    """The size for one scenario by the same method, and its power if each scenario were true.

    Attributes
    ----------
    total : int or None
        Patients in all; None where no size has the power.
    powers : tuple of float or None
        In the order of the template's scenarios; None where there is no effect.
    """

    truth: Truth
    status: str
    total: int | None
    powers: tuple[float | None, ...]


def plan_size(
    resolved: ResolvedTemplate, request: SizeRequest
) -> PlannedSize | SearchedSize | OneArmSize:
    """Decide what is planned for, before any work.

    Raises
    ------
    RequestError
        For a weak claim that was not accepted, or what a kind of design has no answer to.
    DesignError
        For a design that cannot be met.
    """
    if resolved.template.nature.intercurrent_events:
        rule = "changes the effect at the read-out, which 'size' does not plan for yet"
        remedy = "Try sizes with 'simulate --set protocol.sample_size.total=N'."
        raise RequestError(Problem(rule, remedy, "nature.intercurrent_events"))
    scenario = request.scenario or first_solid(resolved)
    truth = resolved.truth(scenario)
    status = accepted_status(resolved, scenario, accept_claim=request.accept_claim)
    question = SizeQuestion(resolved, request, scenario, truth, status)
    if (known := known_risk(question)) is not None:
        one_arm = OneArmSize(resolved, request, scenario, truth, status, known)
        one_arm.check()
        return one_arm
    kind = kind_of(question)
    if question.looks_without_information and not isinstance(kind, WithoutFormula):
        _check_without_information(request)
        start, own = own_protocol(question), kind.simulated_truth
        return SearchedSize(resolved, request, scenario, own, status, start, WITHOUT_INFORMATION)
    _check(question, kind)
    if isinstance(kind, WithoutFormula):
        return SearchedSize(resolved, request, scenario, truth, status, kind.start)
    planned = PlannedSize(resolved, request, scenario, truth, status)
    if request.by_simulation:
        planned.refuse_unsimulated("--by simulation")
        start = planned.simulated_protocol
        return SearchedSize(resolved, request, scenario, kind.simulated_truth, status, start)
    planned.seen  # noqa: B018 (what was observed is refused before any work)
    return planned


def _check(question: SizeQuestion, kind: SizedKind | WithoutFormula) -> None:
    """Refuse what is not supported together (RequestError)."""
    request, problems = question.request, list(kind.problems())
    if request.exact and (question.looks or request.margin is not None):
        rule = "cannot be enumerated with looks or a margin"
        problems.append(Problem(rule, "Leave out --exact.", "--exact", request.exact))
    if request.reestimate and (question.looks or request.exact):
        rule = "needs a binary endpoint, one analysis and no enumeration"
        problems.append(Problem(rule, "Leave one of them out.", "--reestimate"))
    if request.grid and not (question.looks or question.is_survival):
        rule, remedy = "needs a design with looks", "Add --looks 0.5,0.75,1 --bounds obf."
        problems.append(Problem(rule, remedy, "--grid"))
    if request.margin is not None and (request.reestimate or request.grid):
        rule, remedy = "cannot stand beside --reestimate or --grid", "Leave one of them out."
        problems.append(Problem(rule, remedy, "a margin", f"{request.margin:g}"))
    if request.observed and (not question.looks or request.by_simulation):
        rule = "needs a design with looks, and not --by simulation"
        remedy = "Add --looks 0.5,0.75,1 --spending ldof."
        problems.append(Problem(rule, remedy, "--observed"))
    if request.by_simulation and (request.exact or request.margin is not None):
        rule, remedy = "cannot stand beside --exact or --margin", "Leave one of them out."
        problems.append(Problem(rule, remedy, "--by", "simulation"))
    if request.by_simulation and request.information and question.outcome:
        rule = "cannot stand beside --by simulation with this endpoint: it has no looks in trials"
        problems.append(Problem(rule, "Leave one of them out.", "--looks"))
    problems += [*_total_problems(question), *_sides_problems(question), *_harm(question)]
    if request.loss is not None and not 0 <= request.loss < 1:
        rule, remedy = "must be from 0 to below 1", "5% is 0.05."
        problems.append(Problem(rule, remedy, "--dropout", f"{request.loss:g}"))
    if problems:
        raise RequestError(problems)


def _check_without_information(request: SizeRequest) -> None:
    """Refuse what needs a formula, where looks have no information that one knows."""
    given = {
        "--total": request.total is not None,
        "--exact": request.exact is not None,
        "--reestimate": request.reestimate is not None,
        "--grid": request.grid,
        "--prior": bool(request.prior),
        "--observed": bool(request.observed),
        "--dropout": request.loss is not None,
        "a margin": request.margin is not None,
    }
    rule = "needs looks whose information is known: the file holds them by calendar or enrolment"
    out, other = "Leave it out", ", or add --looks 0.5,1 --bounds obf"
    problems = [
        Problem(rule, f"{out}{'' if option in ('--exact', '--reestimate') else other}.", option)
        for option, there in given.items()
        if there
    ]
    if problems:
        raise RequestError(problems)


def _total_problems(question: SizeQuestion) -> Iterator[Problem]:
    total = question.request.total
    if total is not None and not (min(question.arms_of(total)) >= 1 and total <= MOST_PATIENTS):
        rule = f"must put a patient in each arm, and must not exceed {MOST_PATIENTS:,}"
        yield Problem(rule, "Write for example --total 400.", "--total", f"{total:,}")


def _sides_problems(question: SizeQuestion) -> Iterator[Problem]:
    """Yield what needs a one-sided test, with the words that make it one."""
    if question.level.sides == 1:
        return
    alpha, request = question.level.per_side, question.request
    remedy = f'Add --set "protocol.test={{sides: 1, alpha: {alpha:g}}}".'
    for given, what in (
        (request.margin is not None, f"must be 1 for {request.margin_kind.name}"),
        (request.futility is not None, "must be 1 for stopping for futility"),
    ):
        if given:
            yield Problem(what, remedy, "protocol.test.sides", "2")


def _harm(question: SizeQuestion) -> Iterator[Problem]:
    """Yield an effect that a one-sided test does not look for: its power is below alpha."""
    one_sided = question.level.sides == 1 and question.request.margin is None
    if one_sided and question.gain(question.truth) < 0:
        better = question.plan.better
        rule = f"is harm where {better} is better, which a one-sided test does not find"
        remedy = "State a benefit, or test both sides: --set protocol.test.sides=2."
        yield Problem(rule, remedy, "the effect", question.truth.label)


@dataclass(frozen=True)
class PlannedSize(SizeQuestion):
    """A design whose size is found by a formula: everything but the simulation follows from it."""

    @cached_property
    def kind(self) -> SizedKind:
        """How the primary endpoint is sized."""
        kind = kind_of(self)
        assert not isinstance(kind, WithoutFormula)  # planned otherwise, by `plan_size`
        return kind

    @property
    def test(self) -> WithLooks:
        """Size and power of the planned test."""
        return self.kind.test

    @cached_property
    def total_unrounded(self) -> float:
        """Patients by the formula."""
        if self.request.total is not None:
            return float(self.request.total)
        enumerated = self.kind.enumerated_total()
        if enumerated is not None:
            return float(enumerated)
        return self.test.total(self.request.power)

    @cached_property
    def total(self) -> int:
        """Patients analysed, whole allocation units."""
        if self.request.total is not None:
            return self.request.total
        total = whole_units(self.total_unrounded, self.allocation.unit)
        _refuse_beyond(total, "total patients", "State a larger effect or margin.")
        return total

    @property
    def loss(self) -> float:
        """Share of patients without outcome: as asked for, or as the template has it."""
        return self.kind.lost_by_nature if self.request.loss is None else self.request.loss

    @cached_property
    def total_with_loss(self) -> int:
        """Patients to be randomised so that so many are analysed."""
        unit = self.allocation.unit
        total = ceil(self.total / (1 - self.loss) / unit - 1e-9) * unit
        _refuse_beyond(total, "patients randomised", "State a smaller --dropout.")
        return total

    @cached_property
    def screened(self) -> Screened | None:
        """Who is screened to randomise so many; None where failures are not stated."""
        return screened_for(self.resolved, self.total_with_loss)

    @cached_property
    def power_achieved(self) -> float:
        """Power of the rounded size by the same method."""
        enumerated = self.kind.enumerated_power(self.total)
        return self.test.power(self.total) if enumerated is None else enumerated

    @property
    def arms(self) -> tuple[int, int]:
        """Treated and control patients analysed."""
        return self.arms_of(self.total)

    @cached_property
    def information(self) -> float:
        """What looks count, at the end: patients read out, or events."""
        return self.kind.information(self.total)

    @property
    def events(self) -> float | None:
        """Expected events of a time-to-event trial at the last look."""
        return self.information if self.is_survival else None

    @cached_property
    def conventions(self) -> tuple[str, ...]:
        """Every choice the numbers depend on, in words."""
        said = self.kind.conventions()
        if self.looks:
            said = (*said, "looks: the fixed design's size times the inflation factor")
        if self.loss:
            said = (*said, f"divided by 1 - {self.loss:g} for patients without outcome")
        return said

    @property
    def test_in_words(self) -> str:
        """The test with its sides and level."""
        return self.kind.test_in_words

    # -- looks ---------------------------------------------------------------------------------

    @cached_property
    def look_rows(self) -> tuple[LookRow, ...]:
        """The looks at the rounded size."""
        design = self.looks
        if design is None:
            return ()
        drift = self.test.drift(self.total)
        null, effect = design.stop_probabilities(0.0), design.stop_probabilities(drift)
        rows, reached = [], 0.0
        for k, t in enumerate(design.information):
            last = k == len(design.information) - 1
            reached += float(effect.upper[k])
            z = design.efficacy_z[k]
            rows.append(
                LookRow(
                    t,
                    t * self.information,
                    z,
                    design.nominal_p[k],
                    design.futility_z[k] if design.futility_z and not last else None,
                    self.effect_of_drift(z / sqrt(t)),
                    design.alpha_spent[k],
                    reached,
                    float(null.upper[k] + null.lower[k]),
                    float(effect.upper[k] + effect.lower[k]),
                )
            )
        return tuple(rows)

    def effect_of_drift(self, drift: float) -> float:
        """Return the effect with an expected Z at the planned end, on `kind.effect_scale`.

        With the variance under no effect, as planned; not a number where a margin is a ratio of
        risks, where looks show no difference.
        """
        return self.kind.effect_of_drift(drift, self.total)

    @cached_property
    def seen(self) -> Seen | None:
        """What the looks held so far say; None where none is given."""
        if not self.request.observed:
            return None
        assert self.looks is not None
        drift = self.test.drift(self.total)
        return seen_so_far(self.looks, self.request.observed, drift, self.request.seen_information)

    def expected_total(self, *, effect: bool) -> float:
        """Return expected patients read out (or events) when the trial stops."""
        if self.looks is None:
            return self.information
        drift = self.test.drift(self.total) if effect else 0.0
        return self.looks.expected_information(drift) * self.information

    # -- if something is otherwise ---------------------------------------------------------------

    @cached_property
    def table(self) -> PowerTable | None:
        """The power of the size if something that was assumed is otherwise."""
        return self.kind.table(self.total)

    @cached_property
    def belief_matrix(self) -> list[Belief]:
        """Return, for every scenario, the size if it were planned for, and that size's power."""
        scenarios = self.resolved.template.scenarios
        truths = [self.resolved.truth(scenario) for scenario in scenarios]
        tests = [
            self.kind.test_of(truth, scenario)
            for truth, scenario in zip(truths, scenarios, strict=True)
        ]
        rows: list[Belief] = []
        for scenario, truth, test in zip(scenarios, truths, tests, strict=True):
            status = self.resolved.status_of(scenario)
            total = None if self.has_no_power(truth) else self._total_or_none(test)
            if total is None:
                rows.append(Belief(truth, status, None, ()))
                continue
            powers = tuple(
                None if self.has_no_power(other) else self._power_or_none(own, total)
                for other, own in zip(truths, tests, strict=True)
            )
            rows.append(Belief(truth, status, total, powers))
        return rows

    def has_no_power(self, truth: Truth) -> bool:
        """Whether a test without a margin has nothing to find: no effect, or one-sided, harm."""
        harm = self.level.sides == 1 and self.gain(truth) < 0
        return (truth.is_null or harm) and self.request.margin is None

    def _total_or_none(self, test: WithLooks) -> int | None:
        try:
            return whole_units(test.total(self.request.power), self.allocation.unit)
        except DesignError:
            return None

    @staticmethod
    def _power_or_none(test: WithLooks, total: int) -> float | None:
        try:
            return test.power(total)
        except DesignError:
            return None

    def power_at(self, effect: float) -> float:
        """Power towards the side of the planned effect, if the truth were another effect.

        On `kind.axis`. Beyond a margin, that of the effect as far on its other side, turned round.
        """
        kind, null = self.kind, self.kind.null_effect
        mirrored = (effect - null) * (kind.planned_effect - null) < 0
        if effect == null:
            return self.level.per_side
        against_margin = mirrored and self.request.margin is not None
        try:
            tested = kind.reflected(effect) if against_margin else effect
            power = kind.test_at(tested).power(self.total)
        except DesignError:
            return self.level.per_side
        if not mirrored:
            return power
        drift = self.level.critical_z + NormalDist().inv_cdf(min(max(power, 1e-12), 1 - 1e-12))
        if self.looks:
            return self.looks.power(-abs(drift))
        return NormalDist().cdf(-abs(drift) - self.level.critical_z)

    def power_at_ratio(self, ratio: float) -> float:
        """Power if the truth were another odds ratio at the planned control risk, or hazard ratio.

        As `power_at`.
        """
        return self.power_at(ratio)

    @cached_property
    def prior(self) -> EffectBelief | None:
        """Belief about the log ratio, from the records asked for; None without."""
        return pooled_prior(self.resolved, self.request) if self.request.prior else None

    @cached_property
    def assurance(self) -> float | None:
        """Power averaged over the prior (O'Hagan, Stevens and Campbell 2005)."""
        if self.prior is None:
            return None
        quantiles = [(i + 0.5) / _PRIOR_POINTS for i in range(_PRIOR_POINTS)]
        powers = [self.power_at_ratio(exp(self.prior.inv_cdf(q))) for q in quantiles]
        return sum(powers) / len(powers)

    def curves(self) -> tuple[list[float], list[float], list[float], list[float]]:
        """Return sizes with their power, and effects with the power of the size there."""
        sizes = [self.total * (0.25 + 0.05 * i) for i in range(36)]
        effects = self.kind.effects_around()
        by_size = [self._power_or_none(self.test, round(n)) or 0.0 for n in sizes]
        return sizes, by_size, effects, [self.power_at(effect) for effect in effects]

    # -- the same design, simulated ------------------------------------------------------------

    @property
    def simulated_total(self) -> int:
        """Patients simulated: with those lost, where the template says how they are lost."""
        lost = self.request.loss is None and self.kind.lost_by_nature
        return self.total_with_loss if lost else self.total

    @cached_property
    def simulated_protocol(self) -> Protocol:
        """The template's protocol at this size, with these looks."""
        return self.kind.protocol_at(self.simulated_total)

    def simulate(self, *, replicates: int = 10_000, seed: int = 1) -> Characteristic:
        """Return the power of this design by simulation, prognosis and strata included.

        With a margin, by the test against it.
        """
        if self.simulated_total > MAX_PATIENTS and not self.kind.drawn_as_counts:
            return not_simulated(f"more than {MAX_PATIENTS:,} patients are not simulated")
        return self.kind.simulated_power(self.simulated_total, replicates=replicates, seed=seed)

    def result(self, *, replicates: int = 10_000, seed: int = 1) -> StudyResult:
        """Simulate the design, and return all of it as rows, texts and warnings."""
        found = self.simulate(replicates=replicates, seed=seed)
        again, grid = self.reestimated(replicates, seed), self.grid(replicates, seed)
        blank = self._blank()
        rows = [
            *size_rows(self, blank, found),
            *self._seen_rows(blank),
            *table_rows(self, blank),
            *belief_rows(self, blank),
            *reestimated_rows(blank, again),
        ]
        texts = {"paragraph": self.paragraph(found), "elsewhere": self.r_call()}
        if grid:
            rows += grid.rows
            texts |= {f"example-{n}": told for n, told in enumerate(map(_told, grid.examples), 1)}
        return StudyResult(
            rows=tuple(rows),
            texts=texts,
            warnings=tuple(self._cautions(found)),
            figure_data={"planned": self, "simulated": found, "again": again, "grid": grid},
            n_replicates=replicates,
        )

    def _seen_rows(self, blank: Row) -> Iterator[Row]:
        return seen_rows(self, blank)

    def reestimated(self, replicates: int, seed: int) -> tuple[Reestimated, ...]:
        """Return what computing the size again would do; empty where it is not asked for."""
        if self.request.reestimate is None:
            return ()
        control, treated = self.risks
        design = Reestimation(
            treated,
            control,
            self.request.reestimate_at,
            self.request.most or 2 * self.total,
            self.request.reestimate,
            Scale(str(self.plan.summary)),
            n_planned=self.total,
            power=self.request.power,
            level=self.level,
            allocation=self.allocation,
        )
        odds = control / (1 - control)
        risks = [odds * multiple / (1 + odds * multiple) for multiple in _ODDS_MULTIPLES]
        return reestimated(design, risks, replicates=replicates, seed=seed)

    def grid(self, replicates: int, seed: int) -> OperatingGrid | None:
        """Return the design over a grid of nuisance values; None where it is not asked for."""
        if not self.request.grid:
            return None
        self.refuse_unsimulated("--grid")
        template = self.resolved.template
        others = tuple(own for own in template.scenarios if own.id != self.scenario.id)
        changes = {"protocol": self.simulated_protocol, "scenarios": (*others, self.scenario)}
        resolved = replace(self.resolved, template=template.model_copy(update=changes))
        kernel = Kernel.NUMPY
        if self.is_survival:
            job = Job(self.simulated_protocol, (self.plan,), (self.truth,))
            kernel = kernel_for(job, 9 * replicates)
        return operating_grid(
            resolved, self.scenario.id, replicates=replicates, seed=seed, kernel=kernel
        )

    def refuse_unsimulated(self, option: str) -> None:
        """Refuse an option that simulates, where the size is beyond that (RequestError)."""
        if self.simulated_total > MAX_PATIENTS:
            rule = f"cannot be had: more than {MAX_PATIENTS:,} patients are not simulated"
            remedy = "State a larger effect, or leave it out."
            raise RequestError(Problem(rule, remedy, option, f"{self.simulated_total:,} patients"))

    # -- what is said ------------------------------------------------------------------------------

    def _cautions(self, simulated: Characteristic) -> Iterator[Caution]:
        if simulated.value is not None and simulated.mcse is not None:
            apart = abs(simulated.value - self.power_achieved)
            if apart > 4 * simulated.mcse + self.kind.tolerance(self.total):
                why = "; ".join(self.kind.reasons(self.total))
                why = why or "the formula is an approximation"
                yield unlike_formula(self.power_achieved, simulated.value, why)
        yield from self.kind.cautions()
        if self.gain(self.truth) < 0 and self.request.margin is None:
            better = f"{self.plan.better} is better: the size is that which shows the harm"
            yield assumption(f"{self.truth.label} is harm, since {better}.", self.scenario.id)
        pieces = self.scenario.response
        for piece in (*pieces.control, *(pieces.treated or ())) if pieces else ():
            if piece.note:
                yield assumption(piece.note, self.scenario.id)
        if pieces:
            yield from cautions_about([self.truth.source], self.resolved.evidence)

    def paragraph(self, simulated: Characteristic) -> str:
        """Return a justification for the protocol (SPIRIT 2025, item 19; DELTA2)."""
        return justification(self, simulated)

    def r_call(self) -> str:
        """Return the R call (rpact) that reproduces the size; empty where there is none."""
        return self.kind.r_call()


def _refuse_beyond(total: int, what: str, remedy: str) -> None:
    if total > MOST_PATIENTS:
        rule = f"must not exceed {MOST_PATIENTS:,}"
        raise DesignError(Problem(rule, remedy, what, f"{total:,}"))


def _told(example: ExampleTrial) -> str:
    """Tell one simulated trial in patient counts."""
    arms = " v ".join(f"{arm.events}/{arm.seen} on {arm.arm}" for arm in example.arms)
    months = f", {example.months:.1f} months after the first day" if example.months else ""
    found = "the effect was found" if example.effect_found else "no effect was found"
    return (
        f"Trial {example.replicate} ended {example.ending}, at look {example.look} of "
        f"{example.n_looks}{months}: events in {arms}; estimate {example.estimate:.2f} (unadjusted "
        f"interval {example.lower:.2f} to {example.upper:.2f}), z {example.z:.2f}: {found}."
    )
