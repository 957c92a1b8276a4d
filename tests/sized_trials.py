"""Trials whose size is found by simulation, and what bisection would have cost."""

from __future__ import annotations

from dataclasses import replace
from math import log2

from conftest import CORPUS
from trialsim import load_template
from trialsim.engine.blocks import Job
from trialsim.trial import AnalysisPlan, Kernel

PAIRS = "protocol.allocation={block_sizes: [2]}"
OBRIEN_FLEMING = ((0.333333, 3.4711), (0.666667, 2.4544), (1.0, 2.0040))
LOOKS = ", ".join(f"{{at: {{information: {t}}}, efficacy_z: {z}}}" for t, z in OBRIEN_FLEMING)
CONTROL, TREATED = 0.241, 0.7 * 0.241 / (0.759 + 0.7 * 0.241)  # odds ratio 0.70
SMALL_CONTROL, SMALL_TREATED = 0.6, 0.25  # odds ratio 2/9
TIME_TO_EVENT = str(CORPUS / "valid" / "time-to-event.yaml")
LOG_RANK = (
    "protocol.allocation={}",
    "protocol.endpoints.death.analysis=log-rank",
    "protocol.read_out_lag=null",
    "nature.dropout=null",
    "nature.survival={median: 10 mo}",
    "protocol.looks=[{at: {events: 250}}]",
)


def job_of(name, scenario, settings=(), kernel=Kernel.NUMPY):
    """A job of one scenario on its shortest path, and its truth."""
    resolved = load_template(name, settings=list(settings))
    protocol = resolved.template.protocol
    truth = resolved.truth(resolved.scenarios([scenario])[0])
    plan = replace(AnalysisPlan.of(protocol), kernel=kernel)
    return Job(protocol, (plan,), (truth,), kernel=kernel).on_its_shortest_path(), truth


def two_risks(control, odds_ratio, *settings):
    """A chi-square test, 1:1 in pairs."""
    stated = [
        f"nature.control_risk={control}",
        f"scenarios.or-082.effect={{odds_ratio: {odds_ratio!r}}}",
        "observed=[]",
        PAIRS,
    ]
    return job_of("sepsis", "or-082", [*stated, *settings])


def by_bisection(guess, unit=2):
    """Replicates of bisection over [guess / 4, 4 guess] down to a unit, 10,000 at every step."""
    return 10_000 * log2((4 * guess - guess / 4) / unit)
