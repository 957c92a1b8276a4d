"""Multiple testing against closed tests by enumeration, one another, and the authors' package."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from itertools import combinations, permutations
from math import comb, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from conftest import ROOT
from trialsim.kernels.multiplicity import (
    Graph,
    fixed_sequence,
    graphical,
    graphical_adjusted_p,
    hochberg,
    holm,
    weights_after,
)


def random_graph(rng, m):
    """A graph in whole parts of 12 or 13, some edges and weights 0, some levels not handed on."""

    def shares(k, whole):
        cuts = np.sort(rng.integers(0, whole + 1, k))
        parts = [int(x) for x in np.diff([0, *cuts])]
        return [Fraction(int(x), whole) * int(rng.random() < 0.85) for x in parts]

    weights = shares(m, 12)
    transitions = []
    for j in range(m):
        row = shares(m - 1, 12 if rng.random() < 0.5 else 13)
        if rng.random() < 0.5 and row:  # hands on the whole of its level
            row[0] += 1 - sum(row)
        transitions.append([*row[:j], Fraction(0), *row[j:]])
    return weights, transitions


def removed(weights, transitions, order):
    """Algorithm 1 of Bretz 2009, one hypothesis after the other, in exact fractions."""
    left = set(range(len(weights)))
    w, g = list(weights), [list(row) for row in transitions]
    for j in order:
        left.discard(j)
        w = [w[k] + w[j] * g[j][k] if k in left else Fraction(0) for k in range(len(w))]
        new = [[Fraction(0)] * len(w) for _ in w]
        for a in left:
            for b in left - {a}:
                if g[a][j] * g[j][a] < 1:
                    new[a][b] = (g[a][b] + g[a][j] * g[j][b]) / (1 - g[a][j] * g[j][a])
        g = new
    return w


def enumerated(weights, transitions):
    """Weights of all 2^m - 1 intersections, the same over every order of removal."""
    m, out = len(weights), {}
    for size in range(1, m + 1):
        for kept in combinations(range(m), size):
            gone = [j for j in range(m) if j not in kept]
            found = {tuple(removed(weights, transitions, o)) for o in permutations(gone)}
            assert len(found) == 1
            out[kept] = [float(w) for w in found.pop()]
    return out


def closed(p, weights_of, alpha):
    m, n_reps = p.shape
    rejected = np.ones((m, n_reps), dtype=bool)
    for kept, w in weights_of.items():
        local = np.zeros(n_reps, dtype=bool)
        for j in kept:
            if w[j] > 0:
                local |= p[j] <= w[j] * alpha
        rejected[list(kept)] &= local
    return rejected


@pytest.mark.parametrize(("m", "n_graphs"), [(1, 20), (2, 300), (3, 400), (4, 250), (5, 40)])
def test_analytic_graphical_equals_the_closed_test_over_all_intersections(m, n_graphs):
    rng = np.random.default_rng(m)
    seen = 0
    for _ in range(n_graphs):
        weights, transitions = random_graph(rng, m)
        weights_of = enumerated(weights, transitions)
        graph = Graph(weights, transitions)
        table = weights_after(graph)
        for kept, w in weights_of.items():
            gone = sum(1 << j for j in range(m) if j not in kept)
            np.testing.assert_allclose(table[:, gone], w, atol=1e-13)  # fractions against floats
        p = rng.random((m, 200)) ** 3
        alpha = rng.choice([0.025, 0.05, 0.2])
        expected = closed(p, weights_of, alpha)
        np.testing.assert_array_equal(graphical(p, graph, alpha).rejected, expected)
        np.testing.assert_array_equal(graphical_adjusted_p(p, graph) <= alpha, expected)
        seen += int((expected.any(axis=0) & ~expected.all(axis=0)).sum())
    assert m == 1 or seen > 1000  # both decisions occur


@pytest.mark.parametrize("m", [1, 2, 3, 6, 10])
def test_analytic_special_graphs_are_holm_and_the_fixed_sequence(m):
    p = np.random.default_rng(m).random((m, 3000)) ** 4
    for alpha in (0.025, 0.3):
        np.testing.assert_array_equal(
            graphical(p, Graph.holm(m), alpha).rejected, holm(p, alpha).rejected
        )
        np.testing.assert_array_equal(
            graphical(p, Graph.fixed_sequence(m), alpha).rejected,
            fixed_sequence(p, alpha).rejected,
        )


@pytest.mark.parametrize(("procedure", "method"), [(holm, "holm"), (hochberg, "hochberg")])
def test_reference_holm_and_hochberg_of_r(procedure, method):
    figures = json.loads((ROOT / "tests/reference/multiplicity.json").read_text())
    decisions = set()
    for family in figures["families"]:
        p = np.array(family["p"])[:, None]
        for alpha in (0.025, 0.05, 0.1, 0.3):
            found = procedure(p, alpha).rejected[:, 0].tolist()
            assert found == [adjusted <= alpha for adjusted in family[method]]
            decisions |= set(found)
        if method == "holm":
            adjusted = graphical_adjusted_p(p, Graph.holm(len(p)))[:, 0]
            np.testing.assert_allclose(adjusted, family["holm"], rtol=1e-12)
    assert decisions == {True, False}


def test_analytic_hochberg_is_the_closed_test_of_its_levels():
    """Hochberg (1988): H_I is rejected where the k-th largest of I is at most alpha / k."""
    p = np.random.default_rng(8).random((4, 2000)) ** 2
    expected = np.ones(p.shape, dtype=bool)
    for size in range(1, 5):
        for kept in combinations(range(4), size):
            largest = -np.sort(-p[list(kept)], axis=0)
            local = (largest <= 0.1 / np.arange(1, size + 1)[:, None]).any(axis=0)
            expected[list(kept)] &= local
    np.testing.assert_array_equal(hochberg(p, 0.1).rejected, expected)


@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=6))
def test_property_hochberg_rejects_at_least_what_holm_does_and_smaller_p_values_do_too(rows):
    p = np.array(rows)
    down = holm(p, 0.05).rejected
    assert (hochberg(p, 0.05).rejected | ~down).all()
    graph = Graph.holm(len(p))
    assert (graphical(p, graph, 0.05).rejected == down).all()
    for procedure in (holm, hochberg, fixed_sequence):
        assert (procedure(p / 2, 0.05).rejected | ~procedure(p, 0.05).rejected).all()


# Two levels of three hypotheses: Bretz, Maurer and Hommel (2011), Statistics in Medicine
# 30:1489-1501, figure 2, as in gMCP, the method's authors' package.
SIX = Graph(
    [1 / 3, 1 / 3, 1 / 3, 0, 0, 0],
    [
        [0, 1 / 2, 0, 1 / 2, 0, 0],
        [1 / 3, 0, 1 / 3, 0, 1 / 3, 0],
        [0, 1 / 2, 0, 0, 0, 1 / 2],
        [0, 1, 0, 0, 0, 0],
        [1 / 2, 0, 1 / 2, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
    ],
)


def test_reference_gmcp_three_primary_three_secondary():
    """Documentation of gMCPLite, class graphMCP: what is rejected and the weights left."""
    p = np.array([0.1, 0.008, 0.005, 0.15, 0.04, 0.006])[:, None]
    rejected = graphical(p, SIX, 0.05).rejected[:, 0]
    assert rejected.tolist() == [False, True, True, False, False, True]
    left = weights_after(SIX)[:, int((rejected * (1 << np.arange(6))).sum())]
    np.testing.assert_allclose(left, [2 / 3, 0, 0, 0, 1 / 3, 0], atol=1e-15)


def test_reference_gmcp_two_pairs_in_a_circle():
    """Tests of gMCPLite (test-gMCP.R): level handed to the own secondary, then across."""
    graph = Graph([1 / 2, 1 / 2, 0, 0], [[0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]])
    p = np.array([[0.01, 0.005, 0.01, 0.5], [0.01, 0.005, 0.015, 0.022]]).T
    assert graphical(p, graph, 0.05).rejected.T.tolist() == [[True] * 3 + [False], [True] * 4]


def test_reference_gmcp_adjusted_p_values_of_holm():
    """Tests of gMCP (test.adjPValues), Holm on three."""
    adjusted = graphical_adjusted_p(np.array([[0.02], [0.055], [0.012]]), Graph.holm(3))
    np.testing.assert_allclose(adjusted[:, 0], [0.04, 0.055, 0.036], rtol=1e-12)


# Two doses by two endpoints, the procedure of Bretz et al. (2009): vignette "shortcut-testing" of
# graphicalMCP (Xi, Bretz and colleagues; CRAN), whose text prints the figures below.
DOSES = Graph([0.5, 0.5, 0, 0], [[0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5], [0, 1, 0, 0], [1, 0, 0, 0]])


def test_reference_graphicalmcp_two_doses_by_two_endpoints():
    """Documentation of graphicalMCP: H2, H1, H4 at 1/2, 3/4, 1/2 of alpha; H3 is left."""
    p = np.array([0.018, 0.01, 0.105, 0.006])[:, None]
    assert graphical(p, DOSES, 0.025).rejected[:, 0].tolist() == [True, True, False, True]
    table = weights_after(DOSES)
    assert [table[1, 0], table[0, 0b10], table[3, 0b11]] == pytest.approx([0.5, 0.75, 0.5])
    np.testing.assert_allclose(table[:, 0b1011], [0, 0, 1, 0], atol=1e-15)
    adjusted = graphical_adjusted_p(p, DOSES)[:, 0]
    assert ((adjusted <= 0.025) == [True, True, False, True]).all()


def test_reference_graphicalmcp_power_of_two_doses_by_two_endpoints():
    """Printed to three digits from 100,000 simulations; 4 standard errors of both, and rounding.

    The text names local powers of the doses the other way round (0.689 for H3, of which the
    marginal power is 0.71 and that of the test before it 0.76): they are compared by size.
    """
    events, change = np.array([0.3, 0.181, 0.181]), np.array([5, 7.5, 8.25])
    variance = events * (1 - events) / 200
    primary = (events[0] - events[1:]) / np.sqrt(variance[1:] + variance[0])
    shift = np.r_[primary, (change[1:] - change[0]) / np.sqrt(2 * 10**2 / 200)]
    r = np.array(
        [[1, 0.5, 0.5, 0.25], [0.5, 1, 0.25, 0.5], [0.5, 0.25, 1, 0.5], [0.25, 0.5, 0.5, 1]]
    )
    n = 200_000
    z = np.random.default_rng(11).multivariate_normal(shift, r, size=n, method="cholesky").T
    found = graphical(norm.sf(z), DOSES, 0.025).rejected
    by_size = found[np.argsort(found.mean(axis=1))]
    printed = dict(zip((0.570, 0.689, 0.758, 0.765), by_size, strict=True))
    printed |= {0.856: found.any(axis=0), 0.512: found.all(axis=0), 0.667: found[0] & found[1]}
    printed[0.747] = (found[0] & found[2]) | (found[1] & found[3])
    for stated, hits in printed.items():
        error = np.sqrt(stated * (1 - stated) * (1 / n + 1e-5))
        assert abs(hits.mean() - stated) <= 4 * error + 5e-4, stated


def above(limits):
    """Chance that every i-th smallest of uniforms is above its limit: Bolshev's recursion."""
    m = len(limits)
    crossed = [
        comb(m, k) * limits[k - 1] ** k * above([*limits[k:]]) if m > k else limits[k - 1] ** k
        for k in range(1, m + 1)
    ]
    return 1 - sum(crossed)


