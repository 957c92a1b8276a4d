"""Blinded re-estimation of the size against full enumeration of interim and final counts."""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, norm

from trialsim.errors import DesignError, RequestError
from trialsim.kernels.proportions import Scale
from trialsim.sizing.fixed import Allocation, Level
from trialsim.studies.size.reestimation import (
    QUANTILES,
    Interim,
    Reestimation,
    SizeRule,
    TrueEffect,
    reestimated,
    risks_at_pooled_rate,
)
from trialsim.trial import Measure

REPLICATES = 40_000


def with_effect(p0, effect, scale):
    """Risk on treatment, again by hand."""
    if scale is Scale.RISK_DIFFERENCE:
        return p0 + effect
    odds = effect * p0 / (1 - p0)
    return effect * p0 if scale is Scale.RISK_RATIO else odds / (1 + odds)


def size_by_hand(pooled, effect, scale, n_interim, ratio, alpha, power):
    """Total in whole allocation units by the pooled-variance formula at a pooled rate."""
    share, half = ratio[0] / sum(ratio), 0.5 / n_interim
    risks = np.linspace(0, 1, 200_001)[1:-1]
    treated = with_effect(risks, effect, scale)
    fine = (np.minimum(risks, treated) >= half) & (np.maximum(risks, treated) <= 1 - half)
    low, high = risks[fine][0], risks[fine][-1]

    def excess(p0):
        return share * with_effect(p0, effect, scale) + (1 - share) * p0 - pooled

    p0 = low if excess(low) > 0 else high if excess(high) < 0 else brentq(excess, low, high)
    p1 = with_effect(p0, effect, scale)
    mean = share * p1 + (1 - share) * p0
    null = sqrt(mean * (1 - mean) * (1 / share + 1 / (1 - share)))
    other = sqrt(p1 * (1 - p1) / share + p0 * (1 - p0) / (1 - share))
    total = ((norm.ppf(1 - alpha) * null + norm.ppf(power) * other) / (p1 - p0)) ** 2
    return ceil(total / sum(ratio)) * sum(ratio)


def enumerated(sizes, p1, p0, n_interim, ratio, critical, sides):
    """Return P(reject), E(size) and sizes with probabilities: interim counts by final counts.

    `sizes` gives the total by events at the interim; one-sided tests look for fewer on treatment.
    """
    units = np.array(ratio) / sum(ratio)
    m1, m0 = (round(u * n_interim) for u in units)
    first = np.outer(binom.pmf(np.arange(m1 + 1), m1, p1), binom.pmf(np.arange(m0 + 1), m0, p0))
    total = np.array(sizes)[np.add.outer(np.arange(m1 + 1), np.arange(m0 + 1))]
    rejected, distribution = 0.0, {}
    for n in np.unique(total):
        n1, n0 = (round(u * n) for u in units)
        distribution[int(n)] = first[total == n].sum()
        late1 = binom.pmf(np.subtract.outer(np.arange(n1 + 1), np.arange(m1 + 1)), n1 - m1, p1)
        late0 = binom.pmf(np.subtract.outer(np.arange(n0 + 1), np.arange(m0 + 1)), n0 - m0, p0)
        final = late1 @ np.where(total == n, first, 0.0) @ late0.T
        x1, x0 = np.arange(n1 + 1)[:, None], np.arange(n0 + 1)[None, :]
        pooled = (x1 + x0) / n
        variance = pooled * (1 - pooled) * (1 / n1 + 1 / n0)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(variance > 0, (x1 / n1 - x0 / n0) / np.sqrt(variance), 0.0)
        rejected += (final * ((np.abs(z) if sides == 2 else -z) >= critical)).sum()
    expected = sum(n * p for n, p in distribution.items())
    return rejected, expected, distribution


def sizes_by_hand(design):
    ratio = (design.allocation.treated, design.allocation.control)
    least = design.planned_total if design.rule is SizeRule.RESTRICTED else 0
    least = max(least, design.n_enrolled or design.n_interim)
    effect = design.effect
    n, level = design.n_interim, design.level
    found = [
        size_by_hand(x / n, effect, design.scale, n, ratio, level.per_side, design.power)
        for x in range(n + 1)
    ]
    return np.clip(found, least, design.n_maximum)


