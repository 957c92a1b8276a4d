"""Other care, other controls and misreading of every kind: against closed forms, 4 MCSE."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt
from typing import Any

import numpy as np
import pytest

from conftest import CORPUS
from trialsim.analyse.as_recorded import unfavourable
from trialsim.conduct.records import Luck
from trialsim.engine.blocks import Job, draw_patients
from trialsim.engine.conducted import conducted
from trialsim.engine.endpoint_kinds import kind_of
from trialsim.errors import ProtocolError, RequestError
from trialsim.kernels.survival import followed
from trialsim.protocol.conduct import (
    Assessment,
    CoIntervention,
    Conduct,
    HistoricalControls,
)
from trialsim.protocol.reading.load import load_conduct, load_template
from trialsim.streams import Streams
from trialsim.studies.conduct.bias import plan_bias
from trialsim.trial import AnalysisPlan, LookResults

MEANS = ("means-primary", "protocol.endpoints.score.analysis=t-test")
LOGS = ("log-means-primary",)
ORDINAL = ("ordinal-primary",)
DAYS = ("days-alive-primary", "protocol.endpoints.{name}.analysis=proportional-odds")
COUNTS = ("counts-primary",)
COMPETING = ("competing-primary",)
TIMES = (
    "time-to-event",
    "protocol.looks=[{at: {calendar: 90 mo}}]",
    "nature.dropout=null",
    "nature.survival={median: 12 mo}",
    "nature.factors=[]",
    "protocol.allocation={method: permuted-blocks, block_sizes: [4]}",
    "protocol.endpoints.death.event=relapse",
)
MILESTONE = (*TIMES, "protocol.endpoints.death.analysis={test: milestone, at: 12 mo}")
COX = (*TIMES, "protocol.endpoints.death.analysis=cox")


def conducting(file: tuple[str, ...], conduct: Conduct) -> tuple[Job, Any, Any, LookResults]:
    """A job under no effect, its batch, what its analysis is given, and what it finds."""
    path = str(CORPUS / "valid" / f"{file[0]}.yaml")
    name = load_template(path).template.protocol.primary.id
    settings = [text.replace("{name}", name) for text in file[1:]]
    resolved = load_template(path, settings=settings)
    plan = replace(AnalysisPlan.of(resolved.template.protocol), conduct=conduct)
    truth = resolved.truth(resolved.scenarios()[0])
    assert truth.is_null
    job = Job(resolved.template.protocol, (plan,), (truth,))
    _, batches = draw_patients(job, 2, 0, frozenset())
    batch, seen = batches[0][plan.endpoint], []

    def watched(own: Any, how: AnalysisPlan) -> LookResults:
        seen.append(own)
        return kind_of(job.protocol, job.protocol.primary).analyse(own, how)

    luck = Luck(Streams(2), 0, (job.protocol.n_total, job.block_width))
    found = conducted(batch, plan, truth, luck, watched)
    return job, batch, seen[0], found


def mean_of(found: LookResults) -> tuple[float, float]:
    values = found.estimate[~found.failed[:, -1], -1]
    return values.mean(), values.std(ddof=1) / sqrt(len(values))


def care(strength: float, **size: float) -> Conduct:
    flaw = CoIntervention(strength=strength, **size)
    return Conduct(id="own", title="t", co_intervention=flaw)


def earlier(strength: float, **size: float) -> Conduct:
    flaw = HistoricalControls(strength=strength, **size)
    return Conduct(id="own", title="t", historical_controls=flaw)


def reading(strength: float = 1.0, **how: float) -> Conduct:
    return Conduct(id="own", title="t", assessment=Assessment(strength=strength, **how))


def of_events(sees: tuple[float, float], clears: tuple[float, float]) -> Conduct:
    return reading(
        sensitivity_treated=sees[0],
        sensitivity_control=sees[1],
        specificity_treated=clears[0],
        specificity_control=clears[1],
    )


@pytest.mark.parametrize(
    ("conduct", "sds"),
    [
        (care(0.4, better_sd=0.5), 0.4 * 0.5),
        (earlier(0.6, drift_sd=0.5), 0.6 * 0.5),
        (earlier(0.6, drift_sd=-0.5), -0.6 * 0.5),
        (reading(0.5, better_sd_treated=0.6, better_sd_control=0.2), 0.5 * 0.4),
    ],
)
@pytest.mark.parametrize("file", [MEANS, LOGS])
def test_analytic_a_mean_moves_by_share_times_sds(file, conduct, sds):
    job, _, _, found = conducting(file, conduct)
    sd = job.truths[0].outcome(job.plans[0].endpoint).sds[-1]
    mean, mcse = mean_of(found)
    assert abs(mean - job.plans[0].benefit * sds * sd) < 4 * mcse


def test_analytic_odds_of_a_better_category_are_multiplied_in_either_arm():
    for file in (ORDINAL, DAYS):
        for conduct, ratio in (
            (care(1, odds_ratio=1.6), 1.6),
            (earlier(1, drift=1.4), 1.4),
            (reading(odds_ratio_treated=1.5, odds_ratio_control=0.9), 1.5 / 0.9),
        ):
            if file is DAYS and conduct.assessment:
                continue
            job, batch, seen, found = conducting(file, conduct)
            mean, mcse = mean_of(found)
            expected = job.plans[0].benefit * log(ratio)
            # a maximum-likelihood log odds ratio is a few hundredths too far out at this size
            assert abs(mean - expected) < 4 * mcse + 0.03 * abs(expected)
            # exact: every cumulative share of the arm, whatever the estimator
            arm = ~batch.assigned if conduct.historical_controls else batch.assigned
            own = job.truths[0].outcome(job.plans[0].endpoint)
            up = 1.6 if conduct.co_intervention else 1 / 1.4 if conduct.historical_controls else 1.5
            up = up if job.plans[0].benefit > 0 else 1 / up
            for cut in range(len(own.control) - 1):
                below = sum(own.control[: cut + 1])
                odds = below / (1 - below) / up
                share = (seen.category[arm] <= cut).mean()
                p = odds / (1 + odds)
                assert abs(share - p) < 4 * sqrt(p * (1 - p) / arm.sum())


@pytest.mark.parametrize(
    ("conduct", "ratios"),
    [
        (care(1, averts=0.3), (0.7, 1.0)),
        (care(0.5, averts=0.4), (0.8, 1.0)),
        (earlier(1, drift=1.5), (1.0, 1.5)),
        (of_events((0.7, 0.9), (1, 1)), (0.7, 0.9)),
    ],
)
def test_analytic_rates_of_events_are_multiplied_in_either_arm(conduct, ratios):
    job, batch, seen, found = conducting(COUNTS, conduct)
    own = job.truths[0].outcome(job.plans[0].endpoint)
    for arm, ratio in ((batch.assigned, ratios[0]), (~batch.assigned, ratios[1])):
        apart = (seen.count - own.control * ratio * batch.days)[arm]
        assert abs(apart.mean()) < 4 * apart.std() / sqrt(len(apart))
    if ratios != (0.8, 1.0):  # a mixture of rates is no negative binomial distribution
        mean, mcse = mean_of(found)
        assert abs(mean - log(ratios[0] / ratios[1])) < 4 * mcse + 0.01  # of a maximum likelihood


@pytest.mark.parametrize(
    ("conduct", "ratio"), [(care(1, averts=0.4), 0.6), (earlier(1, drift=1.5), 1 / 1.5)]
)
def test_analytic_hazards_are_multiplied_in_either_arm(conduct, ratio):
    job, batch, seen, found = conducting(COX, conduct)
    mean, mcse = mean_of(found)
    assert abs(mean - log(ratio)) < 4 * mcse + 0.01  # of a maximum likelihood
    before, after = (np.where(e, t, np.inf) for t, e in (followed(batch), followed(seen)))
    touched = batch.treated if conduct.co_intervention else ~batch.treated
    own = np.isfinite(before) & np.isfinite(after)
    assert np.array_equal(before[~touched], after[~touched])
    factor = 1 / 0.6 if conduct.co_intervention else 1 / 1.5
    # of a constant hazard a patient's own time is divided by the ratio
    np.testing.assert_allclose(after[touched & own], factor * before[touched & own], rtol=1e-8)
    assert job.plans[0].benefit == -1


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_analytic_events_read_by_a_day_follow_rogan_and_gladen(better):
    conduct = of_events((0.7, 0.95), (0.96, 0.9))
    file = (*MILESTONE, f"protocol.endpoints.death.better={better}")
    _, batch, seen, found = conducting(file, conduct)
    p = 0.5  # by the median
    sees, clears = ((0.7, 0.95), (0.96, 0.9))
    if better == "higher":  # then the absence of the event is what is read
        sees, clears = clears, sees
    risks = [p * s + (1 - p) * (1 - c) for s, c in zip(sees, clears, strict=True)]
    mean, mcse = mean_of(found)
    assert abs(mean - (risks[1] - risks[0])) < 4 * mcse
    time, event = followed(seen)
    day = 365.25
    for arm, risk in zip((batch.treated, ~batch.treated), risks, strict=True):
        share = (event & (time <= day))[arm].mean()
        assert abs(share - risk) < 4 * sqrt(risk * (1 - risk) / arm.sum())
    false = event & (time <= day) & (followed(batch)[0] > day)
    half = (time[false] <= day / 2).mean()
    assert abs(half - 0.5) < 4 * 0.5 / sqrt(false.sum())  # evenly, as the hazard is constant


def test_analytic_of_competing_events_the_event_is_averted_and_read():
    conduct = care(1, averts=0.5)
    job, batch, seen, _ = conducting(COMPETING, conduct)
    truth, arm = job.truths[0].outcome(job.plans[0].endpoint), batch.assigned
    own = truth.event[0]
    halved = (own[0], tuple(rate / 2 for rate in own[1]))
    lighter = replace(truth, event=(truth.event[0], halved), loss=0.0)
    without = replace(truth, loss=0.0)
    if not truth.loss:
        for target, risk in ((arm, lighter.arms[1]), (~arm, without.arms[0])):
            share = (seen.cause[target] == 1).mean()
            assert abs(share - risk) < 4 * sqrt(risk * (1 - risk) / target.sum())
    assert (seen.time[arm] >= batch.time[arm]).all()  # nothing comes sooner for it
    _, batch, seen, _ = conducting(COMPETING, of_events((0.7, 1), (0.9, 1)))
    events, none = batch.cause == 1, batch.cause == 0
    read = (seen.cause == 1)[arm & events].mean()
    assert abs(read - 0.7) < 4 * sqrt(0.21 / (arm & events).sum())
    false = (seen.cause == 1)[arm & none].mean()
    assert abs(false - 0.1) < 4 * sqrt(0.09 / (arm & none).sum())
    assert np.array_equal(seen.cause[~arm], batch.cause[~arm])
    assert np.array_equal(seen.time[~arm], batch.time[~arm])
    assert (seen.cause == 2)[batch.cause == 2].all()


def test_property_later_flaws_see_the_outcome_that_is_written_down():
    # All deaths of the treated averted: exclusion then finds nobody to leave out.
    both = Conduct(
        id="own",
        title="t",
        co_intervention=CoIntervention(strength=1, averts=1 - 1e-12),
        exclusion={"strength": 1},
    )
    _, batch, seen, _ = conducting(COX, both)
    job = conducting(COX, both)[0]
    assert unfavourable(batch, job.plans[0])[batch.treated].any()
    assert seen.included is None
    assert followed(seen)[0][batch.treated].min() > 1e5  # long after the trial
    assert followed(batch)[1][batch.treated].any()  # what happened stays


SIZES = [
    (MEANS, care(0.5, averts=0.3), "State better_sd instead"),
    (MEANS, earlier(0.5, drift=1.3), "State drift_sd instead"),
    (MEANS, of_events((0.7, 1), (1, 1)), "State better_sd_treated and better_sd_control"),
    (ORDINAL, care(0.5, better_sd=0.3), "State odds_ratio instead"),
    (ORDINAL, earlier(0.5, drift_sd=0.3), "State drift instead"),
    (COUNTS, care(0.5, odds_ratio=1.3), "State averts instead"),
    (COUNTS, of_events((0.7, 1), (0.9, 1)), "specificity_control as 1"),
    (COMPETING, care(0.5, better_sd=0.3), "State averts instead"),
    (COMPETING, care(0.5, averts=1), "State averts below 1"),
    (("time-to-event",), earlier(0.5, drift_sd=0.3), "State drift instead"),
]


@pytest.mark.parametrize(("file", "conduct", "words"), SIZES)
def test_property_a_size_of_another_kind_is_refused_with_the_key_that_fits(file, conduct, words):
    resolved = load_template(str(CORPUS / "valid" / f"{file[0]}.yaml"), settings=file[1:])
    with pytest.raises(RequestError) as refused:
        plan_bias(resolved, conduct)
    assert words in str(refused.value)


def test_property_all_cause_death_is_misread_in_no_kind():
    settings = ("protocol.endpoints.death.event=death from any cause",)
    resolved = load_template(str(CORPUS / "valid" / "time-to-event.yaml"), settings=settings)
    with pytest.raises(RequestError, match="cannot be misread"):
        plan_bias(resolved, of_events((0.7, 1), (1, 1)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("co_intervention: {strength: 1}", "exactly one of averts, better_sd, odds_ratio"),
        ("co_intervention: {strength: 1, averts: 0.2, better_sd: 0.1}", "exactly one of averts"),
        ("co_intervention: {strength: 1, better_sd: -0.1}", "at least 0"),
        ("historical_controls: {strength: 1, drift: 1, drift_sd: 0}", "exactly one of drift"),
        ("assessment: {strength: 1, better_sd_treated: 0.2}", "one way of reading, whole"),
        ("assessment: {strength: 1, sensitivity_treated: 0.9}", "one way of reading, whole"),
    ],
)
def test_property_a_size_is_stated_once_and_whole(tmp_path, text, words):
    path = tmp_path / "own.yaml"
    path.write_text(f"schema_version: 1\nid: own\ntitle: t\n{text}\n")
    with pytest.raises(ProtocolError) as refused:
        load_conduct(str(path))
    assert words in str(refused.value)
