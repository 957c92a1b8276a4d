"""Published studies by every model: estimators of the variance between them, intervals, in turn.

None is a headline. They show how far a pooled result rests on the choice of a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.pooling import Tables, mantel_haenszel
from trialsim.kernels.random_effects import Estimator, Inference, random_effects
from trialsim.kernels.small_study import cumulative
from trialsim.protocol.published.trials import PublishedTrials
from trialsim.studies.literature.published_synthesis import (
    Method,
    PooledStudies,
    PublishedSynthesis,
)
from trialsim.trial import Measure, Row, StudyResult

__all__ = ["model_rows", "models_in_words", "with_models"]

_TOO_FEW = "too few studies to estimate the variance between them"
_NOT_CONVERGED = "did not converge"
_NO_ESTIMATE = "no estimate so far"
_REML = Estimator.RESTRICTED_MAXIMUM_LIKELIHOOD


def with_models(planned: PublishedSynthesis) -> StudyResult:
    """Return the result of published studies, with every model beside."""
    result, rows = planned.result(), list(model_rows(planned.trials, planned.pooled))
    told = models_in_words(rows)
    texts = {**result.texts, **({"models": told} if told else {})}
    return replace(result, rows=(*result.rows, *rows), texts=texts)


def model_rows(trials: PublishedTrials, pooled: PooledStudies) -> Iterator[Row]:
    """Yield the effect by every estimator and interval, tau2 by every estimator, and cumulatively.

    Cumulatively: with each study added to those before it, in their order.
    """
    y, v = pooled.estimates, pooled.variances
    for estimator in Estimator:
        one = random_effects(y, v, estimator)
        why = None
        if np.isnan(one.estimate[0]):
            why = _NOT_CONVERGED if one.between.not_converged[0] else _TOO_FEW
        if estimator is not Estimator.EQUAL_EFFECTS:
            tau2 = None if why else float(one.between.tau2[0])
            yield Row(measure=Measure.TAU2_BY_MODEL, value=tau2, analysis=estimator.value, why=why)
        for inference in Inference:
            if estimator is Estimator.EQUAL_EFFECTS and inference is not Inference.NORMAL:
                continue
            own = random_effects(y, v, estimator, inference)
            ends = (own.estimate[0], own.lower[0], own.upper[0])
            yield _row(
                pooled,
                Measure.ESTIMATE_BY_MODEL,
                f"{estimator.value}, {inference.value}",
                ends,
                why,
            )
    yield from _cumulative(trials, pooled)


def _cumulative(trials: PublishedTrials, pooled: PooledStudies) -> Iterator[Row]:
    reml = cumulative(pooled.estimates, pooled.variances, _REML, Inference.KNAPP_HARTUNG)
    columns: list[tuple[Method, tuple[NDArray[np.float64], ...]]] = [
        (Method.REML, (reml.estimate[0], reml.lower[0], reml.upper[0]))
    ]
    if pooled.tables is not None:
        so_far = np.tri(len(trials.studies), dtype=bool)
        cells = (
            np.where(so_far, cell, np.nan)
            for cell in (
                pooled.tables.events_treated,
                pooled.tables.n_treated,
                pooled.tables.events_control,
                pooled.tables.n_control,
            )
        )
        common = mantel_haenszel(Tables(*cells), pooled.scale)
        own = (common.estimate, common.lower, common.upper)
        columns.insert(0, (Method.MANTEL_HAENSZEL, own))
    for i, study in enumerate(trials.studies):
        for method, found in columns:
            ends = tuple(x[i] for x in found)
            why = None if np.isfinite(ends).all() else _NO_ESTIMATE
            yield _row(pooled, Measure.ESTIMATE_CUMULATIVE, method.value, ends, why, study.study)


def _row(
    pooled: PooledStudies,
    measure: Measure,
    analysis: str,
    ends: Sequence[float],
    why: str | None,
    study: str | None = None,
) -> Row:
    known = why is None and bool(np.isfinite(ends).all())
    value, low, high = (pooled.natural(end) if known else None for end in ends)
    return Row(
        measure=measure,
        value=value,
        lower=low,
        upper=high,
        level=0.95,
        evidence=study,
        analysis=analysis,
        scale=pooled.scale.value,
        why=why or (None if known else _TOO_FEW),
    )


def models_in_words(rows: Sequence[Row]) -> str:
    """Say how far the result differs between models, and how many did not converge."""
    own = [row for row in rows if row.measure is Measure.ESTIMATE_BY_MODEL]
    known = [row for row in own if row.value is not None]
    if len(known) < 2:
        return ""
    values = [row.value for row in known if row.value is not None]
    lows = [row.lower for row in known if row.lower is not None]
    highs = [row.upper for row in known if row.upper is not None]
    failed = {row.analysis for row in rows if row.why == _NOT_CONVERGED}
    more = f" {len(failed)} did not converge." if failed else ""
    scale = known[0].scale or ""
    ends = [_said(value, scale) for value in (min(values), max(values), min(lows), max(highs))]
    return (
        f"By {len(own)} models, nine estimators of the variance between studies and three kinds of "
        f"interval, the {scale} runs from {ends[0]} to {ends[1]}, ends of "
        f"intervals from {ends[2]} to {ends[3]}.{more} Each, and the studies added "
        "one by one, is in the document (--json) and the report."
    )


def _said(value: float, scale: str) -> str:
    if value >= 1000:
        return f"{value:.3g}"
    return f"{value:.3f}" if scale == "risk difference" else f"{value:.2f}"
