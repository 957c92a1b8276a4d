"""Can published numbers be right together? Pure arithmetic, a function for each relation.

A published number is a range: 0.62 stands for anything that rounds to it. What other numbers say
of it is therefore a range too, reached by moving each of them within its rounding; the two ranges
overlap or they do not. Plain Python: the command that asks imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import islice, product
from math import atan, cos, exp, expm1, inf, lgamma, log, log1p, pi, sin, sqrt
from operator import or_
from statistics import NormalDist
from typing import NamedTuple

from trialsim.protocol.published.checks import Verdict

__all__ = [
    "HUGE_DIFFERENCE",
    "TESTS",
    "VERY_LARGE_ODDS_RATIO",
    "Estimate",
    "Reach",
    "Table",
    "Written",
    "agreement",
    "arms_behind",
    "below",
    "centre_of_interval",
    "chance_of_so_small_a_p",
    "chi_square",
    "combined",
    "counts_behind",
    "cut_counts_behind",
    "effect_of_counts",
    "hazard_ratio_of_counts",
    "is_as_written",
    "largest_sd",
    "mantel_haenszel",
    "p_of_interval",
    "p_of_t",
    "patients_per_arm",
    "rate_interval",
    "ratio_between",
    "reach",
    "smallest_arm",
    "t_of_means",
    "t_quantile",
    "p_values_of_counts",
]

_NORMAL = NormalDist()
_Z95 = _NORMAL.inv_cdf(0.975)
_LEAST_P = 1e-15  # what 1 - x can tell from 0
_EDGE = 1e-9  # of binary fractions: 0.735 must count as an end of what rounds to 0.73

HUGE_DIFFERENCE = 2.0
"""Standardised mean difference called huge: Sawilowsky (2009), J Mod Appl Stat Methods 8:597-9."""

VERY_LARGE_ODDS_RATIO = 5.0
"""Odds ratio (or its inverse) called very large: Pereira, Horwitz and Ioannidis (2012), JAMA
308:1676-84, who found such effects mostly in small trials, and smaller when repeated."""


class Written(NamedTuple):
    """A number as printed: its value, and half a unit of its last digit (0 where it is exact)."""

    value: float
    half_unit: float = 0.0

    @property
    def low(self) -> float:
        """The least number that rounds to it."""
        return self.value - self.half_unit

    @property
    def high(self) -> float:
        """The largest number that rounds to it."""
        return self.value + self.half_unit


class Reach(NamedTuple):
    """What other numbers give: as they are written, and at the ends of their rounding."""

    at: float
    low: float
    high: float


class Table(NamedTuple):
    """Events and patients in the treated and in the control arm."""

    events_treated: int
    n_treated: int
    events_control: int
    n_control: int


class Estimate(NamedTuple):
    """A number with its 95% interval."""

    value: float
    low: float
    high: float


def reach(function: Callable[..., float], *numbers: Written) -> Reach:
    """Return what a function gives over the rounding of its arguments.

    Parameters
    ----------
    function : callable
        Monotone in each argument over its rounding, so that its ends lie in corners.
    numbers : Written
    """
    corners = product(*({n.low, n.high} for n in numbers))
    found = [function(*corner) for corner in corners]
    at = function(*(n.value for n in numbers))
    return Reach(at, min(at, *found), max(at, *found))


def agreement(stated: Written, found: Reach) -> Verdict:
    """Say whether a stated number is what others give.

    Consistent: some numbers that round to those written give it, rounded as it is. Rounding: none
    do, but it is what they give if it was cut and not rounded. Otherwise they cannot all be right
    together.
    """
    slack = _EDGE * max(1.0, abs(stated.value))
    if found.low <= stated.high + slack and found.high >= stated.low - slack:
        return Verdict.CONSISTENT
    beyond = (found.at - stated.value) * (1 if stated.value >= 0 else -1)
    cut = 0 <= beyond < 2 * stated.half_unit and found.at * stated.value >= 0
    return Verdict.ROUNDING if cut else Verdict.IMPOSSIBLE


def is_as_written(stated: Written, found: Reach) -> bool:
    """Whether a stated number is what others give as they are written, none of them moved."""
    slack = _EDGE * max(1.0, abs(stated.value))
    return abs(found.at - stated.value) <= stated.half_unit + slack


def below(limit: float, found: Reach) -> Verdict:
    """Say whether a P value stated as below a limit is what other numbers give.

    A limit is crossed or not: one that is kept only by numbers moved within their rounding is
    `rounding`, which between two numbers would be no discrepancy.
    """
    if found.at < limit:
        return Verdict.CONSISTENT
    return Verdict.ROUNDING if found.low < limit else Verdict.IMPOSSIBLE


# Percentages and the counts behind them


def counts_behind(percentage: Written, n: int) -> tuple[int, ...]:
    """Return the numbers of events among `n` patients that give a percentage.

    After Brown and Heathers (2017), Social Psychological and Personality Science 8:363-9 (the GRIM
    test), for a mean of zeros and ones.
    """
    return tuple(_behind(percentage, n))


def _behind(percentage: Written, n: int) -> Iterator[int]:
    slack = _EDGE * 100
    last = min(n, int(percentage.high * n / 100) + 1)
    for k in range(max(0, int(percentage.low * n / 100)), last + 1):
        if abs(100 * k / n - percentage.value) <= percentage.half_unit + slack:
            yield k


def cut_counts_behind(percentage: Written, n: int) -> tuple[int, ...]:
    """Return the numbers of events whose percentage was cut after its last digit, not rounded."""
    first = max(0, int(percentage.value * n / 100) - 1)
    last = int((percentage.value + 2 * percentage.half_unit) * n / 100) + 1
    unit = 2 * percentage.half_unit
    return tuple(
        k
        for k in range(first, min(n, last) + 1)
        if -_EDGE <= 100 * k / n - percentage.value < unit - _EDGE
    )


def arms_behind(
    percentages: Sequence[Written], n_total: int, most: int = 100
) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return every way to split `n_total` patients into arms whose counts give the percentages.

    Parameters
    ----------
    percentages : sequence of Written
        One per arm.
    n_total : int
    most : int
        Stop after so many.

    Returns
    -------
    tuple
        Solutions: per arm its events (the least, where several give the percentage) and patients.
    """
    possible = [
        {n: k for n in range(1, n_total + 1) if (k := next(_behind(each, n), None)) is not None}
        for each in percentages
    ]
    reached = [1]  # bit k: the last arms can have k patients together
    for sizes in reversed(possible[1:]):
        reached.insert(0, reduce(or_, (reached[0] << n for n in sizes), 0))
    return tuple(islice(_splits(possible, reached, n_total), most))


