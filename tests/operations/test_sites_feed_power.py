"""Where a template states sites and no enrolment, power simulation enrols as they do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conftest import ROOT
from trialsim import load_template
from trialsim.engine.blocks import simulate_block
from trialsim.engine.replay import replay
from trialsim.operations.enrolment import draw_conduct, entry_days
from trialsim.protocol.reading.nodes import plain, read_file
from trialsim.protocol.truths.site_enrolment import (
    LEFT_OUT,
    enrolment_of,
    merged,
    planned_sites,
    site_enrolment_of,
)
from trialsim.streams import Streams
from trialsim.studies.simulation import plan_simulation

FILE = ROOT / "tests" / "protocols" / "valid" / "sites-enrol.yaml"


def resolved(tmp_path=None, **nature):
    if not nature:
        return load_template(str(FILE))
    import yaml

    content = plain(read_file(FILE))
    content["nature"].update(nature)
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_template(str(path))


def test_property_patients_of_a_run_enter_on_the_days_their_sites_enrol_them():
    plan = plan_simulation(resolved())
    (job,) = plan.jobs
    truth = job.truths[1]
    trial = replay(job, truth, 5, 7)
    drawn = draw_conduct(truth.sites, 200, Streams(5), 0, job.block_width).entry[:, 6]
    enrolled = len(trial.patients["entry_day"])
    assert trial.patients["entry_day"] == pytest.approx((drawn - drawn[0])[:enrolled])
    assert plan.record(5).as_dict()["left_out"] == list(LEFT_OUT)


def test_analytic_a_calendar_look_sees_those_whom_sites_have_enrolled():
    plan = plan_simulation(resolved())
    (job,) = plan.jobs
    drawn = draw_conduct(job.truths[0].sites, 200, Streams(1), 0, job.block_width)
    by_then = (drawn.entry - drawn.entry[0] <= 18 * 30.4375).sum(axis=0)
    found = simulate_block(job, 1, 0)[0][0].enrolled[:, 0]
    assert found.tolist() == by_then.tolist()


def test_property_a_stated_enrolment_wins_and_it_is_said(tmp_path):
    both = resolved(tmp_path, enrolment={"uniform": "12 mo"})
    assert site_enrolment_of(both.template) is None
    plan = plan_simulation(both)
    assert plan.jobs[0].truths[0].sites is None
    assert "left_out" not in plan.record(1).as_dict()
    found = plan.simulate(replicates=256, seed=1)
    assert found.texts["enrolment"].startswith("Patients enter as nature.enrolment states")


def test_analytic_expected_enrolment_is_that_of_draws_to_eight_percent():
    template = load_template(str(FILE)).template
    sites = replace(site_enrolment_of(template), shape=np.inf)
    curve = enrolment_of(template)
    entry = draw_conduct(sites, 200, Streams(3), 0, 400).entry
    for share in (0.25, 0.5, 0.75):
        own = entry[int(share * 200)] - entry[0]
        assert curve.quantile(share) == pytest.approx(own.mean(), rel=0.08)
    assert curve.last_day > curve.quantile(0.99)


def test_property_sites_are_those_of_the_file_and_pauses_that_overlap_are_one():
    template = load_template(str(FILE)).template
    stated = planned_sites(template.protocol, template.nature, template.cost)
    assert stated == (12, "protocol.operations.sites.planned")
    assert merged([(10.5, 12), (10, 11), (20, 21)]) == ((10, 12), (20, 21))
    assert site_enrolment_of(template).passing == pytest.approx(0.75 * 0.95)


def test_regression_a_trial_without_an_open_site_has_days_all_the_same():
    template = load_template(str(FILE)).template
    lonely = replace(site_enrolment_of(template), n_sites=1, failing=0.9)
    entry = entry_days(lonely, (20, 64), Streams(1), 0)
    assert np.isfinite(entry).all()
    assert np.isinf(draw_conduct(lonely, 20, Streams(1), 0, 64).entry).any()
