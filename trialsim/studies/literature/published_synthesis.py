"""Published trials pooled as they are: nothing is simulated.

By Mantel and Haenszel, Peto, inverse variance and two random-effects models; how far trials differ,
whether small ones say something else, which trial carries the result, and two strata compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.pooling import (
    Difference,
    Pooled,
    Tables,
    Uninformative,
    by_normal,
    effects,
    mantel_haenszel,
    peto,
    pooled_difference,
)
from trialsim.kernels.proportions import Scale
from trialsim.kernels.random_effects import (
    Estimator,
    Inference,
    ProfileInterval,
    RandomEffects,
    q_profile,
    random_effects,
)
from trialsim.kernels.small_study import (
    egger,
    harbord,
    peters,
    rank_test,
    trim_and_fill,
)
from trialsim.protocol.endpoints import Summary
from trialsim.protocol.published.cautions import cautions_about
from trialsim.protocol.published.trials import (
    Origin,
    PublishedStudy,
    PublishedTrials,
    SplitBy,
    StudyStratum,
    strata_of,
)
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.studies.literature.published_strata import (
    published_strata_rows,
    published_strata_texts,
)
from trialsim.trial import Measure, Row, StudyResult

__all__ = [
    "FEWEST_FOR_ASYMMETRY",
    "NOT_INFORMATIVE",
    "Method",
    "PooledStudies",
    "SIMULATED",
    "PublishedSynthesis",
    "pool_studies",
]

Floats = NDArray[np.float64]

FEWEST_FOR_ASYMMETRY = 10  # Sterne et al. 2011, BMJ 343:d4002
NOT_INFORMATIVE = (
    f"not informative with fewer than {FEWEST_FOR_ASYMMETRY} studies (Sterne et al. 2011)"
)
_LARGEST_LOG = 700.0
_FEW = 4  # assumed: from here down the interval is said to rest on little
_Z95 = 1.959963984540054
_NEEDS_COUNTS = "needs the counts of every study"
_TOO_FEW = "too few studies to estimate the variance between them"
SIMULATED = "simulated"  # the text of a document whose trials are
_NO_ESTIMATE = "an arm of all studies together has no event, or nothing but events"
_TWO_ZEROS = "nobody, or everybody, had the event: says nothing about a ratio"
_REML, _KH = Estimator.RESTRICTED_MAXIMUM_LIKELIHOOD, Inference.KNAPP_HARTUNG


class Method(StrEnum):
    """How studies are pooled."""

    MANTEL_HAENSZEL = "Mantel-Haenszel"
    PETO = "Peto"
    INVERSE_VARIANCE = "inverse variance"
    DERSIMONIAN_LAIRD = "random effects, DerSimonian-Laird"
    REML = "random effects, REML, Knapp-Hartung"


@dataclass(frozen=True)
class PooledStudies:
    """Studies, or a stratum of them, pooled by every method.

    Attributes
    ----------
    tables : Tables or None
        Shape (1, n_studies), NaN outside the stratum; None where a study states an estimate only.
    estimates, variances : ndarray of float, shape (1, n_studies)
        Ratios on the log scale; NaN where a study says nothing or is outside the stratum.
    common : Pooled
        Mantel-Haenszel; the inverse-variance method without counts.
    main : Method
        Which of these two.
    """

    scale: Scale
    tables: Tables | None
    estimates: Floats
    variances: Floats
    common: Pooled
    main: Method
    peto: Pooled | None
    fixed: RandomEffects
    dersimonian_laird: RandomEffects
    reml: RandomEffects
    profile: ProfileInterval

    @property
    def n_informative(self) -> int:
        """Studies with an estimate."""
        return int((~np.isnan(self.estimates)).sum())

    def weights(self) -> tuple[Floats, Floats]:
        """Return the shares of the studies in `common` and in `reml`, each (n_studies,).

        Of Mantel and Haenszel's ratio the terms of its denominator, of the difference n1 n0 / N.
        """
        if self.tables is None:
            raw = 1 / self.variances[0]
        else:
            a, b, c, d = (cells[0] for cells in self.tables.cells())
            n1, n0 = a + b, c + d
            n = np.maximum(n1 + n0, 1)
            raw = {
                Scale.ODDS_RATIO: b * c / n,
                Scale.RISK_RATIO: c * n1 / n,
                Scale.RISK_DIFFERENCE: n1 * n0 / n,
            }[self.scale]
        random = 1 / (self.variances[0] + self.reml.between.tau2)
        with np.errstate(invalid="ignore"):
            return raw / np.nansum(raw), random / np.nansum(random)

    def natural(self, value: float) -> float:
        """Return a value of the analysis scale as a ratio or difference; ratios up to 1e304."""
        if self.scale is Scale.RISK_DIFFERENCE:
            return float(value)
        return float(np.exp(np.clip(value, -_LARGEST_LOG, _LARGEST_LOG)))


def pool_studies(trials: PublishedTrials, chosen: Sequence[bool] | None = None) -> PooledStudies:
    """Pool studies by every method.

    Parameters
    ----------
    trials : PublishedTrials
    chosen : sequence of bool, optional
        The studies of a stratum; all of them unless stated.

    Notes
    -----
    Studies in which nobody, or everybody, had the event say nothing about a ratio and are left
    out of it; with one zero cell 0.5 is added to all four for the inverse-variance methods.
    """
    scale = Scale(trials.measure.value)
    keep = np.ones(len(trials.studies), bool) if chosen is None else np.asarray(chosen, bool)
    y, v = np.full((1, len(keep)), np.nan), np.full((1, len(keep)), np.nan)
    counted = np.array([study.counts is not None for study in trials.studies])
    counts = [study.counts or (np.nan,) * 4 for study in trials.studies]
    tables = Tables(*np.array(counts, dtype=float).T[:, None, :]).only(keep)
    which = Uninformative.CORRECTED if scale is Scale.RISK_DIFFERENCE else Uninformative.LEFT_OUT
    own = effects(tables, scale, which)
    y[:, counted], v[:, counted] = own.estimates[:, counted], own.variances[:, counted]
    for i, study in enumerate(trials.studies):
        if study.estimate and keep[i]:
            value, low, high = (
                study.estimate if scale is Scale.RISK_DIFFERENCE else np.log(study.estimate)
            )
            y[0, i], v[0, i] = value, ((high - low) / (2 * _Z95)) ** 2
    whole = bool(counted[keep].all())
    fixed = random_effects(y, v, Estimator.EQUAL_EFFECTS)
    common = mantel_haenszel(tables, scale) if whole else _as_pooled(fixed)
    return PooledStudies(
        scale,
        tables if whole else None,
        y,
        v,
        common,
        Method.MANTEL_HAENSZEL if whole else Method.INVERSE_VARIANCE,
        peto(tables) if whole and scale is Scale.ODDS_RATIO else None,
        fixed,
        random_effects(y, v, Estimator.DERSIMONIAN_LAIRD),
        random_effects(y, v, _REML, _KH),
        q_profile(y, v),
    )


def _as_pooled(fixed: RandomEffects) -> Pooled:
    n = fixed.n_trials
    return by_normal(fixed.estimate, fixed.standard_error, fixed.q, n, n, 0.95)


@dataclass(frozen=True)
class PublishedSynthesis:
    """What is pooled, and how it is split.

    Attributes
    ----------
    resolved : ResolvedTemplate
        Whose evidence it is, and whose event is counted.
    """

    resolved: ResolvedTemplate
    trials: PublishedTrials
    split: SplitBy | None = None

    @property
    def split_name(self) -> str:
        """What it is split by; empty where it is not."""
        return str(self.split or "")

    @property
    def what(self) -> str:
        """What its studies are."""
        return str(self.trials.origin)

    @property
    def pooled(self) -> PooledStudies:
        """All studies."""
        return pool_studies(self.trials)

    @property
    def strata(self) -> tuple[tuple[StudyStratum, PooledStudies], ...]:
        """The two strata, where it is split.

        Raises
        ------
        RequestError
            Where it cannot be split so.
        """
        if self.split is None:
            return ()
        found = strata_of(self.trials, self.split)
        return tuple((one, pool_studies(self.trials, one.chosen)) for one in found)

    def result(self) -> StudyResult:
        """Return every number as a row: of the studies, and pooled."""
        pooled, strata = self.pooled, self.strata
        rows = [*_pooled_rows(pooled), *_asymmetry_rows(pooled)]
        rows += _without_rows(self.trials, pooled)
        rows += _summary_rows(pooled)
        for stratum, own in strata:
            rows += [replace(r, stratum=f"{self.split}={stratum.label}") for r in _pooled_rows(own)]
        rows += _difference_rows(self.split, strata)
        rows += published_strata_rows(self.resolved, self.trials.beside)
        observed = [*_study_rows(self.trials, pooled, self.split, strata), *self._beside()]
        cited = (*(study.study for study in self.trials.studies), *self.trials.beside)
        known = [name for name in cited if self.trials.recorded]
        return StudyResult(
            tuple(rows),
            tuple(observed),
            texts=self._texts(pooled, strata),
            warnings=cautions_about(known, self.resolved.evidence),
        )

    def _beside(self) -> Iterator[Row]:
        """Yield pools that are shown but not pooled."""
        for name, why in self.trials.beside.items():
            record = self.resolved.evidence.records[name]
            for effect in getattr(record, "effects", ()):
                if effect.measure.value != self.trials.measure.value:
                    continue
                low, high = effect.ci or (None, None)
                yield Row(
                    measure=Measure.ESTIMATE,
                    value=effect.value,
                    lower=low,
                    upper=high,
                    level=0.95 if effect.ci else None,
                    evidence=name,
                    analysis="pooled",
                    scale=effect.measure.value,
                    status=effect.status.value,
                    why=f"shown, not pooled: {why}",
                )

    def _texts(
        self, pooled: PooledStudies, strata: Sequence[tuple[StudyStratum, PooledStudies]]
    ) -> dict[str, str]:
        found = {"pooled": _sentence(pooled, self.trials)}
        if self.trials.origin is Origin.SIMULATED:
            found[SIMULATED] = (
                "These trials are simulated: none of their counts was published. A trial called "
                "like a published one has its size, not its result."
            )
        if 1 < (n := pooled.n_informative) <= _FEW:
            found["few"] = (
                f"With {n} studies the variance between them is hardly known: by Knapp and Hartung "
                f"the interval rests on t with {n - 1} degree{'s' * (n > 2)} of freedom."
            )
        if _narrower(pooled):
            found["narrow"] = (
                "By Knapp and Hartung the interval is narrower here than the normal one: these "
                "studies differ less than chance alone lets expect (Roever et al. 2015). Read it "
                "beside the others."
            )
        outcomes = sorted({study.outcome for study in self.trials.studies if study.outcome})
        if len(outcomes) > 1:
            found["outcomes"] = f"Outcomes and times differ: {'; '.join(outcomes)}."
        if silent := [
            study.study
            for study, y in zip(self.trials.studies, pooled.estimates[0], strict=True)
            if np.isnan(y)
        ]:
            found["left-out"] = f"{', '.join(silent)}: {_TWO_ZEROS}."
        if pooled.n_informative < FEWEST_FOR_ASYMMETRY:
            found["asymmetry"] = (
                f"Tests of the funnel's asymmetry are {NOT_INFORMATIVE}; here "
                f"{pooled.n_informative} can be used."
            )
        else:
            found["asymmetry"] = (
                "An asymmetric funnel can come from unpublished trials, flaws of small ones, true "
                "differences or chance; no test tells which."
            )
        if strata:
            found["strata"] = (
                "Strata are compared between trials, not within: whatever else differs between "
                "them is in the ratio too."
            )
        found |= published_strata_texts(self.resolved, self.trials.beside)
        found["certainty"] = (
            "Certainty of the evidence is not rated here: that is for the panel (GRADE)."
        )
        return found


def _narrower(pooled: PooledStudies) -> bool:
    """Whether Knapp and Hartung's interval is narrower than the normal one of the same tau2."""
    normal = random_effects(pooled.estimates, pooled.variances, _REML)
    one, other = (x.upper[0] - x.lower[0] for x in (pooled.reml, normal))
    return bool(one < other)


