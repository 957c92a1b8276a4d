"""`trialsim evidence adjust`: by hand, the rule for overlapping flaws, and bad input."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest
from scipy import integrate, stats

from trialsim.cli import main
from trialsim.protocol.published.evidence import Flaw
from trialsim.protocol.published.trials import recorded_trials
from trialsim.protocol.reading.load import load_template
from trialsim.studies.conflict.adjustment import next_trial, plan_adjustment

Z95 = 1.959963984540054
STRATA = ("gu-2025-lower-quality", "gu-2025-higher-quality")


@pytest.fixture(scope="module")
def sepsis():
    return load_template("sepsis")


def planned(resolved, records=(), flaws=()):
    return plan_adjustment(resolved, recorded_trials(resolved, records), flaws)


def test_analytic_without_flaws_the_adjusted_effect_is_the_naive_one(sepsis):
    found = planned(sepsis, STRATA)
    assert found.used == ()
    for tau2 in (0.0, None):
        naive, adjusted = found.pool((), tau2=tau2), found.pool(found.used, tau2=tau2)
        assert abs(naive.estimate - adjusted.estimate) <= 1e-12
        assert abs(naive.standard_error - adjusted.standard_error) <= 1e-12
    assert exp(found.pool((), tau2=0.0).estimate) == pytest.approx(0.7322, abs=1e-4)


def test_analytic_etass_and_tests_less_the_bias_of_not_double_blind(sepsis):
    found = planned(sepsis)
    assert [study.flaws for study in found.studies] == [(Flaw.DOUBLE_BLINDING,), ()]
    y = [log(47 * 117 / (63 * 134)), log(127 * 415 / (132 * 415))]
    v = [1 / 47 + 1 / 134 + 1 / 63 + 1 / 117, 1 / 127 + 1 / 415 + 1 / 132 + 1 / 415]
    y[0] -= log(0.92)
    v[0] += (log(1.04 / 0.80) / (2 * Z95)) ** 2
    w = [1 / each for each in v]
    adjusted = found.pool(found.used, tau2=0.0)
    expected = sum(a * b for a, b in zip(w, y, strict=True)) / sum(w)
    assert adjusted.estimate == pytest.approx(expected, abs=1e-12)
    assert adjusted.standard_error == pytest.approx(1 / sqrt(sum(w)), abs=1e-12)
    assert adjusted.weights == pytest.approx([each / sum(w) for each in w], abs=1e-12)
    assert found.used[0].assumed == "kappa and phi"


def test_analytic_the_next_trial_of_sepsis_is_that_of_adaptive_quadrature(sepsis):
    """Its chance below 1 and the ends of its interval; tau by scipy's quad, the mean by hand."""
    found = planned(sepsis)
    y = np.array([study.estimate for study in found.studies])
    v = np.array([study.variance for study in found.studies])
    bias, error = log(0.92), log(1.04 / 0.80) / (2 * Z95)
    for priors, taken, added in (((), 0.0, 0.0), (found.used, bias, error**2)):
        own, wide = y - np.array([taken, 0]), v + np.array([added, 0])

        def joint(tau, own=own, wide=wide):
            w = 1 / (wide + tau**2)
            mean = w @ own / w.sum()
            flat = np.prod(stats.norm.pdf(own, mean, w**-0.5)) * w.sum() ** -0.5
            return flat * stats.halfnorm.pdf(tau, scale=0.5), mean, sqrt(1 / w.sum() + tau**2)

        total = integrate.quad(lambda t: joint(t)[0], 0, 4, epsabs=1e-12)[0]

        def below(x, joint=joint, total=total):
            def part(tau):
                density, mean, sd = joint(tau)
                return density * stats.norm.cdf(x, mean, sd)

            return integrate.quad(part, 0, 4, epsabs=1e-12)[0] / total

        belief = found.next_effect(priors)
        for p in (0.025, 0.5, 0.975):
            assert below(belief.inv_cdf(p)) == pytest.approx(p, abs=1e-6)
        assert belief.cdf(0.0) == pytest.approx(below(0.0), abs=1e-6)


def test_analytic_assurance_averages_power_over_what_is_not_known_of_the_spread(sepsis):
    """Of 10,358 patients, by the normal formula over draws of the next effect."""
    belief = next_trial(sepsis).adjusted
    random = np.random.default_rng(3)
    node = random.choice(len(belief.weights), 40_000, p=belief.weights)
    effect = random.normal(belief.means[node], belief.errors[node])
    p0 = 0.241
    p1 = 1 / (1 + (1 - p0) / p0 * np.exp(-effect))
    z = np.abs(p1 - p0) / np.sqrt((p1 * (1 - p1) + p0 * (1 - p0)) / 5_179)
    power = np.where(effect < 0, stats.norm.cdf(z - Z95), stats.norm.cdf(-z - Z95))
    assert power.mean() == pytest.approx(0.575, abs=0.01)