def _splits(
    possible: Sequence[dict[int, int]], reached: Sequence[int], left: int
) -> Iterator[tuple[tuple[int, int], ...]]:
    if not possible:
        yield ()
        return
    for n, events in possible[0].items():
        if n <= left and reached[0] >> (left - n) & 1:
            for rest in _splits(possible[1:], reached[1:], left - n):
                yield ((events, n), *rest)


# Two proportions

TESTS = {
    "chi-square": "Pearson's, without correction",
    "chi-square with Yates' correction": "Yates 1934",
    "Fisher": "exact, two-sided: tables no more probable added up",
    "chi-square (N - 1)": "Campbell 2007",
    "likelihood ratio": "G",
    "Wald": "difference of risks, unpooled variance",
    "Fisher, mid-P": "half of the table's own probability",
}


def p_values_of_counts(table: Table) -> dict[str, float]:
    """Return the two-sided P value of two proportions by each test in common use.

    A log-rank P value is not among them: it needs times.

    References
    ----------
    Pearson (1900), Philosophical Magazine 50:157-75; Yates (1934), J R Stat Soc Suppl 1:217-35;
    Fisher (1935), J R Stat Soc 98:39-82; Campbell (2007), Statistics in Medicine 26:3661-75.
    """
    x1, n1, x0, n0 = table
    n, m = n1 + n0, x1 + x0
    weights = _hypergeometric(table)
    own = weights.get(x1, 0.0)
    fisher = min(1.0, sum(w for w in weights.values() if w <= own * (1 + 1e-7)))
    if m in (0, n):
        return dict.fromkeys(TESTS, 1.0)
    p1, p0, pooled = x1 / n1, x0 / n0, m / n
    variance = pooled * (1 - pooled) * (1 / n1 + 1 / n0)
    z = sqrt(chi_square(p1, n1, p0, n0))
    corrected = max(0.0, abs(p1 - p0) - (1 / n1 + 1 / n0) / 2) / sqrt(variance)
    cells = ((x1, n1, m), (n1 - x1, n1, n - m), (x0, n0, m), (n0 - x0, n0, n - m))
    g = 2 * sum(seen * log(seen * n / (row * column)) for seen, row, column in cells if seen)
    unpooled = p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0
    wald = abs(p1 - p0) / sqrt(unpooled) if unpooled > 0 else inf
    return {
        "chi-square": _two_sided(z),
        "chi-square with Yates' correction": _two_sided(corrected),
        "Fisher": fisher,
        "chi-square (N - 1)": _two_sided(z * sqrt((n - 1) / n)),
        "likelihood ratio": _two_sided(sqrt(max(g, 0.0))),
        "Wald": _two_sided(wald),
        "Fisher, mid-P": fisher - own / 2,
    }


