"""Power as conducted against `simulate`: everyone read out, and a constant share of the effect."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from conftest import ROOT
from trialsim.engine.blocks import Job
from trialsim.engine.conduct_runs import conduct_trials
from trialsim.engine.conducted_power import Analysed, power_as_conducted
from trialsim.engine.run import run
from trialsim.protocol.reading.load import load_template
from trialsim.streams import Streams
from trialsim.studies.operations.forecast import PlannedForecast, plan_forecast

N_TRIALS, N_SIMULATED, SHARE = 300, 20_000, 0.5
VALID = ROOT / "tests" / "protocols" / "valid"
LEAVING = "nature.operations={withdrawal: {share: 0.1, by: 60 d}, recruitment: {per_site_month: 3}}"
ONE_LOOK = "protocol.looks=[{at: {events: 120}}]"
KINDS = {  # file, scenario, where its effect stands, the whole one and half of it, settings
    "risk": ("sites-and-a-risk", "half", "effect.odds_ratio", 0.3, 0.3**SHARE, ()),
    "mean": ("means-primary", "effect", "outcomes.score.mean_difference", -1.5, -0.75, ()),
    "ordered": ("ordinal-primary", "effect", "outcomes.state.odds_ratio", 1.8, 1.8**SHARE, ()),
    "days": ("days-alive-primary", "effect", "outcomes.days.odds_ratio", 1.6, 1.6**SHARE, ()),
    "count": ("counts-primary", "effect", "outcomes.infections.rate_ratio", 0.7, 0.7**SHARE, ()),
    "time": ("sites-enrol", "good", "survival.hazard_ratio", 0.7, 0.7**SHARE, (ONE_LOOK,)),
}


def _planned(kind: str, effect: float) -> PlannedForecast:
    name, scenario, where, _, _, settings = KINDS[kind]
    own = list(settings)
    if kind == "risk":
        own.append("scenarios=[{id: half, title: half, effect: {odds_ratio: 1}}]")
        own.append("protocol.sample_size.total=200")
    elif kind != "time":
        own.append(LEAVING)
    own.append(f"scenarios.{scenario}.{where}={effect!r}")
    return plan_forecast(load_template(str(VALID / f"{name}.yaml"), settings=own), scenario)


def _simulated(planned: PlannedForecast) -> tuple[float, float]:
    """Power of `simulate`, and its Monte Carlo standard error."""
    job = Job(planned.resolved.template.protocol, (planned.analysis,), (planned.truth,))
    (found,) = run([job.on_its_shortest_path()], n_replicates=N_SIMULATED, seed=31)
    results = found.results[0][0]
    rejected = results.rejected[~results.failed[:, -1], -1]
    p = float(rejected.mean())
    return p, sqrt(p * (1 - p) / len(rejected))


@pytest.mark.parametrize("kind", KINDS)
def test_reference_power_as_conducted_is_that_of_simulate_and_of_the_effect_taken(kind):
    """Source: `simulate` with the whole effect, and with half of it; 20,000 trials."""
    whole, part = KINDS[kind][3:5]
    planned = _planned(kind, whole)
    trials = conduct_trials(planned.plan, n_runs=N_TRIALS, seed=32, logged=0, workers=2)
    n = planned.plan.n_patients
    constant = [replace(trial, exposure_alive=np.full(n, SHARE)) for trial in trials]
    protocol = planned.resolved.template.protocol
    found = power_as_conducted(
        constant, protocol, planned.truth, planned.analysis, Streams(33), exposed=True
    )
    timed = kind == "time"  # `simulate` censors who leaves
    for effect, who in (
        (whole, Analysed.READ_OUT if timed else Analysed.EVERYONE),
        (part, Analysed.READ_OUT_DOSED if timed else Analysed.EVERYONE_DOSED),
    ):
        expected, error = _simulated(_planned(kind, effect))
        values = found[who]
        own = values.std(ddof=1) / sqrt(len(values))
        print(f"{kind}, {who}: {values.mean():.4f} +- {own:.4f}, simulate {expected:.4f}")
        assert abs(values.mean() - expected) < 4 * sqrt(own**2 + error**2)
    assert found[Analysed.EVERYONE].mean() > found[Analysed.EVERYONE_DOSED].mean() + 0.1