def test_analytic_conduct_adds_up_and_the_larger_of_conduct_and_setting_counts(sepsis):
    one = [f"{STRATA[0]}=sequence generation", f"{STRATA[0]}=allocation-concealment"]
    conduct = planned(sepsis, STRATA, one)
    own = conduct.pool(conduct.used, tau2=0.0, only=0)
    assert own.estimate == pytest.approx(log(0.41) - log(0.86) - log(1.03), abs=1e-12)
    errors = [(log(1.06 / 0.69), 0.08, 0.06), (log(1.31 / 0.82), 0.07, 0.07)]
    added = sum((e / (2 * Z95)) ** 2 + kappa**2 + phi**2 for e, kappa, phi in errors)
    naive = conduct.studies[0].variance
    assert own.standard_error**2 == pytest.approx(naive + added, abs=1e-12)
    both = planned(sepsis, STRATA, [*one, f"{STRATA[0]}=single centre"])
    assert both.studies[0].flaws == (Flaw.SINGLE_CENTRE,)
    assert set(both.studies[0].left_out) == {
        Flaw.SEQUENCE_GENERATION,
        Flaw.ALLOCATION_CONCEALMENT,
    }
    own = both.pool(both.used, tau2=0.0, only=0)
    assert exp(own.estimate) == pytest.approx(0.41 / 0.64, abs=1e-12)


def test_property_a_tornado_holds_every_assumption_and_its_ends(sepsis):
    found = planned(sepsis, STRATA, [f"{STRATA[0]}=sequence generation"])
    names = [name for name, _, _ in found.tornado()]
    flaw = "sequence generation"
    assert names[:3] == [f"mean bias, {flaw}", f"kappa, {flaw}", f"without, and with, {flaw}"]
    mean, kappa, off, *_ = ((a, b) for _, a, b in found.tornado())
    assert off[0].estimate == found.pool((), tau2=0.0).estimate
    assert off[1].estimate == found.pool(found.used, tau2=0.0).estimate
    assert mean[0].estimate > mean[1].estimate  # more exaggeration taken off, a weaker effect
    ends = [
        found.pool([replace(p, kappa=factor * p.kappa) for p in found.used], tau2=0.0)
        for factor in (0, 2)
    ]
    assert [end.standard_error for end in kappa] == [end.standard_error for end in ends]
    assert kappa[0].standard_error < found.pool(found.used, tau2=0.0).standard_error


def test_analytic_another_published_source_of_a_flaw_is_a_bar(sepsis):
    """MetaBLIND 0.99 for BRANDO's 0.92, by hand; in sepsis Dechartres 2011 for Unverzagt."""
    found = planned(sepsis)
    bars = {name: (a, b) for name, a, b in found.tornado()}
    name = "double blinding by metablind-2020 (0.99), and by brando-2012 (0.92)"
    y = np.array([study.estimate for study in found.studies])
    v = np.array([study.variance for study in found.studies])
    y[0] -= log(0.99)
    v[0] += (log(1.09 / 0.86) / (2 * Z95)) ** 2 + 0.06**2 + 0.07**2  # kappa and phi published
    assert bars[name][0].estimate == pytest.approx((y / v).sum() / (1 / v).sum(), abs=1e-12)
    assert bars[name][1].estimate == found.pool(found.used, tau2=0.0).estimate
    centres = planned(sepsis, STRATA, [f"{STRATA[0]}=single centre"])
    names = [name for name, _, _ in centres.tornado()]
    assert "single centre by dechartres-2011 (0.73), and by unverzagt-2013 (0.64)" in names
    other = [n for n in names if n.startswith("single centre by")]
    assert len(other) == 1  # not by itself


