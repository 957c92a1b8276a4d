"""Where trials run on paper stop, beside where those of `simulate` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import binom

from trialsim.analyse.looks import Reason, stop
from trialsim.engine.blocks import Job
from trialsim.engine.run import run
from trialsim.operations.conducted import ConductedTrial, Verdict
from trialsim.studies.operations.forecast import PlannedForecast


def furthest_from_simulate(
    planned: PlannedForecast, trials: Sequence[ConductedTrial], replicates: int, seed: int
) -> float:
    """Return by how many errors the share of trials that end at a look for a reason differs most.

    The error is that of the difference, were both shares the one of `simulate`.
    """
    job = Job(planned.resolved.template.protocol, (planned.analysis,), (planned.truth,))
    (found,) = run([job.on_its_shortest_path()], n_replicates=replicates, seed=seed)
    stops = stop(found.results[0][0], planned.analysis)
    known, last = ~stops.final.failed[:, 0], len(planned.analysis.looks) - 1
    worst = 0.0
    for look in range(last + 1):
        for reason in (Reason.EFFICACY, Reason.END if look == last else Reason.FUTILITY):
            p = stops.because(reason, look)[known].mean()
            ended = [
                len(t.looks) == look + 1 and t.looks[-1].judgement.verdict == reason.value
                for t in trials
            ]
            error = sqrt(p * (1 - p) * (1 / len(trials) + 1 / known.sum()))
            worst = max(worst, abs(np.mean(ended) - p) / error)
    return worst


@dataclass(frozen=True)
class Share:
    """Of trials that end for a reason: seen, exact, and the error of the first by the second."""

    seen: float
    exact: float
    error: float


def single_arm_shares(
    planned: PlannedForecast, trials: Sequence[ConductedTrial]
) -> dict[str, Share]:
    """Return by reason how many trials in two stages end, beside sums of binomials (Simon 1989)."""
    rule, risk = planned.analysis.two_stage, planned.truth.treated_risk
    n1, n = rule.first, planned.plan.n_patients
    x = np.arange(rule.stop_if_at_most + 1, n1 + 1)
    found = float((binom.pmf(x, n1, risk) * binom.sf(rule.reject_if_above - x, n - n1, risk)).sum())
    futile = float(binom.cdf(rule.stop_if_at_most, n1, risk))
    ends = {Verdict.FUTILITY: futile, Verdict.EFFICACY: found, Verdict.END: 1 - futile - found}
    return {
        verdict.value: Share(
            float(np.mean([t.looks[-1].judgement.verdict is verdict for t in trials])),
            p,
            sqrt(p * (1 - p) / len(trials)),
        )
        for verdict, p in ends.items()
    }
