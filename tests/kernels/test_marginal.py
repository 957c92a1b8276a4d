"""Coefficients that give the stated marginal risks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from trialsim.generate.binary import solve
from trialsim.kernels.marginal import intercept_for, score_distribution
from trialsim.protocol.scenario import Truth

TREATED = 0.82 * 0.3 / 0.7 / (1 + 0.82 * 0.3 / 0.7)


@pytest.mark.parametrize(("slope", "conditional"), [(1.0, 0.7910), (2.0, 0.7296)])
def test_reference_conditional_odds_ratio_behind_marginal_082(slope, conditional):
    """The root of both arms' integrals over a normal prognosis, by scipy's quad and brentq."""
    truth = Truth("x", "OR 0.82", "x", 0.30, TREATED, slope, ())
    assert solve(truth).conditional_odds_ratio == pytest.approx(conditional, abs=1e-4)


def test_analytic_without_prognosis_conditional_is_marginal():
    truth = Truth("x", "OR 0.82", "x", 0.30, TREATED, 0.0, ())
    assert solve(truth).conditional_odds_ratio == pytest.approx(0.82, abs=1e-12)


@given(st.floats(0.01, 0.99), st.floats(-4, 4), st.floats(0.2, 5))
def test_reference_marginal_risk_by_adaptive_quadrature(risk, slope, level_odds_ratio):
    factors = ((np.array([0.3, 0.7]), np.array([1.0, level_odds_ratio])),)
    intercept = intercept_for(risk, *score_distribution(slope, factors))
    parts = [
        share
        * quad(lambda z, b=b: expit(intercept + slope * z + b) * norm.pdf(z), -9, 9, epsabs=1e-12)[
            0
        ]
        for share, b in ((0.3, 0.0), (0.7, np.log(level_odds_ratio)))
    ]
    assert sum(parts) == pytest.approx(risk, abs=1e-9)
