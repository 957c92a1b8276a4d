"""Where trials run on paper stop, beside where those of `simulate` do."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from trialsim.analyse.looks import Reason, stop
from trialsim.engine.blocks import Job
from trialsim.engine.run import run
from trialsim.operations.conducted import ConductedTrial
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