def _sentence(pooled: PooledStudies, trials: PublishedTrials) -> str:
    n_studies = len(trials.studies)
    value, low, high = _natural(pooled, pooled.common)
    name = pooled.scale.value
    if value is None:
        return f"{n_studies} studies; no {name} by {pooled.main}: {_NO_ESTIMATE}."
    published = trials.origin is Origin.PUBLISHED
    return (
        f"{n_studies} studies pooled by {pooled.main}: {name} {value:.2f} ({low:.2f} to "
        f"{high:.2f}).{' Nothing was simulated.' * published}"
    )


def _natural(
    pooled: PooledStudies, one: Pooled | RandomEffects
) -> tuple[float | None, float | None, float | None]:
    numbers = (one.estimate[0], one.lower[0], one.upper[0])
    if not np.isfinite(numbers).all():
        return None, None, None
    value, low, high = (pooled.natural(number) for number in numbers)
    return value, low, high


def _known(value: float) -> float | None:
    return None if np.isnan(value) or np.isinf(value) else float(value)


def _pooled_rows(pooled: PooledStudies) -> Iterator[Row]:
    """Yield the pooled estimates and how far studies differ."""
    by_counts = {Method.MANTEL_HAENSZEL: pooled.common if pooled.tables else None}
    if pooled.scale is Scale.ODDS_RATIO:
        by_counts[Method.PETO] = pooled.peto
    for method, one in by_counts.items():
        yield from _estimate_rows(pooled, method, one, _NO_ESTIMATE if one else _NEEDS_COUNTS)
    for method, model in (
        (Method.INVERSE_VARIANCE, pooled.fixed),
        (Method.DERSIMONIAN_LAIRD, pooled.dersimonian_laird),
        (Method.REML, pooled.reml),
    ):
        unsettled = model.between.not_converged[0]
        why = "the variance between studies did not converge" if unsettled else _TOO_FEW
        yield from _estimate_rows(pooled, method, model, why)
    reml, profile, too_few = pooled.reml, pooled.profile, pooled.n_informative < 2
    few = _TOO_FEW if too_few else None
    reach = (_known(reml.prediction_lower[0]), _known(reml.prediction_upper[0]))
    centre = None if reach[0] is None else pooled.natural(reml.estimate[0])
    yield Row(
        measure=Measure.PREDICTION,
        value=centre,
        lower=None if reach[0] is None else pooled.natural(reach[0]),
        upper=None if reach[1] is None else pooled.natural(reach[1]),
        level=0.95,
        analysis=Method.REML,
        scale=pooled.scale.value,
        why=few,
    )
    q, p = _known(reml.q[0]), _known(reml.q_p_value[0])
    yield Row(measure=Measure.HETEROGENEITY_Q, value=q, why=few)
    yield Row(measure=Measure.P_VALUE, value=p, analysis="Cochran's Q", why=few)
    for measure, value, low, high in (
        (Measure.I2, reml.i2[0], profile.i2_lower[0], profile.i2_upper[0]),
        (Measure.TAU2, reml.between.tau2[0], profile.tau2_lower[0], profile.tau2_upper[0]),
    ):
        yield Row(
            measure=measure,
            value=_known(value),
            lower=_known(low),
            upper=_known(high),
            level=0.95,
            analysis="REML; interval by Q-profile",
            unit="%" if measure is Measure.I2 else None,
            why=few,
        )