FALLBACK = Graph([0.4, 0.6, 0, 0], np.eye(4, k=1))


@pytest.mark.parametrize(
    ("procedure", "exact"),
    [
        (lambda p: fixed_sequence(p, 0.1), 0.1),
        (lambda p: holm(p, 0.1), 1 - (1 - 0.1 / 4) ** 4),
        (lambda p: hochberg(p, 0.1), 1 - above([0.1 / k for k in (4, 3, 2, 1)])),
        (lambda p: graphical(p, FALLBACK, 0.1), 1 - 0.96 * 0.94),
    ],
    ids=["fixed", "holm", "hochberg", "fallback"],
)
def test_property_familywise_error_with_every_null_true(procedure, exact):
    n = 100_000
    error = procedure(np.random.default_rng(3).random((4, n))).rejected.any(axis=0).mean()
    assert exact <= 0.1 + 1e-12
    assert abs(error - exact) <= 4 * np.sqrt(exact * (1 - exact) / n)  # 4 MCSE


@pytest.mark.parametrize("false", [(0,), (1, 2), (0, 1, 2), (2, 5, 1)])
def test_property_familywise_error_with_some_nulls_false(false):
    """Those without doubt are rejected first; then the true ones have what is left."""
    n = 100_000
    p = np.random.default_rng(4).random((6, n))
    p[list(false)] = 0.0
    true = [j for j in range(6) if j not in false]
    weights = [Fraction(w).limit_denominator(9) for w in SIX.weights]
    transitions = [[Fraction(g).limit_denominator(9) for g in row] for row in SIX.transitions]
    left = removed(weights, transitions, false)
    exact = 1 - prod(1 - 0.1 * float(w) for w in left)
    error = graphical(p, SIX, 0.1).rejected[true].any(axis=0).mean()
    assert exact <= 0.1
    assert abs(error - exact) <= 4 * np.sqrt(exact * (1 - exact) / n)  # 4 MCSE


