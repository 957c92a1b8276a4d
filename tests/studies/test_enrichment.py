"""Where the line is drawn at a marker: what follows from it, against closed forms and the file."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from trialsim.cli import main
from trialsim.errors import ProtocolError, RequestError
from trialsim.protocol.optimisation import Quantity, constraints_from_words, vary_from_words
from trialsim.protocol.reading.load import TemplateFile, check_file, load_template
from trialsim.studies.operations.enrichment import (
    enriched_at,
    level_share,
    read_enrichment,
    tetrachoric,
)
from trialsim.studies.operations.optimisation import optimise_request, plan_optimisation

TEMPLATE = "sepsis-enriched"


def moved(threshold, *settings):
    file = TemplateFile.of(TEMPLATE, settings)
    tree = file.tree()
    resolved = file.resolved(tree)
    enriched = read_enrichment(resolved)
    return enriched, file.resolved(enriched_at(tree, resolved, enriched, threshold))


def planned_for(*vary):
    file = TemplateFile.of(TEMPLATE)
    request = optimise_request(
        file.resolved(file.tree()),
        vary=vary_from_words(vary),
        constraints=constraints_from_words(["power >= 0.8 under predictive"]),
    )
    return plan_optimisation(file, request)


@pytest.mark.parametrize("rho", [-0.9, -0.4, 0.0, 0.6])
@pytest.mark.parametrize("z", [-2.0, -0.3, 1.1])
def test_reference_the_share_of_a_level_is_that_of_the_bivariate_normal(rho, z):
    of_all = 0.4
    cut = norm.ppf(of_all)  # in the level where minus the latent variable is below it
    joint = multivariate_normal([0, 0], [[1, -rho], [-rho, 1]]).cdf([z, cut])
    share = level_share(z, of_all, rho)
    assert share == pytest.approx(joint / norm.cdf(z), abs=2e-6)
    assert tetrachoric(z, of_all, share) == pytest.approx(rho, abs=1e-6)


def test_analytic_a_level_that_lies_wholly_on_one_side_has_the_strongest_correlation():
    """10% of everybody, all of them among the 18.354% eligible, but for rounding."""
    z = norm.ppf(0.18354)
    for share, side in ((0.1 / 0.18354 + 5e-5, -1), (0.0, 1)):
        assert tetrachoric(z, 0.1, share) == pytest.approx(side, abs=1e-6)


def test_analytic_everybody_is_eligible_at_a_high_threshold_as_in_the_variant():
    """The variant's figures were worked out apart, and rounded."""
    enriched, loaded = moved(140.0)
    nature = loaded.template.nature
    everybody = load_template(TEMPLATE, variant="all-comers")
    assert enriched.shares(140.0)[0] == pytest.approx(0.4, abs=1e-3)
    assert nature.factors[0].shares[0] == pytest.approx(
        everybody.template.nature.factors[0].shares[0], abs=1e-3
    )
    assert nature.control_risk.value == pytest.approx(0.241, abs=1e-3)
    (scenario,) = loaded.scenarios(["predictive"])
    (own,) = everybody.scenarios(["predictive"])
    assert loaded.truth(scenario).treated_risk == pytest.approx(
        everybody.truth(own).treated_risk, abs=1.5e-3
    )
    passing = 1 / nature.screened_per_patient
    at_30, at_140 = norm.cdf((np.array([30, 140]) - 52.55) / 25)
    assert passing == pytest.approx(0.18 * at_140 / at_30, abs=2e-6)
    assert nature.enrolment.last_day == pytest.approx(52 * 30.4375 * 0.18 / passing, rel=1e-5)


def test_analytic_a_stricter_threshold_is_what_simulated_patients_say():
    """Patients drawn one by one: marker, latent immune status, death."""
    enriched, loaded = moved(20.0)
    generator = np.random.default_rng(7)
    n = 400_000
    marker = generator.standard_normal(n)
    latent = enriched.correlation * marker
    latent += sqrt(1 - enriched.correlation**2) * generator.standard_normal(n)
    suppressed = latent > -norm.ppf(0.4)
    eligible = 52.55 + 25 * marker <= 20
    share = suppressed[eligible].mean()
    error = sqrt(share * (1 - share) / eligible.sum())
    nature = loaded.template.nature
    assert abs(nature.factors[0].shares[0] - share) < 4 * error
    risks = np.where(suppressed, enriched.risks[0], enriched.risks[1])
    assert abs(nature.control_risk.value - risks[eligible].mean()) < 4 * error
    at_30 = (52.55 + 25 * marker <= 30).mean()
    times = eligible.mean() / at_30
    screened = nature.screened_per_patient
    assert abs(0.18 * times * screened - 1) < 4 * sqrt((1 - times) / (n * eligible.mean()))
    odds = [risk / (1 - risk) for risk in enriched.risks]
    assert odds[0] / odds[1] == pytest.approx(2)