def _estimate_rows(
    pooled: PooledStudies, method: Method, one: Pooled | RandomEffects | None, why: str
) -> Iterator[Row]:
    value, low, high = _natural(pooled, one) if one else (None, None, None)
    row = Row(
        measure=Measure.ESTIMATE,
        value=value,
        lower=low,
        upper=high,
        level=0.95,
        analysis=method,
        scale=pooled.scale.value,
        headline=True if method is pooled.main else None,
        why=None if value is not None else why,
    )
    yield row
    p = float(one.p_value[0]) if one and value is not None else None
    yield Row(measure=Measure.P_VALUE, value=p, analysis=method, why=row.why)


def _asymmetry_rows(pooled: PooledStudies) -> Iterator[Row]:
    """Yield tests of the funnel's asymmetry; without numbers where studies are few."""
    enough = pooled.n_informative >= FEWEST_FOR_ASYMMETRY
    why = None if enough else NOT_INFORMATIVE
    y, v = pooled.estimates, pooled.variances
    tables = pooled.tables
    by_counts = tables is not None and pooled.scale is Scale.ODDS_RATIO
    names = ("Egger", "rank", *(("Harbord", "Peters") if by_counts else ()))
    found = [egger(y, v).p_value[0], rank_test(y, v).p_value[0]] if enough else []
    if enough and tables is not None and by_counts:
        found += [harbord(tables).p_value[0], peters(tables).p_value[0]]
    for name, p_value in zip_longest(names, found, fillvalue=np.nan):
        p = _known(p_value)
        known = why or (None if p is not None else "studies are all of one size")
        yield Row(measure=Measure.P_VALUE, value=p, analysis=f"asymmetry, {name}", why=known)
    missing = trim_and_fill(y, v, _REML) if enough else None
    n_missing = _known(missing.n_missing[0]) if missing else None
    known = why or (None if n_missing is not None else "did not settle")
    name = "trim and fill, L0"
    yield Row(measure=Measure.STUDIES_MISSING, value=n_missing, analysis=name, why=known)
    value, low, high = _natural(pooled, missing.pooled) if missing else (None, None, None)
    yield Row(
        measure=Measure.ESTIMATE,
        value=value,
        lower=low,
        upper=high,
        level=0.95,
        analysis=f"{name}, REML",
        scale=pooled.scale.value,
        why=known,
    )