def test_analytic_a_failed_analysis_is_not_rejected_and_says_what_it_could_change():
    nan = np.nan
    p = np.array([[0.001, nan, 0.001, 0.5], [nan, 0.01, 0.9, nan], [0.01, 0.9, nan, 0.01]])
    for procedure in (
        lambda p: fixed_sequence(p, 0.05),
        lambda p: graphical(p, Graph.fixed_sequence(3), 0.05),
    ):
        out = procedure(p)
        assert out.rejected.T.tolist() == [
            [True, False, False],
            [False] * 3,
            [True, False, False],
            [False] * 3,
        ]
        # In the third trial the order ends before the failure, in the fourth as well.
        assert out.undecided.T.tolist() == [
            [False, True, True],
            [True, True, False],
            [False] * 3,
            [False] * 3,
        ]
    p = np.array([[nan, nan], [0.02, 0.04], [0.9, 0.9]])
    for procedure in (holm, hochberg):
        out = procedure(p, 0.05)
        assert not out.rejected.any()
        assert out.undecided.T.tolist() == [[True, True, False], [True, False, False]]
    adjusted = graphical_adjusted_p(p, Graph.holm(3))
    assert np.isnan(adjusted).tolist() == np.isnan(p).tolist()
    np.testing.assert_allclose(adjusted[1], [0.06, 0.12])


