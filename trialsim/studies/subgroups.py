"""Who benefits? Subgroup analyses of the same simulated trials, and what chance makes of them.

Everything is decided again from every trial's estimates; nothing is simulated twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.looks import stop
from trialsim.characteristics import (
    MIN_REPLICATES,
    Characteristic,
    characteristics,
    proportion,
    true_effect,
)
from trialsim.engine.run import Simulation
from trialsim.generate.binary import risks_in
from trialsim.kernels.interaction import heterogeneity
from trialsim.protocol.design import Look
from trialsim.protocol.endpoints import (
    BinaryEndpoint,
    Summary,
    SurvivalSummary,
    TimeToEventEndpoint,
)
from trialsim.protocol.modifiers import ModifiedMeans, ModifiedRisks, Subgroup
from trialsim.protocol.outcomes import MeasuredTruth
from trialsim.protocol.published.evidence import EffectEstimate, EffectMeasure, Trial
from trialsim.protocol.scenario import Factor, Scenario, Truth, risk_at_odds_ratio
from trialsim.protocol.survival import EventCourse
from trialsim.protocol.truths.resolved import ResolvedTemplate, event_course
from trialsim.studies.power import theta_of, theta_on_course
from trialsim.trial import (
    AnalysisPlan,
    Finding,
    InLevel,
    LookResults,
    Measure,
    PerCovariate,
    Row,
)

__all__ = [
    "ANY",
    "PublishedSubgroups",
    "published_subgroups",
    "stratum_of",
    "subgroup_findings",
    "subgroup_plans",
    "subgroup_rows",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ANY = "any subgroup"  # the stratum of what is said of all of them together
_LEVEL_MEASURES = (
    Measure.POWER,
    Measure.TYPE_I_ERROR,
    Measure.ESTIMATE_MEAN,
    Measure.ESTIMATE_Q025,
    Measure.ESTIMATE_MEDIAN,
    Measure.ESTIMATE_Q975,
    Measure.EMPIRICAL_SE,
    Measure.MODEL_SE,
    Measure.COVERAGE,
    Measure.N_FAILED,
)
_SURPRISING = 0.05


def subgroup_plans(resolved: ResolvedTemplate) -> tuple[AnalysisPlan, ...]:
    """Return one plan for every level of every subgroup factor, and for every covariate.

    Each is read once, at the last look, and tested at the whole of alpha; interactions with a
    covariate on two sides.
    """
    protocol = resolved.template.protocol
    plans: list[AnalysisPlan] = []
    for subgroup in protocol.subgroups:
        plan = AnalysisPlan.of(protocol, resolved.endpoint(_endpoint_of(subgroup, resolved)))
        last: tuple[Look, ...] = ()
        if isinstance(plan.summary, SurvivalSummary):
            last = (plan.looks[-1].model_copy(update={"efficacy_z": None, "futility_z": None}),)
        plan = replace(plan, looks=last)
        if subgroup.covariate:
            both = plan.alpha if plan.sides == 2 else 2 * plan.alpha
            plans.append(replace(plan, alpha=both, sides=2, part=PerCovariate(subgroup.covariate)))
            continue
        levels = range(len(_factor(resolved, subgroup.name).shares))
        plans += [replace(plan, part=InLevel(subgroup.name, level)) for level in levels]
    return tuple(plans)


def subgroup_rows(resolved: ResolvedTemplate, simulation: Simulation) -> Iterator[Row]:
    """Yield, per scenario, what every subgroup shows, tests of interaction, and what chance does.

    Parameters
    ----------
    resolved : ResolvedTemplate
    simulation : Simulation
        Of the protocol's own job.
    """
    if not resolved.template.protocol.subgroups:
        return
    scenarios = {scenario.id: scenario for scenario in resolved.template.scenarios}
    for truth, results in zip(simulation.job.truths, simulation.results, strict=True):
        by_plan = dict(zip(simulation.job.plans, results, strict=True))
        seen = _Seen(resolved, truth, scenarios[truth.scenario], by_plan)
        for subgroup in resolved.template.protocol.subgroups:
            if subgroup.factor:
                yield from seen.of_factor(subgroup)
            else:
                yield from seen.of_covariate(subgroup)
        endpoints = [_endpoint_of(s, resolved) for s in resolved.template.protocol.subgroups]
        for endpoint in dict.fromkeys(endpoints):
            yield from seen.by_chance(endpoint)
        for published in published_subgroups(resolved):
            yield from seen.against(published)


@dataclass(frozen=True)
class PublishedSubgroups:
    """What a trial published of the levels of a factor.

    Attributes
    ----------
    effects : tuple of (level, estimate)
        The level as its position.
    """

    record: Trial
    factor: Factor
    effects: tuple[tuple[int, EffectEstimate], ...]

    @property
    def in_words(self) -> str:
        """Both estimates: "HR 1.67 (1.04 to 2.67) in under-60 v ..."."""
        names = [level.id for level in self.factor.levels or ()]
        return " v ".join(f"{effect} in {names[level]}" for level, effect in self.effects)


def published_subgroups(resolved: ResolvedTemplate) -> list[PublishedSubgroups]:
    """Return what stands under ``observed_subgroups:``."""
    found = []
    for observed in resolved.template.observed_subgroups:
        record, factor = resolved.evidence.records[observed.evidence], observed.factor
        assert isinstance(record, Trial)  # by the rules
        chosen = _factor(resolved, factor)
        names = [level.id for level in chosen.levels or ()]
        survival = isinstance(resolved.template.protocol.primary, TimeToEventEndpoint)
        comparable = (EffectMeasure.HAZARD_RATIO,) if survival else tuple(_AS_RISK)
        effects = []
        for level, name in observed.levels.items():
            result = record.result(name)
            assert result is not None  # by the rules
            effect = next(e for e in result.effects if e.measure in comparable)
            effects.append((names.index(level), effect))
        found.append(PublishedSubgroups(record, chosen, tuple(effects)))
    return found


_AS_RISK: dict[EffectMeasure, Callable[[float, float], float]] = {
    EffectMeasure.ODDS_RATIO: risk_at_odds_ratio,
    EffectMeasure.RISK_RATIO: lambda ratio, risk: ratio * risk,
    # hazards proportional up to the read-out, nobody lost
    EffectMeasure.HAZARD_RATIO: lambda ratio, risk: 1 - (1 - risk) ** ratio,
}


def stratum_of(factor: Factor, level: int) -> str:
    """Return the name of one level in a row: "age-group=under-60"."""
    return f"{factor.id}={(factor.levels or ())[level].id}"


@dataclass(frozen=True)
class _Seen:
    """What the trials of one scenario found."""

    resolved: ResolvedTemplate
    truth: Truth
    scenario: Scenario
    results: Mapping[AnalysisPlan, LookResults]

    def of_factor(self, subgroup: Subgroup) -> Iterator[Row]:
        """Yield the effect in every level, and the test that they are one."""
        factor = _factor(self.resolved, subgroup.name)
        endpoint = _endpoint_of(subgroup, self.resolved)
        parts = self._levels(endpoint, factor.id)
        thetas = []
        for plan, found in parts:
            assert isinstance(plan.part, InLevel)
            theta = self._theta(plan, plan.part)
            thetas.append(theta)
            blank = self._blank(plan, stratum_of(factor, plan.part.level))
            value = exp(theta) if plan.summary.is_ratio else theta
            yield replace(blank, measure=Measure.TRUE_EFFECT, value=value, scale=str(plan.summary))
            blank = replace(
                blank, n_failed=int(found.failed[:, -1].sum()), analysis=_how(plan, subgroup)
            )
            for c in characteristics(found, theta, plan.summary):
                if c.measure in _LEVEL_MEASURES:
                    yield c.row(blank)
        yield from self._interaction(parts, thetas, factor, subgroup)

    def _interaction(
        self,
        parts: Sequence[tuple[AnalysisPlan, LookResults]],
        thetas: Sequence[float],
        factor: Factor,
        subgroup: Subgroup,
    ) -> Iterator[Row]:
        plan = parts[0][0]
        alpha = plan.alpha if plan.sides == 2 else 2 * plan.alpha
        tested = heterogeneity(
            np.stack([found.estimate[:, -1] for _, found in parts]),
            np.stack([found.standard_error[:, -1] for _, found in parts]),
        )
        ok, blank = ~tested.failed, self._blank(plan, factor.id)
        for level in range(1, len(thetas)):
            difference = thetas[level] - thetas[0]
            names = [level.id for level in factor.levels or ()]
            ratio = plan.summary.is_ratio
            yield replace(
                blank,
                measure=Measure.INTERACTION,
                value=exp(difference) if ratio else difference,
                stratum=stratum_of(factor, level),
                scale=f"{'ratio' if ratio else 'difference'} of {plan.summary}s, "
                f"{names[level]} to {names[0]}",
            )
        words = f"test of interaction, two-sided {100 * alpha:g}%"
        words += "" if subgroup.prespecified else ", not prespecified"
        yield _share(
            Measure.POWER_INTERACTION,
            tested.p_value[ok] <= alpha,
            replace(blank, analysis=words, n_failed=int(tested.failed.sum())),
        )

    def of_covariate(self, subgroup: Subgroup) -> Iterator[Row]:
        """Yield how much the effect changes per SD, and how often that is found."""
        endpoint, covariate = _endpoint_of(subgroup, self.resolved), subgroup.name
        plan, found = next(
            (plan, found)
            for plan, found in self.results.items()
            if plan.endpoint == endpoint and plan.part == PerCovariate(covariate)
        )
        measured = isinstance(self.truth.outcome(endpoint), MeasuredTruth)
        ratio = not measured or plan.summary.is_ratio
        theta = self._theta_per_sd(endpoint, covariate)
        what = str(plan.summary) if measured else "odds ratio"
        scale = f"{'ratio' if ratio else 'difference'} of {what}s per SD"
        model = "linear" if measured else "logistic"
        words = f"{model} model with {covariate} and its product with treatment, {plan.in_words}"
        blank = replace(
            self._blank(plan, covariate),
            analysis=words if subgroup.prespecified else f"{words}, not prespecified",
            n_failed=int(found.failed[:, -1].sum()),
        )
        true = replace(blank, measure=Measure.INTERACTION, scale=scale, n_failed=None)
        if theta is None:
            why = "the model leaves out what has prognosis or modifies: its slope is no truth's"
            yield replace(true, why=why)
        else:
            yield replace(true, value=exp(theta) if ratio else theta)
        summary = Summary.ODDS_RATIO if ratio else plan.summary
        for c in characteristics(found, theta or 0.0, summary):
            if c.measure is Measure.POWER:
                yield replace(c, measure=Measure.POWER_INTERACTION).row(blank)
            elif c.measure in (Measure.ESTIMATE_MEAN, Measure.EMPIRICAL_SE) or (
                c.measure is Measure.COVERAGE and theta is not None
            ):
                yield replace(c, scale=f"log {scale}" if ratio else scale).row(blank)

    def by_chance(self, endpoint: str) -> Iterator[Row]:
        """Yield how often some level is significant in favour, and the whole trial is not."""
        parts = [
            (plan, found)
            for plan, found in self.results.items()
            if plan.endpoint == endpoint and isinstance(plan.part, InLevel)
        ]
        if not parts:
            return
        whole, overall = next(
            (plan, found)
            for plan, found in self.results.items()
            if plan.endpoint == endpoint and plan.part is None
        )
        final = stop(overall, whole).final
        failed = np.any([found.failed[:, -1] for _, found in parts], axis=0) | final.failed[:, 0]
        favourable = np.any([_favourable(plan, found) for plan, found in parts], axis=0)
        alone = favourable & ~final.rejected[:, 0]
        words = f"at least one of {len(parts)} levels significant in favour, each {whole.in_words}"
        blank = replace(self._blank(whole, ANY), n_failed=int(failed.sum()), analysis=words)
        yield _share(Measure.SUBGROUP_EFFECTIVE, favourable[~failed], blank)
        words += "; the test of all patients finds nothing"
        yield _share(Measure.SUBGROUP_ALONE, alone[~failed], replace(blank, analysis=words))

    def against(self, published: PublishedSubgroups) -> Iterator[Row]:
        """Yield how often levels lie as far apart as published, and on opposite sides of none.

        A published ratio on another scale is carried over to the endpoint's at the level's control
        risk.
        """
        endpoint, factor = self.resolved.template.protocol.primary.id, published.factor
        parts = dict(enumerate(self._levels(endpoint, factor.id)))
        chosen = [parts[level] for level, _ in published.effects]
        plan = chosen[0][0]
        blank = replace(
            self._blank(plan, factor.id),
            evidence=published.record.id,
            analysis=published.in_words,
        )
        measures = (Measure.SUBGROUPS_AS_FAR_APART, Measure.SUBGROUPS_OPPOSITE)
        shown = [self._on_scale(effect, part[0]) for (_, effect), part in _zip(published, chosen)]
        if any(value is None for value in shown):
            why = "the published ratio cannot be carried over to this endpoint's scale"
            yield from (replace(blank, measure=measure, why=why) for measure in measures)
            return
        known = [value for value in shown if value is not None]
        gap = max(known) - min(known)
        failed = np.any([found.failed[:, -1] for _, found in chosen], axis=0)
        estimates = np.stack([found.estimate[~failed, -1] for _, found in chosen])
        high, low = estimates.max(axis=0), estimates.min(axis=0)
        far = high - low >= gap
        ratio = plan.summary.is_ratio
        blank = replace(
            blank,
            n_failed=int(failed.sum()),
            scale=f"published {'ratio' if ratio else 'difference'} of {plan.summary}s "
            f"{exp(gap) if ratio else gap:.3g}",
        )
        yield _share(measures[0], far, blank)
        yield _share(measures[1], far & (high > 0) & (low < 0), blank)

    def _levels(self, endpoint: str, factor: str) -> list[tuple[AnalysisPlan, LookResults]]:
        return [
            (plan, found)
            for plan, found in self.results.items()
            if plan.endpoint == endpoint
            and isinstance(plan.part, InLevel)
            and plan.part.factor == factor
        ]

    def _blank(self, plan: AnalysisPlan, stratum: str) -> Row:
        endpoint = self.resolved.endpoint(plan.endpoint)
        name, variant = self.truth.scenario, self.resolved.variant
        blank = Row.about(Measure.POWER, name, endpoint.id, endpoint.read_out, variant)
        return replace(blank, stratum=stratum)

    def _theta(self, plan: AnalysisPlan, part: InLevel) -> float:
        """Return the true effect in one level, marginal among its patients, analysis scale."""
        truth, modified = self.truth, self.truth.modified_in(plan.endpoint)
        endpoint = self.resolved.endpoint(plan.endpoint)
        if isinstance(endpoint, TimeToEventEndpoint):
            course = event_course(self.scenario, self.resolved.template, self.resolved.evidence)
            within = course_within(course, part)
            if within.lifetimes.control == within.lifetimes.treated:
                return 0.0
            return theta_on_course(self.resolved.template.protocol, plan, within, course)
        if isinstance(modified, ModifiedMeans):
            cells = modified.cells
            last = [effects[-1] for effects in modified.effects]
            return cells.averaged(last, cells.within(part.factor, part.level))
        if isinstance(endpoint, BinaryEndpoint):
            assert isinstance(plan.summary, Summary)
            return true_effect(self._risks(plan.endpoint, part), plan.summary)
        return theta_of(self.resolved, replace(plan, part=None), self.scenario, truth)

    def _risks(self, endpoint: str, part: InLevel) -> tuple[float, float]:
        """Return control and treated risk in one level."""
        truth, modified = self.truth, self.truth.modified_in(endpoint)
        outcome = truth.outcome(endpoint)
        if outcome is None and truth.courses is None:
            return risks_in(truth, endpoint, part.factor, part.level)
        control, treated = outcome.arms if outcome else (truth.control_risk, truth.treated_risk)
        if isinstance(modified, ModifiedRisks):
            cells = modified.cells
            treated = cells.averaged(modified.treated, cells.within(part.factor, part.level))
        return control, treated

    def _theta_per_sd(self, endpoint: str, covariate: str) -> float | None:
        """Return the true interaction per SD; None where the model analysed is not the truth's."""
        modified = self.truth.modified_in(endpoint)
        if isinstance(modified, ModifiedMeans):
            shares = zip(modified.cells.shares, modified.cells.active, strict=True)
            acting = sum(share for share, active in shares if active)
            return dict(modified.cells.per_sd).get(covariate, 0.0) * acting
        if self.truth.outcome(endpoint) or self.truth.courses:
            return 0.0
        prognostic = any(set(factor.odds_ratios) != {1.0} for factor in self.truth.factors)
        per_sd = dict(modified.cells.per_sd) if modified else {}
        others = [slope for name, slope in self.truth.slopes if name != covariate]
        others += [slope for name, slope in per_sd.items() if name != covariate]
        if prognostic or any(others) or (modified and modified.cells.factors):
            return None
        return per_sd.get(covariate, 0.0)

    def _on_scale(self, effect: EffectEstimate, plan: AnalysisPlan) -> float | None:
        """Return a published ratio on the analysis scale."""
        assert isinstance(plan.part, InLevel)
        if isinstance(plan.summary, SurvivalSummary):
            same = plan.summary.value == effect.measure.value
            return log(effect.value) if same else None
        if not isinstance(plan.summary, Summary):
            return None
        control = self._risks(plan.endpoint, plan.part)[0]
        treated = _AS_RISK[effect.measure](effect.value, control)
        return true_effect((control, treated), plan.summary) if 0 < treated < 1 else None