def _without_rows(trials: PublishedTrials, pooled: PooledStudies) -> Iterator[Row]:
    """Yield the pooled estimates without each study in turn."""
    for i, study in enumerate(trials.studies):
        one = pool_studies(trials, [j != i for j in range(len(trials.studies))])
        for method, found, why in (
            (pooled.main, one.common, _NO_ESTIMATE),
            (Method.REML, one.reml, _TOO_FEW),
        ):
            value, low, high = _natural(one, found)
            yield Row(
                measure=Measure.ESTIMATE_WITHOUT,
                value=value,
                lower=low,
                upper=high,
                level=0.95,
                evidence=study.study,
                analysis=method,
                scale=pooled.scale.value,
                why=None if value is not None else why,
            )


def _summary_rows(pooled: PooledStudies) -> Iterator[Row]:
    """Yield what a summary-of-findings table has beside the relative effect.

    The control risk is that of all controls together; differences follow from the relative effect
    and its interval at that risk, taken as known.
    """
    if pooled.tables is None:
        for measure in (Measure.N_PATIENTS, Measure.EVENTS_PER_1000):
            yield Row(measure=measure, value=None, why=_NEEDS_COUNTS)
    else:
        a, b, c, d = (float(cells.sum()) for cells in pooled.tables.cells())
        risk = c / (c + d)
        unit = "per 1,000 patients"
        yield Row(measure=Measure.N_PATIENTS, value=a + b + c + d)
        yield Row(measure=Measure.EVENTS_PER_1000, value=1000 * risk, arm="control", unit=unit)
        for method, one in ((pooled.main, pooled.common), (Method.REML, pooled.reml)):
            ends = [
                None if x is None else 1000 * (_treated_risk(risk, x, pooled.scale) - risk)
                for x in _natural(pooled, one)
            ]
            yield Row(
                measure=Measure.EVENTS_PER_1000,
                value=ends[0],
                lower=ends[1],
                upper=ends[2],
                level=0.95,
                analysis=method,
                unit=unit,
                why=None if ends[0] is not None else _TOO_FEW,
            )
    yield Row(measure=Measure.CERTAINTY, value=None, why="for the panel")


