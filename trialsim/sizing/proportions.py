"""Sample size for two proportions by formula."""

from __future__ import annotations

from math import ceil, sqrt
from statistics import NormalDist

from trialsim.errors import DesignError, Problem

__all__ = ["n_per_arm_pooled"]


def n_per_arm_pooled(
    treated_risk: float,
    control_risk: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    sides: int = 2,
) -> int:
    """Patients per arm, 1:1, for Pearson's chi-square: pooled variance under no effect.

    Parameters
    ----------
    treated_risk, control_risk : float
        Strictly between 0 and 1, and different.
    power, alpha : float
    sides : {1, 2}

    Returns
    -------
    n : int
        Rounded up to whole patients.

    Raises
    ------
    DesignError
        If the two risks are equal: no size has the power.

    References
    ----------
    Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, equation 4.14.
    """
    if treated_risk == control_risk:
        rule = "cannot be sized: the two risks are equal"
        raise DesignError(Problem(rule, "State a scenario with an effect."))
    z_alpha, z_beta = NormalDist().inv_cdf(1 - alpha / sides), NormalDist().inv_cdf(power)
    pooled = (treated_risk + control_risk) / 2
    under_null = z_alpha * sqrt(2 * pooled * (1 - pooled))
    variance = treated_risk * (1 - treated_risk) + control_risk * (1 - control_risk)
    return ceil(((under_null + z_beta * sqrt(variance)) / (treated_risk - control_risk)) ** 2)
