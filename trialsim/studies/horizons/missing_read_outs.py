"""What missing read-outs do: several ways to deal with them, of the same patients, per horizon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from trialsim.analyse.missing import ArmShares, arm_shares
from trialsim.characteristics import MIN_REPLICATES, Characteristic, characteristics, true_effect
from trialsim.engine.blocks import Job, draw_patients
from trialsim.engine.run import Progress, run
from trialsim.engine.workers import Workers
from trialsim.errors import Problem, RequestError
from trialsim.protocol.endpoints import ResponseEndpoint, Summary
from trialsim.protocol.missing import MissingReadOut
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams
from trialsim.studies.horizons.followup import PlannedFollowUp
from trialsim.trial import AnalysisPlan, LookResults, Measure, Row, StudyResult

__all__ = ["IMPUTED_REPLICATES", "check_missing", "risks_without_loss", "with_missing_read_outs"]

IMPUTED_REPLICATES = 500  # at most, with multiple imputation: it takes a hundred times as long
_SHOWN = (
    Measure.POWER,
    Measure.TYPE_I_ERROR,
    Measure.BIAS,
    Measure.EMPIRICAL_SE,
    Measure.MODEL_SE,
    Measure.COVERAGE,
)
_SHARES_REPLICATES = 2_560  # shares of arms vary little from trial to trial


def check_missing(planned: PlannedFollowUp) -> None:
    """Refuse endpoints other than response at a visit, and events (RequestError)."""
    primary = planned.resolved.template.protocol.primary
    if not isinstance(primary, ResponseEndpoint):
        rule = f"is about response at a visit; the primary endpoint is of kind {primary.kind}"
        raise RequestError(Problem(rule, "Leave it out.", "--missing"))
    if planned.truths[0][0].intercurrent:
        rule = "cannot stand beside nature.intercurrent_events, whose estimands say so each"
        remedy = "Leave it out, and set estimand.missing or further_estimands."
        raise RequestError(Problem(rule, remedy, "--missing"))


def with_missing_read_outs(
    planned: PlannedFollowUp,
    result: StudyResult,
    handlings: Sequence[MissingReadOut],
    *,
    seed: int = 1,
    workers: Workers = 1,
    on_progress: Progress | None = None,
) -> StudyResult:
    """Add, per scenario, horizon and handling, what is missing and what the analysis then finds.

    Bias and coverage are against the effect on all patients, were nobody lost and no visit missed
    (who dies is without response); power differences are from missing = failure in the same
    trials.

    Parameters
    ----------
    planned : PlannedFollowUp
    result : StudyResult
        Of its `result`; as many trials are simulated here, `IMPUTED_REPLICATES` at most with
        multiple imputation.
    handlings : sequence of MissingReadOut
        Failure among them.
    seed : int
    workers : int, Executor or Cluster
    on_progress : callable, optional

    Raises
    ------
    RequestError
        For an endpoint that is no response at a visit.
    """
    check_missing(planned)
    (job,) = planned.jobs  # courses share one
    n = result.n_replicates
    some = min(n, IMPUTED_REPLICATES)
    cheap = [own for own in handlings if own is not MissingReadOut.MULTIPLE_IMPUTATION]
    (many,) = run(
        [_asking(job, cheap)], n_replicates=n, seed=seed, workers=workers, on_progress=on_progress
    )
    few = None
    if len(cheap) < len(handlings):
        (few,) = run(
            [_asking(job, (MissingReadOut.MULTIPLE_IMPUTATION,))],
            n_replicates=some,
            seed=seed,
            workers=workers,
            on_progress=on_progress,
        )
    shares = _shares(job, handlings, n, seed)
    rows: list[Row] = []
    for index, truth in enumerate(job.truths):
        found = dict(zip(many.job.plans, many.results[index], strict=True))
        if few:
            found |= dict(zip(few.job.plans, few.results[index], strict=True))
        for h, plan in enumerate(job.plans):
            horizon, name = planned.horizons[h], planned.scenarios[index].id
            variant = planned.resolved.variant
            blank = Row.about(Measure.RISK, name, plan.endpoint, horizon.time, variant)
            rows += _true(planned, truth, plan, blank)
            comparator = found[replace(plan, missing=MissingReadOut.FAILURE)]
            for own in handlings:
                asked = replace(plan, missing=own)
                here = replace(blank, missing=own.value, analysis=plan.in_words)
                rows += _arms(planned, shares[index][asked], here)
                rows += _found(truth, asked, found[asked], comparator, here)
    data = {**result.figure_data, "missing": tuple(rows)}
    return replace(result, rows=(*result.rows, *rows), figure_data=data)


def _asking(job: Job, handlings: Sequence[MissingReadOut]) -> Job:
    plans = (replace(plan, missing=own) for plan in job.plans for own in handlings)
    return replace(job, plans=tuple(plans))


def risks_without_loss(truth: Truth, day: float) -> tuple[float, float]:
    """Return P(alive and in response) on a day in each arm, control first, whoever is seen."""
    assert truth.courses is not None  # of an endpoint of kind response
    control, treated = (
        replace(own, loss=0.0).probability_of_response(day)
        for own in (truth.courses.control, truth.courses.treated)
    )
    return control, treated


def _true(planned: PlannedFollowUp, truth: Truth, plan: AnalysisPlan, blank: Row) -> Iterator[Row]:
    protocol = planned.resolved.template.protocol
    arms = (protocol.control.id, protocol.experimental.id)
    for arm, risk in zip(arms, risks_without_loss(truth, plan.day), strict=True):
        yield replace(
            blank, measure=Measure.RISK_WITHOUT_LOSS, value=risk, arm=arm, unit="per patient"
        )


def _shares(
    job: Job, handlings: Sequence[MissingReadOut], n_replicates: int, seed: int
) -> list[dict[AnalysisPlan, list[ArmShares]]]:
    """Return, per truth and plan, what arms of the first replicates show, block by block."""
    streams = Streams(seed, job.unit)
    found: list[dict[AnalysisPlan, list[ArmShares]]] = [{} for _ in job.truths]
    for block in range(job.n_blocks(min(n_replicates, _SHARES_REPLICATES))):
        left = n_replicates - block * job.block_width
        imputed = min(left, IMPUTED_REPLICATES - block * job.block_width)
        _, batches = draw_patients(job, seed, block, frozenset())
        for own, batch in zip(found, batches, strict=True):
            for handling in handlings:
                costly = handling is MissingReadOut.MULTIPLE_IMPUTATION
                if (some := imputed if costly else left) <= 0:
                    continue
                for plan in job.plans:
                    asked = replace(plan, missing=handling)
                    shown = arm_shares(batch[plan.endpoint], asked, streams, block)
                    cut = ArmShares(*(share[:, :some] for share in shown))
                    own.setdefault(asked, []).append(cut)
    return found


def _arms(planned: PlannedFollowUp, blocks: Sequence[ArmShares], blank: Row) -> Iterator[Row]:
    protocol = planned.resolved.template.protocol
    arms = (protocol.control.id, protocol.experimental.id)
    for measure, columns in (
        (Measure.MISSING, [block.missing for block in blocks]),
        (Measure.RISK_ANALYSED, [block.response for block in blocks]),
    ):
        for arm, values in zip(arms, np.concatenate(columns, axis=1), strict=True):
            known = values[np.isfinite(values)]
            row = replace(blank, measure=measure, arm=arm, unit="per patient")
            if len(known) < MIN_REPLICATES:
                why = f"{len(known)} replicates; at least {MIN_REPLICATES} are needed"
                yield replace(row, n_replicates=len(known), why=why)
                continue
            error = float(known.std(ddof=1)) / sqrt(len(known))
            yield replace(row, value=float(known.mean()), mcse=error, n_replicates=len(known))


def _found(
    truth: Truth, plan: AnalysisPlan, own: LookResults, failure: LookResults, blank: Row
) -> Iterator[Row]:
    assert isinstance(plan.summary, Summary)
    theta = true_effect(risks_without_loss(truth, plan.day), plan.summary)
    n_failed = int(own.failed[:, -1].sum())
    here = replace(blank, n_failed=n_failed)
    for found in characteristics(own, theta, plan.summary):
        if found.measure in _SHOWN:
            yield found.row(here)
    same = failure.first(len(own.z))
    ok = ~(own.failed | same.failed)[:, -1]
    n = int(ok.sum())
    if n < MIN_REPLICATES:
        why = f"{n} analysable replicates; at least {MIN_REPLICATES} are needed"
        difference = Characteristic(Measure.POWER_DIFFERENCE, None, None, n, why=why)
    else:
        apart = own.rejected[ok, -1].astype(float) - same.rejected[ok, -1]
        error = float(apart.std(ddof=1)) / sqrt(n)
        difference = Characteristic(Measure.POWER_DIFFERENCE, float(apart.mean()), error, n)
    against = f"{plan.in_words}, against {MissingReadOut.FAILURE.in_words}"
    yield difference.row(replace(here, analysis=against))