def chi_square(p1: float, n1: float, p0: float, n0: float) -> float:
    """Return Pearson's statistic of two risks, without correction; 0 where no risk is possible."""
    pooled = (p1 * n1 + p0 * n0) / (n1 + n0)
    variance = pooled * (1 - pooled) * (1 / n1 + 1 / n0)
    return (p1 - p0) ** 2 / variance if variance > 0 else 0.0


def _two_sided(z: float) -> float:
    return 2 * _NORMAL.cdf(-abs(z)) if z != inf else 0.0


def _hypergeometric(table: Table) -> dict[int, float]:
    """Return the probabilities of tables with these margins by events treated.

    Tables more than 40 standard deviations off the mean are left out: they have none.
    """
    x1, n1, x0, n0 = table
    n, m = n1 + n0, x1 + x0
    mean, spread = m * n1 / n, sqrt(m * (n - m) * n1 * n0 / (n**2 * max(n - 1, 1)))
    first = max(0, m - n0, int(mean - 40 * spread - 1))
    last = min(n1, m, int(mean + 40 * spread + 1))
    logs = {
        k: -(lgamma(k + 1) + lgamma(n1 - k + 1) + lgamma(m - k + 1) + lgamma(n0 - m + k + 1))
        for k in range(first, last + 1)
    }
    largest = max(logs.values())
    weights = {k: exp(each - largest) for k, each in logs.items()}
    total = sum(weights.values())
    return {k: w / total for k, w in weights.items()}


def effect_of_counts(measure: str, table: Table) -> Estimate | None:
    """Return an odds ratio, risk ratio or risk difference with its 95% interval; None without.

    Large-sample intervals: Woolf (1955), Katz and others (1978), and Wald's. None where a cell a
    ratio needs is empty, and for other measures.
    """
    x1, n1, x0, n0 = table
    p1, p0 = x1 / n1, x0 / n0
    if measure == "risk difference":
        half = _Z95 * sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0)
        return Estimate(p1 - p0, p1 - p0 - half, p1 - p0 + half)
    if measure == "risk ratio" and x1 and x0:
        centre, error = log(p1 / p0), sqrt(1 / x1 - 1 / n1 + 1 / x0 - 1 / n0)
    elif measure == "odds ratio" and x1 and x0 and x1 < n1 and x0 < n0:
        centre = log(x1 * (n0 - x0) / (x0 * (n1 - x1)))
        error = sqrt(1 / x1 + 1 / (n1 - x1) + 1 / x0 + 1 / (n0 - x0))
    else:
        return None
    return Estimate(*(exp(centre + sign * _Z95 * error) for sign in (0, -1, 1)))