DESIGNS = {
    "odds ratio": Reestimation(0.2, 0.5, 0.5, 130, SizeRule.RESTRICTED, Scale.ODDS_RATIO),
    "odds ratio, unrestricted": Reestimation(
        0.2, 0.5, 0.4, 130, SizeRule.UNRESTRICTED, Scale.ODDS_RATIO
    ),
    "risk ratio, 2:1, one-sided": Reestimation(
        0.15,
        0.45,
        0.5,
        150,
        SizeRule.UNRESTRICTED,
        Scale.RISK_RATIO,
        level=Level(0.025, 1),
        allocation=Allocation(2, 1),
    ),
    "risk difference, late": Reestimation(
        0.25, 0.55, 0.3, 120, SizeRule.UNRESTRICTED, Scale.RISK_DIFFERENCE, n_enrolled=60
    ),
    "risk difference, too small a plan": Reestimation(
        0.25, 0.55, 0.5, 140, SizeRule.RESTRICTED, Scale.RISK_DIFFERENCE, n_planned=40
    ),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_analytic_against_enumeration_of_interim_and_final_counts(name):
    design = DESIGNS[name]
    sizes = sizes_by_hand(design)
    assert [design.final_size(x) for x in range(design.n_interim + 1)] == sizes.tolist()
    ratio = (design.allocation.treated, design.allocation.control)
    found = reestimated(design, [0.35, 0.5], replicates=REPLICATES, seed=3)
    assert [f.truth for f in found] == 2 * [TrueEffect.NONE, TrueEffect.PLANNED]
    for own in found:
        level = design.level
        treated = own.control_risk
        if own.truth is TrueEffect.PLANNED:
            treated = with_effect(own.control_risk, design.effect, design.scale)
        assert own.treated_risk == pytest.approx(treated, rel=1e-12)
        more = (design.n_interim, ratio, norm.ppf(1 - level.per_side), level.sides)
        risks = (treated, own.control_risk)
        rejected, expected, distribution = enumerated(sizes, *risks, *more)
        assert abs(own.rejected.value - rejected) <= 4 * own.rejected.mcse
        assert own.rejected.lower < own.rejected.value < own.rejected.upper
        assert abs(own.expected_n.value - expected) <= 4 * own.expected_n.mcse
        at_most = distribution.get(design.n_maximum, 0.0)
        mcse = sqrt(at_most * (1 - at_most) / REPLICATES)
        assert abs(own.at_maximum.value - at_most) <= 4 * mcse + 1e-9
        fixed, _, _ = enumerated(np.full_like(sizes, design.planned_total), *risks, *more)
        assert abs(own.rejected_fixed.value - fixed) <= 4 * own.rejected_fixed.mcse
        assert abs(own.gained.value - (rejected - fixed)) <= 4 * own.gained.mcse + 1e-9
        by_size = np.cumsum([distribution[n] for n in sorted(distribution)])
        for n, q in zip(own.n_quantiles, QUANTILES, strict=True):
            at = sorted(distribution).index(n)  # its distribution function steps over q here
            slack = 4 * sqrt(q * (1 - q) / REPLICATES)
            assert by_size[at] >= q - slack
            assert at == 0 or by_size[at - 1] <= q + slack


def test_reference_power_of_a_risk_difference_by_friede_and_kieser():
    # Friede and Kieser (2004), as given in the tests of the R package blindrecalc (commit 0c63452,
    # test_chisquare_pow.R): delta 0.2, 1:1, one-sided 0.025, overall rate 0.3, size by the formula
    # with one variance for both hypotheses. It checks the enumeration above; ours, with the
    # unpooled variance under the effect, gives smaller sizes and 0.6 points less power.
    critical = norm.ppf(0.975)
    for n_interim, published in ((80, 0.8020152), (120, 0.8055927)):
        more = (n_interim, (1, 1), critical, 1)
        rates = np.arange(n_interim + 1) / n_interim
        homogeneous = 4 * (critical + norm.ppf(0.8)) ** 2 * rates * (1 - rates) / 0.2**2
        sizes = np.maximum(np.ceil(np.ceil(homogeneous) / 2) * 2, n_interim).astype(int)
        assert enumerated(sizes, 0.2, 0.4, *more)[0] == pytest.approx(published, abs=1e-6)
        design = Reestimation(
            *(0.2, 0.4, 0.5, 500, SizeRule.UNRESTRICTED, Scale.RISK_DIFFERENCE),
            n_planned=2 * n_interim,
            level=Level(0.025, 1),
        )
        exact = enumerated(sizes_by_hand(design), 0.2, 0.4, *more)[0]
        assert exact - published == pytest.approx(-0.0059, abs=1e-4)
        own = reestimated(design, [0.4], replicates=REPLICATES)[1].rejected
        assert abs(own.value - exact) <= 4 * own.mcse


def test_analytic_a_maximum_at_the_planned_size_is_the_fixed_design():
    design = Reestimation(0.2, 0.3, 0.5, 588)
    assert design.planned_total == 588
    for own in reestimated(design, [0.2, 0.3, 0.4], replicates=5_000):
        assert own.rejected == own.rejected_fixed
        assert own.gained.value == own.gained.mcse == 0
        assert set(own.n_quantiles) == {588}
        assert own.expected_n.value == 588
        assert own.at_maximum.value == 1


@pytest.mark.parametrize("control_risk", [0.2, 0.3, 0.4])
def test_analytic_the_median_size_is_that_of_the_formula_at_the_true_pooled_rate(control_risk):
    design = Reestimation(0.2, 0.3, 0.5, 10_000, SizeRule.UNRESTRICTED)
    for own in reestimated(design, [control_risk], replicates=REPLICATES):
        events = (own.treated_risk + own.control_risk) / 2 * design.n_interim
        low, high = sorted(design.formula_size((events + d) / design.n_interim) for d in (-1, 1))
        assert low <= own.n_quantiles[2] <= high


def test_analytic_known_facts():
    # A lower control risk than planned needs more patients for the same odds ratio.
    design = Reestimation(0.2, 0.3, 0.5, 1_400)
    lower = reestimated(design, [0.2], replicates=REPLICATES)[1]
    assert lower.rejected_fixed.value < 0.69
    assert abs(lower.rejected.value - 0.8) <= 4 * lower.rejected.mcse + 0.01
    assert lower.gained.mcse < sqrt(lower.rejected.mcse**2 + lower.rejected_fixed.mcse**2)
    # A higher one needs fewer, which only the unrestricted rule saves.
    free = Reestimation(0.2, 0.3, 0.5, 1_400, SizeRule.UNRESTRICTED)
    restricted, unrestricted = (
        reestimated(d, [0.45], replicates=REPLICATES)[1] for d in (design, free)
    )
    assert restricted.expected_n.value == 588
    assert restricted.rejected.value > 0.87
    assert unrestricted.expected_n.value < 500
    assert abs(unrestricted.rejected.value - 0.8) <= 4 * unrestricted.rejected.mcse + 0.01


def test_analytic_blinded_reestimation_hardly_moves_the_type_i_error():
    # Gould (1992), Kieser and Friede (2000): exactly, beside the fixed design of the same trial.
    for rule in SizeRule:
        design = Reestimation(0.2, 0.4, 0.5, 400, rule)
        sizes = sizes_by_hand(design)
        more = (design.n_interim, (1, 1), norm.ppf(0.975), 2)
        for risk in (0.2, 0.3, 0.4, 0.5):
            own = enumerated(sizes, risk, risk, *more)[0]
            assert own < 0.0525
            fixed = enumerated(np.full_like(sizes, design.planned_total), risk, risk, *more)[0]
            assert abs(own - fixed) < 0.0025


@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("share", [0.5, 2 / 3])
def test_property_risks_at_a_pooled_rate_have_the_rate_and_the_effect(scale, share):
    effect = -0.1 if scale is Scale.RISK_DIFFERENCE else 0.6
    treated, control = risks_at_pooled_rate(0.37, effect, scale, share)
    assert share * treated + (1 - share) * control == pytest.approx(0.37, abs=1e-12)
    assert treated == pytest.approx(with_effect(control, effect, scale), abs=1e-12)


def test_property_more_replicates_extend_a_run_and_truths_are_paired():
    design = Reestimation(0.2, 0.3, 0.5, 1_400)
    few = reestimated(design, [0.25], replicates=5_000)
    many = reestimated(design, [0.2, 0.25], replicates=9_000)
    alone = reestimated(design, [0.25], replicates=9_000)
    assert many[2:] == alone
    hits = [r.rejected.value * r.rejected.n for r in (few[1], alone[1])]
    assert 0 <= hits[1] - hits[0] <= 4_000
    assert few[0].rejected.measure is Measure.TYPE_I_ERROR
    assert few[1].rejected.measure is Measure.POWER


GOOD = {"treated_risk": 0.2, "control_risk": 0.3, "interim_share": 0.5, "n_maximum": 1_000}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"interim_share": 0.0}, "interim_share"),
        ({"interim_share": 1.0}, "interim_share"),
        ({"interim_share": float("nan")}, "interim_share"),
        ({"n_maximum": 586}, "n_maximum"),
        ({"n_maximum": 589}, "n_maximum"),
        ({"n_planned": 587}, "n_planned"),
        ({"n_planned": 2_000}, "n_maximum"),
        ({"n_planned": 0}, "n_planned"),
        ({"n_enrolled": 200}, "n_enrolled"),
        ({"n_enrolled": 2_000}, "n_enrolled"),
        ({"control_risk": 1.0}, "control_risk"),
        ({"control_risk": 0.2}, "effect"),
        ({"power": 0.01}, "power"),
        ({"interim": Interim.UNBLINDED}, "interim"),
        (
            {
                "n_planned": 2,
                "treated_risk": 0.1,
                "control_risk": 0.9,
                "scale": Scale.RISK_DIFFERENCE,
            },
            "interim_share",
        ),
    ],
)
def test_property_a_design_that_cannot_be_is_refused(changed, field):
    with pytest.raises(DesignError) as caught:
        Reestimation(**{**GOOD, **changed})
    assert field in [problem.field for problem in caught.value.problems]


def test_property_unblinded_reestimation_is_refused_with_its_reason():
    with pytest.raises(DesignError, match=r"is not supported: .* inflates the type I error"):
        Reestimation(**GOOD, interim=Interim.UNBLINDED)


def test_property_impossible_requests_are_refused():
    design = Reestimation(0.2, 0.3, 0.5, 1_000, scale=Scale.RISK_DIFFERENCE)
    for risk in (0.0, 1.0, 0.05, float("nan")):  # 5% less 10 points is no risk
        with pytest.raises(DesignError):
            reestimated(design, [0.3, risk])
    with pytest.raises(RequestError):
        reestimated(design, [0.3], replicates=0)
    with pytest.raises(RequestError):
        reestimated(design, [0.3], seed=-1)