def test_analytic_a_tau2_that_is_not_used_is_said_and_is_a_bar(sepsis, capsys):
    flaws = [f"{name}=exclusions after randomisation" for name in ("etass-2013", "tests-2025")]
    found = planned(sepsis, (), flaws)
    bars = {name: (a, b) for name, a, b in found.tornado()}
    phi, kappa = (
        bars[f"exclusions after randomisation with tau2 0.13 as {letter} squared, and without"]
        for letter in ("phi", "kappa")
    )
    taken = found.pool(found.used, tau2=0.0)
    # a bias that all share leaves the weights; one of each trial's own makes them more equal
    assert phi[0].estimate == pytest.approx(taken.estimate, abs=1e-12)
    assert phi[0].standard_error ** 2 == pytest.approx(taken.standard_error**2 + 0.13, abs=1e-12)
    v = np.array([s.variance for s in found.studies]) + 0.13
    v[0] += (log(1.04 / 0.80) / (2 * Z95)) ** 2
    assert kappa[0].weights == pytest.approx((1 / v) / (1 / v).sum(), abs=1e-12)
    assert phi[1].estimate == kappa[1].estimate == taken.estimate
    code, out, _ = run(capsys, "sepsis", "--flaw", flaws[0])
    assert code == 0
    assert "abraha-2015 publishes a tau2 of 0.13" in " ".join(out.split())


def test_property_flaws_flatter_a_response_upwards():
    resolved = load_template("chronic-hepatitis-b")
    records = ["chien-1998:complete-response-18mo", "mutchnick-1999:complete-response-12mo"]
    trials = recorded_trials(resolved, records)
    found = plan_adjustment(resolved, trials, ["chien-1998=single centre"], "objective")
    naive = found.pool((), tau2=0.0, only=0)
    adjusted = found.pool(found.used, tau2=0.0, only=0)
    assert 0 < adjusted.estimate < naive.estimate


@pytest.fixture(autouse=True)
def _runs_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *words):
    code = main(["evidence", "adjust", *words])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_property_the_command_says_what_it_took_and_what_it_does_not_know(capsys):
    code, out, err = run(capsys, "sepsis")
    assert code == 0
    assert {line.split()[0] for line in err.splitlines()[:-1]} == {"wrote"}
    assert max(len(line) for line in out.splitlines()) <= 80
    said = " ".join(out.split())
    assert "0.71 (0.44 to 1.13)" in said  # ETASS; 0.65 as published
    assert "Not published and taken as 0 (assumed): kappa and phi of double blinding" in said
    assert "Not known, and taken as sound" in said
    assert "unverified" in said
    assert "of 2 studies. The next trial's effect" in said
    assert "a half-normal prior of scale 0.5 (Friede et al. 2017: 0.5 or 1.0; of the two" in said
    # brute force, over tau and the mean effect (test_analytic_the_next_trial_of_sepsis...)
    assert "true effect of the next trial 0.83 (0.26 to 2.50) 0.87 (0.28 to 2.45)" in said
    rows = json.loads(run(capsys, "sepsis", "--json")[1])["rows"]
    pooled = {(r["which"], r["analysis"]): r["value"] for r in rows if r["measure"] == "pooled"}
    assert pooled["naive", "equal effects"] == pytest.approx(0.864, abs=5e-4)
    assert pooled["adjusted", "equal effects"] == pytest.approx(0.888, abs=5e-4)
    ahead = {r["which"]: r for r in rows if r["measure"] == "next trial"}
    assert all(r.get("study") or r.get("analysis") or r["measure"] == "assumption" for r in rows)
    assert ahead["adjusted"]["log_error"] > 0.4  # not 0.17, tau2 0.008 of two trials as known


def test_property_a_table_of_ones_own_says_its_flaws(capsys, tmp_path):
    path = tmp_path / "trials.csv"
    path.write_text(
        "study,events_treated,n_treated,events_control,n_control,centres,rob_sequence\n"
        "one,5,30,10,30,1,high\ntwo,40,200,50,200,8,low\n"
    )
    code, out, _ = run(capsys, "sepsis", "--literature", str(path))
    assert code == 0
    assert "one: sequence generation not counted on top" in " ".join(out.split())


def test_property_unclear_is_a_flaw_and_a_study_without_events_is_said(capsys, tmp_path):
    path = tmp_path / "trials.csv"
    path.write_text(
        "study,events_treated,n_treated,events_control,n_control,rob_concealment\n"
        "one,5,30,10,30,unclear\ntwo,40,200,50,200,low\nthree,0,20,0,20,high\n"
    )
    code, out, _ = run(capsys, "sepsis", "--literature", str(path))
    assert code == 0
    said = " ".join(out.split())
    assert re.search(r"one 0\.40 \(0\.12 to 1\.36\) 0\.39 .* allocation concealment", said)
    assert "Left out, since nobody or everybody had the event: three." in said
    path.write_text(path.read_text().replace("one,5,30,10,", "one,0,30,0,"))
    said = " ".join(run(capsys, "sepsis", "--literature", str(path))[1].split())
    assert "of one study, which says nothing of it" in said