def hazard_ratio_of_counts(table: Table) -> Estimate | None:
    """Return the hazard ratio that counts suggest if hazards are proportional and nobody is lost.

    ``log(1 - p1) / log(1 - p0)``, with ``sqrt(1/d1 + 1/d0)`` for the error of its logarithm: an
    approximation, for a hazard ratio comes from times (Parmar, Torri and Stewart 1998, Statistics
    in Medicine 17:2815-34). None where an arm has no events or nothing but events.
    """
    x1, n1, x0, n0 = table
    if not (0 < x1 < n1 and 0 < x0 < n0):
        return None
    ratio = log1p(-x1 / n1) / log1p(-x0 / n0)
    half = _Z95 * sqrt(1 / x1 + 1 / x0)
    return Estimate(ratio, ratio * exp(-half), ratio * exp(half))


def mantel_haenszel(tables: Sequence[Table]) -> Estimate | None:
    """Return the common odds ratio of separate tables with its 95% interval; None without events.

    References
    ----------
    Mantel and Haenszel (1959), J Natl Cancer Inst 22:719-48; Robins, Breslow and Greenland (1986),
    Biometrics 42:311-23 (the variance).
    """
    r = s = pr = ps_qr = qs = 0.0
    for x1, n1, x0, n0 in tables:
        n = n1 + n0
        agreeing, crossing = x1 * (n0 - x0) / n, (n1 - x1) * x0 / n
        p, q = (x1 + n0 - x0) / n, (n1 - x1 + x0) / n
        r, s = r + agreeing, s + crossing
        pr, qs = pr + p * agreeing, qs + q * crossing
        ps_qr += p * crossing + q * agreeing
    if not (r and s):
        return None
    error = sqrt(pr / (2 * r**2) + ps_qr / (2 * r * s) + qs / (2 * s**2))
    return Estimate(*(r / s * exp(sign * _Z95 * error) for sign in (0, -1, 1)))


def rate_interval(rate: float, events: int) -> tuple[float, float]:
    """Return the 95% interval of a rate of Poisson events, on the log scale."""
    half = _Z95 / sqrt(events)
    return rate * exp(-half), rate * exp(half)


def smallest_arm(
    treated: float, control: float, alpha: float, test: str, most: int = 2_000
) -> int | None:
    """Return the arm size from which on two percentages give a P value below a limit.

    Parameters
    ----------
    treated, control : float
        Risks; each arm has the count nearest to its risk.
    alpha : float
        The limit.
    test : str
        A key of `TESTS`.
    most : int
        Where to stop looking.

    Returns
    -------
    int or None
        Of two equal arms: every larger size has P below the limit too. None beyond `most`.
    """

    def p(n: int) -> float:
        return p_values_of_counts(Table(round(treated * n), n, round(control * n), n))[test]

    apart = abs(treated - control)
    critical = -_NORMAL.inv_cdf(alpha / 2)
    bound = next((n for n in range(2, most) if _surely(n, apart, critical)), None)
    if bound is None:
        return None
    needed = bound
    while needed > 1 and p(needed - 1) < alpha:
        needed -= 1
    return needed


def _surely(n: int, apart: float, critical: float) -> bool:
    """Whether the counts nearest to the risks are beyond the limit by any of the tests."""
    least = apart - 3 / n  # rounding of both counts, Yates' correction, and room for Fisher
    return least > 0 and least / sqrt(0.5 / n) > critical


# Estimates, intervals and P values


def p_of_interval(value: float, low: float, high: float, *, ratio: bool) -> float:
    """Return the two-sided P value of an estimate against no effect, from its 95% interval.

    References
    ----------
    Altman and Bland (2011), BMJ 343:d2304.
    """
    if ratio:
        value, low, high = log(value), log(low), log(high)
    return _two_sided(value / ((high - low) / (2 * _Z95)))


def centre_of_interval(low: float, high: float, *, ratio: bool) -> float:
    """Return the middle of an interval, on the log scale for a ratio."""
    return sqrt(low * high) if ratio else (low + high) / 2


def combined(parts: Sequence[Estimate], *, ratio: bool) -> tuple[Estimate, float]:
    """Pool estimates of separate patients by inverse variance; also the two-sided P value."""
    moved = [Estimate(*map(log, part)) if ratio else part for part in parts]
    weights = [1 / ((part.high - part.low) / (2 * _Z95)) ** 2 for part in moved]
    centre = sum(w * part.value for w, part in zip(weights, moved, strict=True)) / sum(weights)
    error = 1 / sqrt(sum(weights))
    pooled = (centre, centre - _Z95 * error, centre + _Z95 * error)
    return Estimate(*map(exp, pooled) if ratio else pooled), _two_sided(centre / error)


