"""How strong a flaw has to be to give a published ratio of odds ratios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from trialsim.engine.run import Progress
from trialsim.engine.workers import Workers
from trialsim.errors import Problem, RequestError
from trialsim.protocol.conduct import Conduct, Mechanism
from trialsim.protocol.endpoints import BinaryEndpoint, ResponseEndpoint, Summary
from trialsim.protocol.published.cautions import Caution, cautions_about
from trialsim.protocol.published.evidence import OutcomeType
from trialsim.protocol.scenario import Scenario
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.studies.conduct.bias import PlannedBias, plan_bias
from trialsim.studies.conduct.bias_targets import (
    SPOKEN_OF,
    FilterTarget,
    NotIdentified,
    Target,
    filter_target,
    not_identified,
    outcomes_of_endpoint,
    targets,
)
from trialsim.studies.conduct.bias_together import (
    at_once,
    flattering,
    in_words,
    jointly,
    switched_on,
)
from trialsim.studies.conduct.dial import Dial
from trialsim.trial import AnalysisPlan, Measure, Row, StudyResult

__all__ = ["AT_RATIO", "STRENGTHS", "PlannedBiasCalibration", "plan_bias_calibration"]

# Of a dial: between them the strengths found move by less than their Monte Carlo errors.
STRENGTHS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_MOST_UNPUBLISHED = 0.8  # stronger filters leave too few trials where nothing is true
AT_RATIO = ("estimate", "lower end", "upper end")  # of its interval; where a strength is sought


def plan_bias_calibration(
    resolved: ResolvedTemplate,
    conduct: Conduct,
    scenarios: Sequence[str] = (),
    *,
    only: Mechanism | None = None,
    outcomes: str | None = None,
) -> PlannedBiasCalibration:
    """Decide which dials to turn, and to what ratios.

    Parameters
    ----------
    conduct : Conduct
        Of each of its flaws the dial is turned with the others off.
    scenarios : sequence of str
        The one the trials are simulated under; without, the first without an effect, else the
        first.
    only : Mechanism, optional
        One flaw of the profile.
    outcomes : str, optional
        "objective" or "subjective", where the endpoint is not death from any cause.

    Raises
    ------
    RequestError
        For a profile without a flaw that a published ratio speaks about, another summary than the
        odds ratio, more than one scenario, or flaws that cannot act in this trial.
    """
    if only:
        plan_bias(resolved, conduct, scenarios, only=only)  # it is there, and can act
        conduct = conduct.only({only})
    primary, problems = resolved.template.protocol.primary, []
    if primary.summary is not Summary.ODDS_RATIO:
        rule = f"needs the odds ratio: published ratios are of it, and this is {primary.summary}"
        remedy = "Use a template with a binary or response endpoint, for example sepsis."
        if isinstance(primary, BinaryEndpoint | ResponseEndpoint):
            path = f"protocol.endpoints.{primary.id}.estimand.summary=odds ratio"
            remedy = f"Add --set '{path}'."
        problems.append(Problem(rule, remedy, "--calibrate", primary.id))
    if len(scenarios) > 1:
        rule, remedy = "is one setting at a time", "Name one --scenario."
        problems.append(Problem(rule, remedy, "--calibrate", ", ".join(scenarios)))
    spoken_of = tuple(flaw for flaw in conduct.mechanisms if flaw in SPOKEN_OF)
    if not spoken_of:
        own = ", ".join(conduct.mechanisms) or "none"
        remedy = f"Published ratios speak about {', '.join(SPOKEN_OF)}: add one, at any strength."
        problems.append(
            Problem("has no flaw a published ratio speaks about", remedy, "--conduct", own)
        )
    if problems:
        raise RequestError(problems)
    kind = outcomes_of_endpoint(getattr(primary, "event", primary.id), outcomes)
    scenario = _reference(resolved, scenarios)
    cited = (reference.evidence for reference in resolved.template.observed)
    records = resolved.evidence.records
    conditions = frozenset(records[name].condition for name in cited if name in records)
    found = targets(spoken_of, kind, conditions, resolved.evidence)
    hopewell = filter_target(spoken_of, resolved.evidence)
    if not found and not hopewell:
        rule = f"has no flaw a published ratio speaks about for {kind} outcomes"
        remedy = f"Others are {', '.join(m for m in SPOKEN_OF if m not in spoken_of)}."
        raise RequestError(Problem(rule, remedy, "--conduct", ", ".join(spoken_of)))
    turned = {t.mechanism for t in found} | ({Mechanism.PUBLICATION} if hopewell else set())
    dials = tuple(
        plan_bias(
            resolved,
            conduct,
            [scenario.id],
            only=flaw,
            strengths=_strengths(conduct, flaw, hopewell),
        )
        for flaw in conduct.mechanisms
        if flaw in turned
    )
    return PlannedBiasCalibration(resolved, conduct, scenario, kind, dials, found, hopewell)


def _strengths(conduct: Conduct, flaw: Mechanism, hopewell: FilterTarget | None) -> list[float]:
    own = {*STRENGTHS, conduct.of(flaw).strength.value}
    if flaw is not Mechanism.PUBLICATION:
        return sorted(own)
    if hopewell:
        own |= {hopewell.strength(q) for q in (hopewell.negative, *hopewell.negative_interval)}
    return sorted({min(s, _MOST_UNPUBLISHED) for s in own})


def _reference(resolved: ResolvedTemplate, scenarios: Sequence[str]) -> Scenario:
    """Return the scenario asked for; without, the first without an effect, else the first."""
    chosen = resolved.scenarios(scenarios)
    plan = AnalysisPlan.of(resolved.template.protocol)
    for scenario in chosen:
        control, treated = resolved.truth(scenario).risks_on(plan.day, plan.counted)
        if control == treated:
            return scenario
    return chosen[0]


@dataclass(frozen=True)
class PlannedBiasCalibration:
    """Everything to be simulated, decided before any work starts.

    Attributes
    ----------
    scenario : Scenario
        Under which the ratios are simulated.
    outcomes : OutcomeType
        What kind of outcome the endpoint is.
    dials : tuple of PlannedBias
        One flaw each, the others off.
    targets : tuple of Target
    hopewell : FilterTarget or None
    """

    resolved: ResolvedTemplate
    conduct: Conduct
    scenario: Scenario
    outcomes: OutcomeType
    dials: tuple[PlannedBias, ...]
    targets: tuple[Target, ...]
    hopewell: FilterTarget | None

    @property
    def silent(self) -> tuple[Mechanism, ...]:
        """Flaws of the profile about which nothing published speaks."""
        turned = {dial.only for dial in self.dials}
        return tuple(flaw for flaw in self.conduct.mechanisms if flaw not in turned)

    @property
    def mixes(self) -> tuple[NotIdentified, ...]:
        """Ratios that identify no strength."""
        n = self.resolved.template.protocol.n_total
        evidence = self.resolved.evidence
        return tuple(not_identified(self.conduct.mechanisms, self.outcomes, n, evidence))

    @cached_property
    def risks(self) -> tuple[float, float]:
        """True risks of the event under control and under treatment."""
        job = self.dials[0].job
        return job.truths[0].risks_on(job.plans[0].day, job.plans[0].counted)

    def result(
        self,
        *,
        replicates: int = 4_000,
        seed: int = 1,
        workers: Workers = 1,
        on_progress: Progress | None = None,
    ) -> StudyResult:
        """Turn every dial, and read off the strengths.

        Raises
        ------
        SimulationError
            Where too few trials are published to say anything.
        """
        rows, observed = [self._setting()], list(self._published())
        warnings: list[Caution] = []
        for number, dial in enumerate(self.dials):

            def after(done: float, total: float, before: int = number) -> None:
                assert on_progress is not None
                on_progress(before + done / total, len(self.dials))

            found = dial.result(
                replicates=replicates,
                seed=seed,
                workers=workers,
                on_progress=after if on_progress else None,
            )
            rows += self._of_dial(dial, found)
            warnings += [w for w in found.warnings if w.code == "assumption"]
        texts = {**dict(self._texts()), **dict(_kappas(rows))}
        if several := at_once(self.targets):
            on = switched_on(self.conduct, several, rows)
            told, seen = None, replace(self._ratio_row(jointly(several)), mechanism="all")
            if on:
                plan = plan_bias(self.resolved, on, [self.scenario.id])
                found = plan.result(replicates=replicates, seed=seed, workers=workers)
                told = replace(flattering(plan, found.rows)[-1], mechanism="all")
                rows.append(told)
            observed.append(seen)
            texts["domains"] = in_words(several, on, told, seen)
        rows += [
            replace(
                self._blank,
                measure=Measure.STRENGTH_NEEDED,
                evidence=mix.record,
                source=mix.estimate.id,
                status=mix.estimate.status.value,
                why=f"not identified: {mix.why}",
            )
            for mix in self.mixes
        ]
        cited = [target.record for target in self.targets]
        about = cautions_about(cited, self.resolved.evidence) if self._of_blinding else ()
        return StudyResult(
            rows=tuple(rows),
            observed=tuple(observed),
            texts=texts,
            warnings=(*about, *dict.fromkeys(warnings)),
            n_replicates=replicates,
        )

    @property
    def _of_blinding(self) -> bool:
        return any("blinding" in e.flaw for t in self.targets for e in t.estimates)

    @property
    def _blank(self) -> Row:
        primary = self.resolved.template.protocol.primary
        read_out, variant = primary.read_out, self.resolved.variant
        return Row.about(Measure.STRENGTH_NEEDED, self.scenario.id, primary.id, read_out, variant)

    def _setting(self) -> Row:
        return replace(self._blank, measure=Measure.RISK, value=self.risks[0], arm="control")

    def _published(self) -> Iterator[Row]:
        """Yield every published number used, with its record and status."""
        for target in self.targets:
            yield self._ratio_row(target)
        for mix in self.mixes:
            own = mix.estimate
            yield Row(
                measure=Measure.RATIO_OF_ODDS_RATIOS,
                value=own.value,
                lower=own.ci[0] if own.ci else None,
                upper=own.ci[1] if own.ci else None,
                evidence=mix.record,
                source=own.id,
                status=own.status.value,
                analysis=own.comparison,
                scale=own.measure.value,
            )
        if own_filter := self.hopewell:
            low, high = own_filter.negative_interval
            blank = Row(
                measure=Measure.PUBLISHED_SHARE,
                value=own_filter.positive,
                mechanism=Mechanism.PUBLICATION.value,
                evidence=own_filter.record,
                source="positive-published",
                status=own_filter.status.value,
            )
            yield blank
            yield replace(
                blank, value=own_filter.negative, source=own_filter.source, lower=low, upper=high
            )

    def _ratio_row(self, target: Target) -> Row:
        low, high = target.interval or (None, None)
        return Row(
            measure=Measure.RATIO_OF_ODDS_RATIOS,
            value=target.ratio,
            lower=low,
            upper=high,
            mechanism=target.mechanism.value,
            evidence=target.record,
            source=target.source,
            status=target.status.value,
            analysis=target.adjustment or None,
            scale=target.estimates[0].measure.value,
        )

    def _of_dial(self, planned: PlannedBias, found: StudyResult) -> Iterator[Row]:
        """Yield the profile's strength, the dial, and the strengths that published ratios need."""
        assert planned.only is not None  # every dial is of one flaw
        dial, points = _dial(planned, found.rows)
        here = replace(self._blank, mechanism=planned.only.value)
        own = self.conduct.of(planned.only).strength
        yield replace(
            here,
            measure=Measure.STRENGTH_IN_PROFILE,
            value=own.value,
            status=None if own.source else "assumed",
            source=own.source,
        )
        yield from points
        for target in self.targets:
            if target.mechanism is planned.only:
                counted = replace(here, n_replicates=found.n_replicates)
                yield from _needed(target, dial, counted)
                yield _spread_needed(target, dial, counted)
        if planned.only is Mechanism.PUBLICATION and self.hopewell:
            yield from _filter_rows(self.hopewell, here)

    def _texts(self) -> Iterator[tuple[str, str]]:
        joint = [t for t in self.targets if len(t.estimates) > 1]
        if joint:
            parts = " x ".join(f"{e.value:.2f}" for e in joint[0].estimates)
            domains = " and ".join(e.flaw for e in joint[0].estimates)
            yield (
                "together",
                f"Foreseen allocation stands for two domains of {joint[0].record}, {domains}. Its "
                f"multivariable ratios are adjusted for each other and multiply: {parts} = "
                f"{joint[0].ratio:.2f} (derived); the interval is as if they were independent "
                "(assumed).",
            )
        named = [f"{t.record} {t.source}" for t in self.targets if t.adjustment == "univariable"]
        if named := list(dict.fromkeys(named)):
            yield (
                "univariable",
                f"Univariable: {', '.join(named)}. Flaws switched on together at strengths found "
                "from such ratios count twice what the domains share.",
            )
        turned = {dial.only for dial in self.dials}
        if own := self.hopewell:
            positive, negative = f"{own.positive:.2f}", f"{own.negative:.2f}"
            yield (
                "publication",
                f"{own.record} ({own.status}): of positive trials {positive} are published, of "
                f"negative ones {negative}; the filter's strength is 1 - {negative} / {positive} = "
                f"{own.strength(own.negative):.3f}. The ends move the latter by the odds ratio of "
                "being published. Positive is taken to be what the filter always lets through "
                "(assumed).",
            )
        if Mechanism.EXCLUSION in turned:
            yield (
                "exclusion",
                "Modified intention to treat is taken as exclusion of patients with the "
                f"unfavourable outcome from the {self.conduct.of(Mechanism.EXCLUSION).arm} arm "
                "(assumed); those it excludes whatever their outcome, in both arms alike, move "
                "nothing.",
            )
        if self._of_blinding:
            yield (
                "blinding",
                "BRANDO and MetaBLIND disagree about blinding; both are shown, and no mean of them "
                "is taken.",
            )
        if self.silent:
            yield (
                "silent",
                f"No published ratio of odds ratios speaks about {', '.join(self.silent)}.",
            )