def _zip(
    published: PublishedSubgroups, chosen: Sequence[tuple[AnalysisPlan, LookResults]]
) -> Iterator[tuple[tuple[int, EffectEstimate], tuple[AnalysisPlan, LookResults]]]:
    return zip(published.effects, chosen, strict=True)


def course_within(course: EventCourse, part: InLevel) -> EventCourse:
    """Return the course of events of the patients in one level."""
    lifetimes = course.lifetimes
    factors = lifetimes.differs_by
    names = [name for name, _ in factors]
    if part.factor not in names:
        return course
    place = names.index(part.factor)
    cells = list(product(*(range(n) for _, n in factors)))
    chosen = [index for index, cell in enumerate(cells) if cell[place] == part.level]
    total = sum(lifetimes.shares[index] for index in chosen)
    control = tuple(lifetimes.control[index] for index in chosen)
    treated = tuple(lifetimes.treated[index] for index in chosen)
    within = replace(
        lifetimes,
        shares=tuple(lifetimes.shares[index] / total for index in chosen),
        control=control,
        treated=treated,
        constant_ratio=1.0 if control == treated else lifetimes.constant_ratio,
    )
    return replace(course, lifetimes=within)


def subgroup_findings(resolved: ResolvedTemplate, rows: Sequence[Row]) -> list[Finding]:
    """Say how often a null subgroup looks effective, and how surprising published ones are."""
    titles = {s.id: s for s in resolved.template.scenarios}
    uniform = {s.id for s in resolved.template.scenarios if not s.modifiers}
    found = []
    for row in rows:
        if row.measure is not Measure.SUBGROUP_EFFECTIVE or row.value is None:
            continue
        truth = resolved.truth(titles[row.scenario or ""])
        if row.scenario in uniform and truth.is_null:
            alone = next(
                r
                for r in rows
                if r.measure is Measure.SUBGROUP_ALONE
                and (r.scenario, r.endpoint) == (row.scenario, row.endpoint)
            )
            chance = Finding(
                f"subgroups of {row.endpoint}",
                f"with no effect in anyone, {_percent(row)} of trials show a subgroup in which "
                "treatment looks effective",
                f"{row.analysis}; in {_percent(alone)} of trials the whole shows nothing and "
                "a subgroup does",
            )
            found += [chance] if chance not in found else []  # two scenarios of one truth
    for published in published_subgroups(resolved):
        own = [
            row
            for row in rows
            if row.measure is Measure.SUBGROUPS_OPPOSITE
            and row.value is not None
            and row.scenario in uniform
            and (row.evidence, row.stratum) == (published.record.id, published.factor.id)
        ]
        if not own:
            continue
        most = max(own, key=_value)
        rare = _value(most) < _SURPRISING
        found.append(
            Finding(
                f"{published.record.id} by {published.factor.id}",
                "surprising if the effect is the same for all"
                if rare
                else "not surprising even if the effect is the same for all",
                f"{published.in_words}. With one effect for all, at most {_percent(most)} of "
                f"simulated trials (scenario {most.scenario}) have levels at least as far apart "
                f"({most.scale}), on opposite sides of no effect: of every {_one_in(most)} factors "
                "looked at, one does so by chance",
            )
        )
    return found