def test_regression_ties_at_the_level_and_p_of_zero_without_weight():
    assert holm(np.full((3, 1), 0.05 / 3), 0.05).rejected.all()
    ties = 0.05 / np.arange(7, 0, -1)[:, None]  # the graph's own sums fall short by 1e-16
    assert graphical(ties, Graph.holm(7), 0.05).rejected.all()
    out = graphical(np.array([[0.5], [0.0]]), Graph.fixed_sequence(2), 0.05)
    assert not out.rejected.any()
    assert graphical_adjusted_p(np.array([[0.5], [0.0]]), Graph.fixed_sequence(2)).tolist() == [
        [0.5],
        [0.5],
    ]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Graph([0.6, 0.5], [[0, 1], [1, 0]]), "graph.weights must sum to at most 1; got"),
        (lambda: Graph([0.5, -0.5], [[0, 1], [1, 0]]), "weights.1. must be at least 0; got -0.5"),
        (lambda: Graph([0.5, np.nan], [[0, 1], [1, 0]]), "weights.1. must be at least 0; got nan"),
        (lambda: Graph([0.5, 0.5], [[0.2, 0.8], [1, 0]]), "transitions.0..0. must be 0; got 0.2"),
        (lambda: Graph([0.5, 0.5], [[0, 1.2], [1, 0]]), "transitions.0. must sum to at most 1"),
        (lambda: Graph([0.5, 0.5], [[0, 1]]), "transitions must be 2 by 2"),
        (lambda: Graph([], []), "1 to 15 hypotheses; got 0"),
        (lambda: Graph.holm(16), "1 to 15 hypotheses; got 16"),
        (lambda: graphical([[0.1]], Graph.holm(2), 0.05), "one row for each of the graph's 2"),
        (lambda: holm([0.1, 0.2], 0.05), "p must have shape"),
        (lambda: holm([[1.2]], 0.05), "p must be in .0, 1., or NaN; got 1.2"),
        (lambda: holm([[0.2]], 5), "alpha must be in .0, 1.; got 5"),
    ],
)
def test_analytic_what_is_no_graph_or_p_value_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_regression_ten_hypotheses_ten_thousand_trials_take_well_under_a_second():
    rng = np.random.default_rng(1)
    p = rng.random((10, 10_000)) ** 4
    shares = rng.random((10, 10)) * (1 - np.eye(10))
    graph = Graph(np.full(10, 0.1), shares / shares.sum(axis=1, keepdims=True))
    start = time.perf_counter()
    graphical(p, graph, 0.025)
    assert time.perf_counter() - start < 1.0  # about 0.03 s; wide, for a machine that is shared
