"""Are weights of explanations calibrated, and is the right one first on a literature that can tell?

Run with -s to see the confusion matrices.
"""

from __future__ import annotations

import numpy as np
import pytest

from trialsim.kernels.explanations import (
    Contrasts,
    FilteredExplanation,
    LinearExplanation,
    Records,
    draw_records,
    log_marginal,
)
from trialsim.protocol.reading.load import load_reconciliation, shipped_evidence
from trialsim.studies.conflict.reconciliation import Reference, plan_reconciliation

SD = 0.35
N = 2_000


def crossed():
    """Forty trials: small and large, lower and higher quality, single- and multi-centre."""
    size = np.repeat([60, 60, 300, 1_000], 10)
    quality = np.tile([1.0, 0.0], 20)
    single = np.tile([1.0, 1.0, 0.0, 0.0], 10)
    variances = 4 / (size * 0.3 * 0.7)
    return Records(variances, np.ones(40)), quality, single, size == 60


def explanations():
    records, quality, single, small = crossed()
    one, own = np.ones((40, 1)), np.zeros(40)
    effect = np.array([SD**2])

    def shifted(x, mean, variance, between):
        design = np.column_stack([np.ones(40), x])
        means, variances = np.array([0.0, mean]), np.array([SD**2, variance])
        return LinearExplanation(design, means, variances, between * x)

    models = {
        "chance": LinearExplanation(one, np.zeros(1), effect, own),
        "quality": shifted(quality, np.log(0.735), 0.041, 0.011),  # as in sepsis
        "filter": FilteredExplanation(small, 0.0, SD, np.log(3.9), 0.82, 0.73),
        "single-centre": shifted(single, np.log(0.64), 0.025, 0.0),
        "patient-mix": LinearExplanation(one, np.zeros(1), effect, own, 0.35),
    }
    return records, models


def reference(records, models, parts, n, seed):
    drawn = []
    for i, model in enumerate(models.values()):
        y, c = draw_records(model, records, parts, n, np.random.default_rng([seed, i]))
        columns = [log_marginal(other, records, parts, y, c) for other in models.values()]
        drawn.append(np.stack(columns, axis=1))
    return Reference(np.array(drawn), np.zeros((len(models), n)))


def show(title, names, confusion, error):
    print(f"\n{title}: expected calibration error {error:.4f}")
    print(" " * 16 + "".join(f"{name:>15}" for name in names))
    for name, row in zip(names, confusion, strict=True):
        print(f"{name:16}" + "".join(f"{share:15.3f}" for share in row))


def test_property_the_right_one_is_first_on_forty_crossed_trials():
    records, models = explanations()
    found = reference(records, models, Contrasts(), N, 12)
    names, prior = list(models), np.full(len(models), 1 / len(models))
    confusion, error = found.confusion(prior), found.calibration_error(prior)
    show("forty trials", names, confusion, error)
    assert error < 0.05
    for name in ("chance", "quality", "single-centre", "patient-mix"):
        row = confusion[names.index(name)]
        mcse = np.sqrt(row * (1 - row) / N)
        best, second = np.argsort(row)[::-1][:2]
        assert names[best] == name
        assert row[best] - row[second] > 4 * np.hypot(mcse[best], mcse[second])


@pytest.mark.parametrize("name", ["sepsis", "chronic-hepatitis-b", "chronic-hepatitis-b-timing"])
def test_property_weights_of_the_shipped_conflicts_are_calibrated(name):
    evidence = shipped_evidence()
    plan = plan_reconciliation(load_reconciliation(name, evidence), evidence)
    prior = np.array([plan.prior[own] for own in plan.models])
    prior /= prior.sum()
    for which in plan.sets:
        found = plan.records(which).reference(N, 12)
        error = found.calibration_error(prior)
        show(f"{name}, {which}", list(plan.models), found.confusion(prior), error)
        assert error < 0.05
        stated = found.weights(prior)
        right = np.broadcast_to(np.eye(len(prior))[:, None, :], stated.shape)
        for low in np.arange(0, 1, 0.1):  # bin by bin, where there is enough to judge
            inside = (stated >= low) & (stated < low + 0.1)
            mass = np.broadcast_to(prior[:, None, None], stated.shape)[inside]
            if inside.sum() < 200:
                continue
            gap = mass @ (right[inside] - stated[inside]) / mass.sum()
            spread = mass @ (right[inside] - stated[inside]) ** 2 / mass.sum()
            size = mass.sum() ** 2 / (mass**2).sum()
            assert abs(gap) < 4 * np.sqrt(spread / size) + 0.005  # the lattice of the filter


def test_property_flat_literatures_cannot_tell():
    records, models = explanations()
    flat = Records(records.variances * 1e6, records.n_trials)
    linear = {k: v for k, v in models.items() if k != "filter"}
    found = reference(flat, linear, Contrasts(), 200, 3)
    prior = np.full(4, 0.25)
    assert found.weights(prior).max() < 0.3