def ratio_between(one: Estimate, other: Estimate, *, ratio: bool) -> tuple[Estimate, float]:
    """Return one estimate over another (or minus it) of separate patients, and its P value.

    References
    ----------
    Altman and Bland (2003), BMJ 326:219.
    """
    first, second = (Estimate(*map(log, e)) if ratio else e for e in (one, other))
    errors = [(e.high - e.low) / (2 * _Z95) for e in (first, second)]
    apart, error = first.value - second.value, sqrt(sum(e**2 for e in errors))
    found = (apart, apart - _Z95 * error, apart + _Z95 * error)
    return Estimate(*map(exp, found) if ratio else found), _two_sided(apart / error)


# Means


def p_of_t(t: float, df: int) -> float:
    """Two-sided P value of Student's t with whole degrees of freedom.

    A finite series: Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.
    """
    angle = atan(abs(t) / sqrt(df))
    c2, term, total = cos(angle) ** 2, 1.0, 0.0
    if df % 2:
        term = cos(angle)
        for k in range(1, df - 1, 2):
            total += term
            term *= c2 * (k + 1) / (k + 2)
        inside = 2 / pi * (angle + sin(angle) * total)
    else:
        for k in range(0, df - 1, 2):
            total += term
            term *= c2 * (k + 1) / (k + 2)
        inside = sin(angle) * total
    return max(_LEAST_P, 1 - inside)


def t_quantile(p: float, df: int) -> float:
    """Return the absolute t that has a two-sided P value `p`; `p` in (0, 1)."""
    low, high = 0.0, 1.0
    while p_of_t(high, df) > p:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if p_of_t(middle, df) > p else (low, middle)
    return (low + high) / 2


def t_of_means(
    difference: float, sd_treated: float, n_treated: int, sd_control: float, n_control: int
) -> float:
    """Return Student's t of two means, with the pooled standard deviation."""
    df = n_treated + n_control - 2
    pooled = ((n_treated - 1) * sd_treated**2 + (n_control - 1) * sd_control**2) / df
    return difference / sqrt(pooled * (1 / n_treated + 1 / n_control))


def largest_sd(difference: float, p: float, n_treated: int, n_control: int) -> float:
    """Return the common standard deviation at which a difference of means has a P value (t test).

    A P value stated as below `p` needs a smaller one.
    """
    t = t_quantile(p, n_treated + n_control - 2)
    return abs(difference) / (t * sqrt(1 / n_treated + 1 / n_control))


# Allocation and planning


def chance_of_so_small_a_p(p: float, n_variables: int) -> float:
    """Return the chance that the least of independent P values under randomisation is this small.

    ``1 - (1 - p)^k`` (Sidak 1967, J Am Stat Assoc 62:626-33); correlated variables have less.
    """
    return -expm1(n_variables * log1p(-p)) if p < 1 else 1.0


def patients_per_arm(
    treated: float, control: float, alpha: float, power: float
) -> dict[str, float]:
    """Return patients per arm of two equal arms by formulas in common use, not rounded.

    Unpooled and pooled variance: Fleiss, Levin and Paik (2003), Statistical Methods for Rates and
    Proportions, chapter 4; the second also with their continuity correction.
    """
    za, zb = -_NORMAL.inv_cdf(alpha / 2), _NORMAL.inv_cdf(power)
    apart, middle = abs(treated - control), (treated + control) / 2
    unpooled = treated * (1 - treated) + control * (1 - control)
    simple = (za + zb) ** 2 * unpooled / apart**2
    pooled = (za * sqrt(2 * middle * (1 - middle)) + zb * sqrt(unpooled)) ** 2 / apart**2
    corrected = pooled / 4 * (1 + sqrt(1 + 4 / (pooled * apart))) ** 2
    return {
        "unpooled variance": simple,
        "pooled variance": pooled,
        "pooled variance, continuity corrected": corrected,
    }
