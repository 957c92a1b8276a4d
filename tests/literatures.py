"""Literatures that tests of pooling share: those of the reference figures, and random ones."""

from __future__ import annotations

import csv
import json

import numpy as np

from conftest import ROOT
from trialsim.kernels.pooling import Tables, effects
from trialsim.kernels.proportions import Scale

REFERENCE = ROOT / "tests/reference"
_figures = json.loads((REFERENCE / "meta_analysis.json").read_text())["results"]
METAFOR = {entry["id"]: entry["value"] for entry in _figures}
CALLS = {entry["id"]: entry["call"] for entry in _figures}


def columns(file):
    rows = list(csv.DictReader((REFERENCE / file).read_text().splitlines()))
    return lambda name: np.array([[float(row[name]) for row in rows]])


_bcg, _small = columns("dat_bcg.csv"), columns("dat_small11.csv")
LATITUDE = _bcg("ablat")
BCG = Tables(_bcg("tpos"), _bcg("tpos") + _bcg("tneg"), _bcg("cpos"), _bcg("cpos") + _bcg("cneg"))
SMALL = Tables(_small("ai"), _small("n1i"), _small("ci"), _small("n2i"))
EFFECTS = {
    "bcg": effects(BCG, Scale.RISK_RATIO),
    "bcg_or": effects(BCG, Scale.ODDS_RATIO),
    "small": effects(SMALL, Scale.ODDS_RATIO),
    "small_rd": effects(SMALL, Scale.RISK_DIFFERENCE),
}


def literature(*trials):
    """One literature from trials of events and patients treated, events and patients control."""
    return Tables(*np.array(trials, dtype=float).T[:, None, :])


def random_tables(n_literatures, n_trials=11, seed=1, missing=0.2):
    rng = np.random.default_rng(seed)
    n1, n0 = rng.integers(10, 200, (2, n_literatures, n_trials))
    risk = rng.uniform(0.05, 0.5, (n_literatures, n_trials))
    odds = risk / (1 - risk) * np.exp(rng.normal(-0.2, 0.4, risk.shape))
    x1, x0 = rng.binomial(n1, odds / (1 + odds)), rng.binomial(n0, risk)
    gone = rng.random(risk.shape) < missing
    return Tables(*(np.where(gone, np.nan, counts) for counts in (x1, n1, x0, n0)))