def _value(row: Row) -> float:
    return row.value or 0.0


def _one_in(row: Row) -> str:
    return f"{round(1 / _value(row)):,}" if _value(row) > 0 else "many"


def _percent(row: Row) -> str:
    return f"{100 * _value(row):.1f}% +-{100 * (row.mcse or 0):.1f}"


def _share(measure: Measure, hits: Bools, blank: Row) -> Row:
    """Return a share of replicates; not given where they are few."""
    if len(hits) < MIN_REPLICATES:
        why = f"{len(hits)} analysable replicates; at least {MIN_REPLICATES} are needed"
        return Characteristic(measure, None, None, len(hits), why=why).row(blank)
    return proportion(measure, hits).row(blank)


def _favourable(plan: AnalysisPlan, found: LookResults) -> Bools:
    """Return where a subgroup is significant in favour of treatment, shape (n_reps,)."""
    with np.errstate(invalid="ignore"):
        better = plan.benefit * found.estimate[:, -1] > 0
    return np.asarray(found.rejected[:, -1] & better)


def _how(plan: AnalysisPlan, subgroup: Subgroup) -> str:
    return plan.in_words + ("" if subgroup.prespecified else ", not prespecified")


def _endpoint_of(subgroup: Subgroup, resolved: ResolvedTemplate) -> str:
    return subgroup.endpoint or resolved.template.protocol.primary.id


def _factor(resolved: ResolvedTemplate, name: str) -> Factor:
    return next(factor for factor in resolved.template.nature.factors if factor.id == name)
