"""A class pools exactly the trials its students replay."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import pytest

from trialsim import RequestError, load_template
from trialsim.kernels.pooling import Tables, mantel_haenszel
from trialsim.kernels.proportions import Scale
from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.reading.load import load_conduct
from trialsim.studies.conduct.bias import plan_bias
from trialsim.studies.literature.classroom import plan_class
from trialsim.studies.simulation import plan_simulation
from trialsim.trial import Measure

SMALL = load_template("sepsis", settings=["protocol.sample_size={total: 60}"])


def counts_of(counts):
    return [
        int(getattr(counts, name)[0])
        for name in ("events_treated", "n_treated", "events_control", "n_control")
    ]


@pytest.mark.parametrize(
    ("profile", "only", "strength"),
    [
        ("poor", None, None),
        ("every-flaw", Mechanism.UNDECLARED_LOOKS, 1.0),
        ("poor", Mechanism.EXCLUSION, 0.5),
        ("poor", Mechanism.FORESEEN_ALLOCATION, 1.0),
    ],
)
def test_reference_a_class_has_the_trials_of_its_students_replays(profile, only, strength):
    conduct = load_conduct(profile)
    if profile == "every-flaw":  # of which some cannot act on deaths
        conduct = conduct.only({only})
    conduct = conduct.at(only, strength) if only else conduct
    planned = plan_class(SMALL, 40, conduct=conduct, only=only, scenarios=["or-082"])
    found = planned.trials(7)
    replays = plan_bias(SMALL, conduct, ["or-082"])
    some = False
    for i in range(40):
        trial = replays.replay("or-082", 7, i + 1, only=only)
        assert trial.counts_are_reported
        assert found.planned.counts[i].tolist() == counts_of(trial.counts_planned)
        assert found.reported.counts[i].tolist() == counts_of(trial.counts_reported)
        for own, other in (
            (found.planned.results, trial.planned),
            (found.reported.results, trial.reported),
        ):
            assert own.p_value[i].tobytes() == other.p_value[0].tobytes()
            assert own.estimate[i].tobytes() == other.estimate[0].tobytes()
            assert own.rejected[i, -1] == other.rejected[0, -1]
        if trial.published is not None:
            assert found.published[i] == trial.published
        some |= found.planned.counts[i].tolist() != found.reported.counts[i].tolist()
    assert some


def test_reference_a_class_without_flaws_has_the_trials_of_a_plain_replay():
    planned = plan_class(SMALL, 300, scenarios=["no-effect"])
    found = planned.trials(3)
    plan = plan_simulation(SMALL)
    for i in (0, 1, 17, 255, 256, 299):  # more than one block
        patients = plan.replay("no-effect", 3, i + 1).patients
        treated = patients["arm"] == SMALL.template.protocol.experimental.id
        event = patients["event"].astype(bool)
        assert found.planned.counts[i].tolist() == [
            int((treated & event).sum()),
            int(treated.sum()),
            int((~treated & event).sum()),
            int((~treated).sum()),
        ]
    longer = plan_class(SMALL, 301, scenarios=["no-effect"]).trials(3)
    assert np.array_equal(longer.planned.counts[:300], found.planned.counts)


def test_analytic_as_planned_a_class_finds_the_truth_and_the_drawer_does_not():
    planned = plan_class(SMALL, 1_000, conduct=load_conduct("poor"), scenarios=["no-effect"])
    trials = planned.trials(11)
    a, b, c, d = Tables(*trials.planned.counts.T[:, None, :].astype(float)).cells()
    n = a + b + c + d
    score = ((a * d - b * c) / n)[0]
    assert abs(score.mean()) < 4 * score.std() / sqrt(len(score))
    favour, against = trials.hands(trials.planned)
    share = (favour | against).mean()
    assert share < 0.05 + 4 * sqrt(0.05 * 0.95 / 1_000)
    whole = trials.pooled(trials.reported).common.estimate[0]
    drawer = trials.pooled(trials.reported, trials.published).common.estimate[0]
    assert drawer < whole < -4 * 0.03  # its standard error is below 0.03
    assert trials.hands(trials.reported)[0].sum() > favour.sum()


def test_reference_rows_are_the_students_and_their_pool():
    """The students' tables, pooled apart from the class."""
    planned = plan_class(SMALL, 12, conduct=load_conduct("poor"), scenarios=["or-082"])
    trials = planned.trials(2)
    rows = planned.result(trials).rows
    own = [row for row in rows if row.conduct == "poor"]
    events = [
        [r.value for r in own if (r.measure, r.arm) == (m, arm)]
        for arm in ("treated", "control")
        for m in (Measure.N_EVENTS, Measure.N_PATIENTS)
    ]
    pooled = mantel_haenszel(Tables(*np.array(events, dtype=float)[:, None, :]), Scale.ODDS_RATIO)
    (row,) = [r for r in own if r.analysis == "Mantel-Haenszel" and r.stratum is None]
    assert log(row.value) == pytest.approx(pooled.estimate[0], abs=1e-12)
    assert row.lower == pytest.approx(exp(pooled.lower[0]), rel=1e-12)
    assert sum(r.value for r in own if r.measure is Measure.HANDS and r.analysis) == next(
        r.value for r in own if r.measure is Measure.HANDS and not r.analysis
    )


@pytest.mark.parametrize("n", [-1, 0, 1, 10_000])
def test_regression_a_class_of_no_size_is_refused(n):
    with pytest.raises(RequestError, match="must be from 2 to 1,000 students"):
        plan_class(SMALL, n)


def test_regression_what_cannot_be_pooled_is_refused_or_left_out():
    with pytest.raises(RequestError, match="binary primary endpoint"):
        plan_class(load_template("chronic-hepatitis-b"), 40)
    with pytest.raises(RequestError, match="a class has one truth"):
        plan_class(SMALL, 40, scenarios=["no-effect", "or-082"])
    with pytest.raises(RequestError, match="is no flaw of conduct 'poor'"):
        plan_class(SMALL, 40, conduct=load_conduct("poor"), only=Mechanism.EXTENSION)
    with pytest.raises(RequestError, match="has no flaw of exclusion"):
        plan_class(SMALL, 40, conduct=load_conduct("rigorous"), only=Mechanism.EXCLUSION)
    tiny = load_template("sepsis", settings=["protocol.sample_size={total: 3}"])
    planned = plan_class(tiny, 40)
    trials = planned.trials(1)
    assert (trials.planned.counts[:, [1, 3]] == 0).any()  # an arm with nobody
    assert planned.result(trials).rows