def test_property_effects_in_the_levels_stay_and_words_follow():
    _, loaded = moved(45.0)
    protocol = loaded.template.protocol
    assert "at most 45%" in protocol.population.condition
    before = load_template(TEMPLATE)
    for name in ("predictive", "prognostic-only"):
        (own,), (was,) = loaded.scenarios([name]), before.scenarios([name])
        if name == "prognostic-only":  # stated for all: stays as stated
            assert own.effect == was.effect
            continue
        modified = loaded.truth(own).modified_in("mortality-28d")
        earlier = before.truth(was).modified_in("mortality-28d")
        assert modified.treated == pytest.approx(earlier.treated, abs=2e-5)
        assert modified.control == pytest.approx(earlier.control, abs=2e-5)
    assert loaded.template.nature.outcomes["mhla-dr"].baseline.at_most == 45


def test_property_the_chosen_threshold_is_written_and_simulated(tmp_path):
    planned = planned_for("variant=as it stands", "threshold=10:70:15", "looks=1", "sites=22,44")
    tried = {judged.design.threshold for judged in planned.designs}
    assert tried == {10, 25, 40, 55, 70}
    sizes = {
        t: planned.benches["", None, t].smallest(0, planned.looks[0], planned.ratios[0], 0.8)
        for t in sorted(tried)
    }
    assert list(sizes.values()) == sorted(sizes.values())  # the more unlike, the more patients
    chosen = planned.chosen.design
    path = tmp_path / "chosen.yaml"
    path.write_text(planned.text("trialsim optimise"), encoding="utf-8")
    check_file(str(path))
    written = load_template(str(path)).template
    assert written.nature.outcomes["mhla-dr"].baseline.at_most == chosen.threshold
    assert written.protocol.n_total == chosen.size
    assert f"threshold {chosen.threshold:g}" in chosen.in_words()
    found = planned.simulated(planned.chosen, "chosen", 2000, 11)
    own = planned.chosen.values[Quantity.POWER][0]
    assert abs(found.power[0].value - own) < 4 * found.power[0].mcse + 0.01
    own_file = planned_for("variant=as it stands", "threshold=30", "looks=1", "size=1638")
    plain = planned_for("variant=all-comers", "looks=1", "size=1638")
    assert {judged.design.threshold for judged in plain.designs} == {None}
    assert own_file.trees["", None, 30.0] == TemplateFile.of(TEMPLATE).tree()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("nature.enrichment.marker=mhla", "which is no measurement with a baseline"),
        ("nature.enrichment.level=weak", "is no level of immune-status"),
        ("nature.enrichment.factor=status", "is no factor with levels"),
        (
            "nature.enrichment.share_of_all=0.1",
            "between 0% and 54.5% of them are immunosuppressed, not 85%",
        ),
        ("nature.enrichment=null", "does not say what they change"),
    ],
)
def test_regression_an_enrichment_that_cannot_be_is_refused(setting, words):
    with pytest.raises(ProtocolError, match=words):
        load_template(TEMPLATE, settings=[setting])


def test_regression_a_threshold_that_cannot_be_worked_out_says_so(capsys):
    with pytest.raises(RequestError, match=r"makes 0\.00205% of everybody eligible"):
        moved(-50.0)
    with pytest.raises(RequestError, match=r"50% of those screened pass, and 18\.4% of everybody"):
        moved(20.0, "nature.screening_failures=0.5")
    nearly_all = (
        "nature.enrichment.share_of_all=0.178",
        "nature.factors.immune-status.levels.immunosuppressed.share=0.968",
        "nature.factors.immune-status.levels.not-immunosuppressed.share=0.032",
    )
    with pytest.raises(RequestError, match="leaves nobody of those eligible not-immunosuppressed"):
        moved(-30.0, *nearly_all)
    with pytest.raises(RequestError, match="not immune-status alone is prognostic"):
        moved(20.0, "nature.severity_slope=1")
    assert main(["optimise", TEMPLATE, "--vary", "threshold=20:x"]) == 2
    assert "threshold" in capsys.readouterr().err