def _treated_risk(risk: float, effect: float, scale: Scale) -> float:
    if scale is Scale.ODDS_RATIO:
        return risk * effect / (1 - risk + risk * effect)
    treated = risk * effect if scale is Scale.RISK_RATIO else risk + effect
    return min(max(treated, 0.0), 1.0)


def _study_rows(
    trials: PublishedTrials,
    pooled: PooledStudies,
    split: SplitBy | None,
    strata: Sequence[tuple[StudyStratum, PooledStudies]],
) -> Iterator[Row]:
    """Yield counts, effect and weights of every study."""
    common, random = pooled.weights()
    half = _Z95 * np.sqrt(pooled.variances[0])
    for i, study in enumerate(trials.studies):
        own = next((s.label for s, _ in strata if s.chosen[i]), None)
        blank = Row(
            measure=Measure.ESTIMATE,
            value=None,
            evidence=study.study,
            status=study.status or None,
            stratum=f"{split}={own}" if own else None,
        )
        yield from _count_rows(study, blank)
        y = pooled.estimates[0, i]
        ends = (y, y - half[i], y + half[i])
        value, low, high = study.estimate or (
            None if np.isnan(end) else pooled.natural(end) for end in ends
        )
        yield replace(
            blank,
            value=value,
            lower=low,
            upper=high,
            level=0.95,
            analysis="from its counts" if study.counts else "as stated",
            scale=pooled.scale.value,
            why=None if value is not None else _TWO_ZEROS,
        )
        for method, weights in ((pooled.main, common), (Method.REML, random)):
            share = _known(weights[i])
            why = None if share is not None else _TWO_ZEROS
            yield replace(
                blank, measure=Measure.WEIGHT, value=share, analysis=method, status=None, why=why
            )