def _dial(planned: PlannedBias, rows: Sequence[Row]) -> tuple[Dial, list[Row]]:
    """Return the dial, and its rows turned so that below 1 flatters."""
    points = flattering(planned, [row for row in rows if row.strength is not None])
    points.sort(key=lambda row: row.strength or 0.0)
    numbers = np.array([(p.strength, p.value, p.mcse) for p in points], dtype=float)
    return Dial(numbers[:, 0], numbers[:, 1], numbers[:, 2]), points


def _needed(target: Target, dial: Dial, here: Row) -> Iterator[Row]:
    """Yield the strength for a ratio, and for the ends of its interval."""
    ratios = dict(zip(AT_RATIO, (target.ratio, *(target.interval or ())), strict=False))
    for name, ratio in ratios.items():
        strength, mcse = dial.reaching(ratio)
        why = None
        if strength is None:
            why = f"not reached: strength 1 gives {dial.at_full:.3f}, {ratio:.2f} is asked for"
        yield replace(
            here,
            value=strength,
            mcse=mcse,
            evidence=target.record,
            source=target.source,
            status=target.status.value,
            analysis=name,
            why=why,
        )


def _spread_needed(target: Target, dial: Dial, here: Row) -> Row:
    """Return the SD of strength between trials that gives the published kappa, or why not."""
    told = replace(
        here,
        measure=Measure.STRENGTH_SD_NEEDED,
        value=None,
        evidence=target.record,
        source=target.source,
        status=target.status.value,
        level=target.kappa,
    )
    if target.kappa is None:
        return replace(told, why="kappa is not published")
    strength = dial.reaching(target.ratio).strength
    if not strength or strength >= 1:
        return replace(told, why="no strength between 0 and 1 to spread around")
    sd, mcse = dial.spreading(strength, target.kappa)
    why = None if sd is not None else f"not reached: strengths around {strength:.3f} spread less"
    return replace(told, value=sd, mcse=mcse, why=why)


def _kappas(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Say what SD of strength between trials each published kappa needs."""
    own = [row for row in rows if row.measure is Measure.STRENGTH_SD_NEEDED]
    told = []
    for row in own:
        kappa = "" if row.level is None else f", kappa {row.level:.3f}"
        needs = row.why if row.value is None else f"SD {row.value:.3f} +-{row.mcse or 0.0:.3f}"
        told.append(f"{row.mechanism}, {row.evidence} {row.source}{kappa}: {needs}")
    if told:
        yield (
            "kappa",
            "SD of strength between trials (beta around the strength needed) that gives the "
            f"published kappa, the SD of log ratios between trials. {'; '.join(told)}.",
        )


def _filter_rows(target: FilterTarget, here: Row) -> Iterator[Row]:
    """Yield the strength of a filter, by its formula: no Monte Carlo error."""
    low, high = target.negative_interval
    for name, negative in zip(AT_RATIO, (target.negative, low, high), strict=True):
        yield replace(
            here,
            value=target.strength(negative),
            mcse=0.0,
            evidence=target.record,
            source=target.source,
            status=target.status.value,
            analysis=name,
        )
