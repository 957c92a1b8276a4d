"""What must hold of every protocol that comes with the program, whoever wrote it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom, chi2, hypergeom

from trialsim import load_template, plan_simulation
from trialsim.protocol.endpoints import BinaryEndpoint, BinaryTest, ResponseEndpoint
from trialsim.protocol.published.evidence import Pool, Trial
from trialsim.protocol.reading.catalogue import template_paths
from trialsim.protocol.reading.nodes import plain, read_file
from trialsim.protocol.rules.template import cited_ids
from trialsim.protocol.template import Template

TEMPLATES = sorted(template_paths())
REPLICATES = 2_000
# A course is fitted on the day a trial was read, which may be half a day from the template's own:
# then to a tenth of a percent, as papers print it.
EXACT, ROUNDING = 1e-9, 0.0005


@cache
def loaded(name):
    return load_template(name)


@cache
def simulated(name):
    return plan_simulation(loaded(name)).simulate(replicates=REPLICATES, seed=1)


def rows_of(name, measure):
    """Return the rows of the primary endpoint as a whole, at the end, as the protocol asks."""
    primary = loaded(name).template.protocol.primary.id
    return [
        row
        for row in simulated(name).rows
        if row.measure == measure and row.endpoint == primary
        if row.look is None and row.stratum is None and row.estimand is None
    ]


def null_scenarios(name):
    resolved = loaded(name)
    return [s.id for s in resolved.template.scenarios if resolved.truth(s).label == "no effect"]


def compares_risks(name):
    protocol = loaded(name).template.protocol
    return (
        isinstance(protocol.primary, BinaryEndpoint | ResponseEndpoint)
        and not protocol.is_single_arm
        and not protocol.looks
        and protocol.test.sides == 2
    )


def exact_size(test, risk, n_treated, n_control, alpha):
    """Return how often a test of two equal risks rejects, over every table there can be."""
    x1 = np.arange(n_treated + 1)[:, None]
    x0 = np.arange(n_control + 1)[None, :]
    total, n = x1 + x0, n_treated + n_control
    weight = binom.pmf(x1, n_treated, risk) * binom.pmf(x0, n_control, risk)
    if test is BinaryTest.CHI_SQUARE:
        pooled = total / n
        variance = pooled * (1 - pooled) * (1 / n_treated + 1 / n_control)
        with np.errstate(divide="ignore", invalid="ignore"):
            z2 = (x1 / n_treated - x0 / n_control) ** 2 / variance
        rejects = chi2.sf(np.nan_to_num(z2), 1) <= alpha
        return float((rejects * weight).sum())
    found = 0.0
    for events in range(n + 1):
        low, high = max(0, events - n_control), min(events, n_treated)
        mine = np.arange(low, high + 1)
        pmf = hypergeom.pmf(mine, n, events, n_treated)
        p = np.array([pmf[pmf <= own * (1 + 1e-7)].sum() for own in pmf])
        found += weight[mine, events - mine][p <= alpha].sum()
    return float(found)


def size_against_a_known_risk(protocol):
    """Return how often one arm rejects the risk it is held against, over all there can be."""
    value = protocol.historical_value(protocol.primary.id)
    if value is None or value.risk is None or value.n:
        return None
    risk, n, stages = value.risk.value, protocol.n_total, protocol.two_stage
    if stages is None:
        alpha = protocol.test.alpha
        return next(s for k in range(n + 2) if (s := binom.sf(k - 1, n, risk)) <= alpha)
    first = range(stages.stop_if_at_most + 1, stages.first + 1)
    later = n - stages.first
    return sum(
        binom.pmf(x, stages.first, risk) * binom.sf(stages.reject_if_above - x, later, risk)
        for x in first
    )


def moved(resolved):
    """Say whether drift or other therapy moves the primary endpoint too."""
    return resolved.template.protocol.primary.id in (resolved.template.nature.historical or {})


def test_analytic_the_size_of_simons_design_is_that_of_his_table():
    # Simon (1989), optimal for 5% v 20%, alpha 0.05, power 0.8: 0/10, 3/29; size 0.047
    protocol = loaded("solid-tumour-monotherapy").template.protocol
    assert size_against_a_known_risk(protocol) == pytest.approx(0.0468, abs=5e-5)


def test_analytic_the_exact_size_of_a_small_chi_square_test_is_what_tables_say():
    # two against two at one half: only 2-0 and 0-2 reach z2 = 4
    assert exact_size(BinaryTest.CHI_SQUARE, 0.5, 2, 2, 0.05) == pytest.approx(2 / 16)
    assert exact_size(BinaryTest.FISHER, 0.5, 2, 2, 0.05) == 0


@pytest.mark.parametrize("name", TEMPLATES)
def test_property_it_loads_and_loads_again_in_its_resolved_form(name):
    resolved = loaded(name)
    assert resolved.template.id == name
    again = Template.model_validate(resolved.document)
    whole = resolved.template.model_copy(update={"variants": (), "qc": None, "optimise": None})
    assert again == whole
    for variant in resolved.template.variants:
        assert load_template(name, variant=variant.id).template.id == name


@pytest.mark.parametrize("name", TEMPLATES)
def test_property_everything_it_cites_is_in_the_catalogue_and_the_rest_is_assumed(name):
    resolved = loaded(name)
    own = {record.id for record in resolved.template.evidence}
    known = set(resolved.evidence.known_ids) | own
    assert set(cited_ids(plain(read_file(template_paths()[name])))) <= known
    statuses = {"-", "assumed", "published", "derived", "document", "unverified"}
    assert {resolved.status_of(s) for s in resolved.template.scenarios} <= statuses


@pytest.mark.parametrize("name", TEMPLATES)
def test_property_it_has_a_scenario_without_effect_and_one_with(name):
    assert null_scenarios(name)
    assert len(null_scenarios(name)) < len(loaded(name).template.scenarios)


@pytest.mark.parametrize("name", TEMPLATES)
def test_analytic_without_effect_it_rejects_as_often_as_its_test_does(name):
    resolved = loaded(name)
    protocol = resolved.template.protocol
    power = {row.scenario: row for row in rows_of(name, "power")}
    risks = {row.scenario: row.value for row in rows_of(name, "risk") if row.arm}
    for scenario in null_scenarios(name):
        row = power[scenario]
        if protocol.is_single_arm:
            size = size_against_a_known_risk(protocol)
            if size is None or moved(resolved):  # a result, not a size
                assert row.value is not None
            else:
                assert row.value == pytest.approx(size, abs=4 * row.mcse), scenario
        elif compares_risks(name):
            risk, sizes = risks[scenario], protocol.arm_sizes
            size = exact_size(protocol.primary.analysis, risk, *sizes, protocol.test.alpha)
            assert row.value == pytest.approx(size, abs=4 * max(row.mcse, 1e-9)), scenario
        else:
            assert row.value <= protocol.test.alpha + 0.005 + 4 * row.mcse, scenario


def repeated(name):
    """Yield the scenarios that repeat a trial, with its result at the primary read-out."""
    resolved = loaded(name)
    protocol = resolved.template.protocol
    day = protocol.primary.read_out.days_after_entry(protocol.therapy)
    for scenario in resolved.template.scenarios:
        truth = resolved.truth(scenario)
        record = resolved.evidence.records.get(truth.from_data_of)
        whole = scenario.as_observed or scenario.response  # not an effect at another control risk
        if not isinstance(record, Trial) or not whole:
            continue
        for result in (record.result(r) for r in truth.from_results if r):
            at = result.at.days_after_entry(protocol.therapy) if result and result.at else None
            there = scenario.as_observed or (at is not None and abs(at - day) < 1)
            if there and result and record.risks(result.id):
                yield scenario, truth, record.risks(result.id)


@pytest.mark.parametrize("name", TEMPLATES)
def test_analytic_a_scenario_that_repeats_a_trial_has_its_risks(name):
    found = list(repeated(name))
    stated = [s.id for s in loaded(name).template.scenarios if s.as_observed]
    assert {s.id for s, _, _ in found} >= set(stated)
    for scenario, truth, (treated, control) in found:
        within = EXACT if scenario.as_observed else ROUNDING
        assert truth.treated_risk == pytest.approx(treated, abs=within)
        assert truth.control_risk == pytest.approx(control, abs=within)


@pytest.mark.parametrize("name", TEMPLATES)
def test_property_it_names_published_trials_or_says_why_there_is_none(name):
    variants = (load_template(name, variant=v.id) for v in loaded(name).template.variants)
    for resolved in (loaded(name), *variants):
        template = resolved.template
        assert bool(template.observed) != bool(template.nothing_observed), resolved.variant


def test_property_some_template_repeats_a_trial():
    assert any(list(repeated(name)) for name in TEMPLATES)


@pytest.mark.parametrize("name", TEMPLATES)
def test_analytic_simulated_trials_differ_between_arms_as_the_trial_repeated(name):
    found = list(repeated(name))
    if not found or not compares_risks(name):
        return
    primary = loaded(name).template.protocol.primary.id
    settings = [f"protocol.endpoints.{primary}.estimand.summary=risk difference", "observed=[]"]
    plan = plan_simulation(load_template(name, settings=settings), [s.id for s, _, _ in found])
    rows = plan.simulate(replicates=REPLICATES, seed=1).rows
    for scenario, _, (treated, control) in found:
        own = [r for r in rows if (r.scenario, r.endpoint) == (scenario.id, primary)]
        bias = next(r for r in own if r.measure == "bias" and r.stratum is None)
        true = next(r for r in own if r.measure == "true_effect" and r.stratum is None)
        within = EXACT if scenario.as_observed else 2 * ROUNDING
        assert true.value == pytest.approx(treated - control, abs=within)
        assert abs(bias.value) <= 4 * bias.mcse


@pytest.mark.parametrize("name", TEMPLATES)
def test_property_every_observed_trial_has_a_place_under_every_scenario_and_no_pool_has(name):
    result, resolved = simulated(name), loaded(name)
    scenarios = {s.id for s in resolved.template.scenarios}
    trials, pools = result.figure_data["observed"]
    named = [r.evidence for r in resolved.template.observed]
    records = [resolved.evidence.records[n] for n in named]
    assert len(trials) == sum(isinstance(record, Trial) for record in records)
    assert len(pools) == sum(isinstance(record, Pool) for record in records)
    for trial, placed in trials:
        assert {p.truth.scenario for p in placed} | set(trial.not_simulated) == scenarios
        assert all(trial.not_simulated.values())  # each says why
        for own in placed:
            assert own.below is not None
            assert 0 <= own.below.value <= 1
            if own.truth.from_data_of == trial.record.id:
                same = trial.result.id in own.truth.from_results or not own.truth.from_results
                assert own.relation == ("same data" if same else "shares patients")
    pooled = [row for row in result.observed if row.analysis == "pooled"]
    shares = [row for row in pooled if row.measure == "percentile"]
    assert len(shares) == len(pools)
    assert all(row.value is None and row.why for row in shares)


@pytest.mark.parametrize("name", TEMPLATES)
def test_property_safety_events_are_stated(name):
    resolved = loaded(name)
    levels = {endpoint.level for endpoint in resolved.template.protocol.endpoints}
    assert "safety" in levels
    limits = [row for row in simulated(name).rows if row.measure == "upper_if_none"]
    assert limits
    assert all(0 < row.value < 1 and row.mcse is None for row in limits)