def _count_rows(study: PublishedStudy, blank: Row) -> Iterator[Row]:
    if study.counts is None:
        return
    x1, n1, x0, n0 = study.counts
    for arm, events, n in (("treated", x1, n1), ("control", x0, n0)):
        own = replace(blank, arm=arm, status=study.counts_status or None)
        yield replace(own, measure=Measure.N_EVENTS, value=events)
        yield replace(own, measure=Measure.N_PATIENTS, value=n)


def _difference_rows(
    split: SplitBy | None, strata: Sequence[tuple[StudyStratum, PooledStudies]]
) -> Iterator[Row]:
    """Yield how far two strata are apart, and the test of interaction."""
    if not strata:
        return
    (one, first), (other, second) = strata
    found: Difference = pooled_difference(first.common, second.common)
    ratio = first.scale is not Scale.RISK_DIFFERENCE
    numbers = [_known(x[0]) for x in (found.estimate, found.lower, found.upper)]
    value, low, high = (None if x is None else first.natural(x) for x in numbers)
    both = first.main if first.main is second.main else Method.INVERSE_VARIANCE
    blank = Row(
        measure=Measure.RATIO_OF_RATIOS if ratio else Measure.DIFFERENCE_OF_DIFFERENCES,
        value=value,
        lower=low,
        upper=high,
        level=0.95,
        analysis=both,
        scale=first.scale.value,
        stratum=f"{split}: {one.label} v {other.label}",
        why=None if value is not None else _NO_ESTIMATE,
    )
    if first.scale.value == Summary.ODDS_RATIO.value:
        blank = replace(blank, measure=Measure.RATIO_OF_ODDS_RATIOS)
    yield blank
    p = _known(found.p_value[0])
    yield Row(
        measure=Measure.P_VALUE,
        value=p,
        analysis="interaction",
        stratum=blank.stratum,
        why=blank.why,
    )