def test_analytic_a_size_for_the_adjusted_effect_stands_beside_the_naive_one(capsys, tmp_path):
    words = ["size", "sepsis", "--effect", "adjusted", "--replicates", "500"]
    assert main(words) == 2
    assert "brando-2012, double-blinding-mortality-univariable" in capsys.readouterr().err
    assert main(["size", "chronic-hepatitis-b", "--effect", "adjusted"]) == 2
    assert "needs an endpoint called death from any cause" in capsys.readouterr().err
    assert main([*words, "--accept-claim", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    said = next_trial(load_template("sepsis"))
    naive = ["size", "sepsis", "--effect", f"OR {exp(said.published)!r}"]
    assert main([*naive, "--replicates", "500", "--json"]) == 0
    beside = json.loads(capsys.readouterr().out)
    totals = [
        next(r["value"] for r in each["rows"] if r["measure"] == "n_total")
        for each in (found, beside)
    ]
    assert f"{totals[0]:,.0f} patients. As published" in found["texts"]["naive"]
    assert f"{totals[1]:,.0f} patients." in found["texts"]["naive"]
    assert "effect, etass-2013" in found["texts"]["paragraph"]
    assert "assumed, no source" not in " ".join(found["texts"].values())
    assert main([*words, "--accept-claim", "--total", "600", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["texts"]["naive"]
    assert re.search(r"a power of 9\.9%\. As .* 0\.83, a power of 1\d\.\d%\.", told)
    other = ["size", "sepsis", "--effect", "OR 0.7", "--prior", "adjusted", "--accept-claim"]
    assert main([*other, "--replicates", "500", "--json"]) == 0
    assert "naive" not in json.loads(capsys.readouterr().out)["texts"]  # it plans for another
    [assurance] = [r["value"] for r in found["rows"] if r["measure"] == "assurance"]
    assert assurance == pytest.approx(
        0.575, abs=0.005
    )  # less than the power planned for: the effect is uncertain


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs a template"),
        (["sepsis", "--flaw", "etas=single centre"], "names no study that is pooled"),
        (["sepsis", "--flaw", "etass-2013=haste"], "must be STUDY=FLAW"),
        (["sepsis", "--record", "etass-2013", "--record", "gu-2025"], "etass-2013"),
        (["sepsis", "--outcomes", "subjective"], "does not fit"),
        (
            [
                *("chronic-hepatitis-b", "--record", "chien-1998:complete-response-18mo"),
                *("--record", "mutchnick-1999:complete-response-12mo"),
            ],
            "--outcomes is needed",
        ),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_property_bad_input_is_a_message(capsys, words, said):
    code, _, err = run(capsys, *words)
    assert code == 2
    assert said in err, err


def test_property_the_run_holds_figures_in_words_and_a_report_binds_them(trialsim, tmp_path):
    words = [f"gu-2025-lower-quality={flaw}" for flaw in ("sequence generation", "single centre")]
    flaws = [part for word in words for part in ("--flaw", word)]
    records = [part for name in STRATA for part in ("--record", name)]
    trialsim("evidence", "adjust", "sepsis", *records, *flaws, cwd=tmp_path)
    (folder,) = (tmp_path / "trialsim-runs").iterdir()
    drawn = {path.stem: path.read_text(encoding="utf-8") for path in folder.rglob("*.svg")}
    assert set(drawn) == {"adjusted", "tornado"}
    document = json.loads((folder / "results" / "evidence-adjust.json").read_text())
    for row in document["rows"]:
        if row["measure"] == "pooled":
            assert f"{row['value']:.2f} ({row['lower']:.2f} to" in drawn["adjusted"]
        if row["measure"] == "assumption":
            assert f"{row['value']:.3f}" in drawn["tornado"]
    trialsim("report", "last", "--out", "r.html", cwd=tmp_path)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Published effects, adjusted for bias" in page
    assert page.count("mean bias, single centre") >= 2  # drawn, and in the table behind it


def test_property_without_a_flaw_there_is_nothing_to_move(trialsim, tmp_path):
    records = [part for name in STRATA for part in ("--record", name)]
    done = trialsim("evidence", "adjust", "sepsis", *records, cwd=tmp_path)
    assert "No flaw is known of any study" in done.stdout
    assert "What is published of the bias" not in done.stdout
    assert [path.name for path in tmp_path.rglob("*.png")] == ["adjusted.png"]
