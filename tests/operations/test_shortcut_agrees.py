"""One truth: entries and losses drawn at once are those of the simulation event by event."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from conftest import ROOT
from trialsim import load_template
from trialsim.operations.enrolment import draw_conduct
from trialsim.operations.plan import plan_conduct
from trialsim.operations.simulation import conduct_trial
from trialsim.protocol.truths.site_enrolment import sites_of
from trialsim.streams import Streams

SMALL = ROOT / "tests" / "protocols" / "valid" / "sites-and-a-risk.yaml"


def both_ways(path, n_trials, seed, settings=()):
    """Per quantity, what the shortcut and what SimPy found, supply and adherence off."""
    template = load_template(str(path), settings=settings).template
    plan = plan_conduct(template)
    assert plan.supply is None
    assert not plan.missed_doses
    slow = [conduct_trial(plan, Streams(seed), run) for run in range(n_trials)]
    n, primary = template.protocol.n_total, template.protocol.primary
    fast = draw_conduct(sites_of(template), n, Streams(seed + 1), 0, n_trials)
    followed = primary.read_out.days_after_entry(template.protocol.therapy)
    return {
        "50th": (fast.entry[49], np.array([trial.enrolled[49] for trial in slow])),
        "last": (fast.entry[-1], np.array([trial.enrolled[-1] for trial in slow])),
        "lost": (fast.lost(followed), np.array([sum(a.left for a in t.arms) for t in slow])),
        "screened": (fast.screened, np.array([trial.screened for trial in slow])),
    }


def check_agreement(found):
    """Kolmogorov-Smirnov p > 1e-4, and means within four Monte Carlo standard errors."""
    for name, (fast, slow) in found.items():
        error = sqrt(fast.var(ddof=1) / len(fast) + slow.var(ddof=1) / len(slow))
        assert stats.ks_2samp(fast, slow).pvalue > 1e-4, name
        assert abs(fast.mean() - slow.mean()) < 4 * error, name


def test_property_two_hundred_small_trials_agree_event_by_event_and_at_once():
    check_agreement(both_ways(SMALL, 200, 11))


def test_property_a_comparison_that_should_fail_does():
    found = both_ways(SMALL, 150, 11)
    fast, slow = found["last"]
    with pytest.raises(AssertionError, match="last"):
        check_agreement({"last": (fast + 60, slow)})
