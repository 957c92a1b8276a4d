"""What a second endpoint costs: 10,000 trials of 200 patients with one endpoint, and with two."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from trialsim import load_template, plan_simulation
from trialsim.engine.blocks import Job
from trialsim.engine.run import run
from trialsim.trial import Path as Patients

REPLICATES, REPEATS = 10_000, 5
# kind: the endpoint, its control arm, its effect
KINDS = {
    "binary": ("kind: binary, event: death, at: 28 d", "{risk: 0.3}", "{odds_ratio: 0.6}"),
    "continuous": (
        "kind: continuous, variable: SOFA, unit: points, at: [7 d]",
        "{mean: 7, sd: 3}",
        "{mean_difference: -1}",
    ),
    "ordinal": (
        "kind: ordinal, variable: state, at: 28 d, categories: [home, ward, ventilated, dead]",
        "{probabilities: [0.4, 0.2, 0.15, 0.25]}",
        "{odds_ratio: 0.6}",
    ),
    "count": (
        "kind: count, event: infection, at: 90 d",
        "{rate_per_year: 4, dispersion: 0.5}",
        "{rate_ratio: 0.6}",
    ),
    "competing-risks": (
        "kind: competing-risks, event: transplant, competing: death, at: 90 d",
        "{event: {hazard_per_year: 2}, competing: {hazard_per_year: 1}}",
        "{hazard_ratio: 0.6}",
    ),
    "time-to-event": (
        "kind: time-to-event, event: relapse, at: 90 d",
        "{median: 90 d}",
        "{hazard_ratio: 0.6}",
    ),
}
# of a primary endpoint whose truth stands elsewhere: protocol, nature, scenario
ELSEWHERE = {
    "binary": ("", "  control_risk: 0.3\n", "effect: {odds_ratio: 0.6}"),
    "time-to-event": (
        "  looks: [{at: {calendar: 120 d}}]\n",
        "  enrolment: {uniform: 30 d}\n  survival: {median: 90 d}\n",
        "survival: {hazard_ratio: 0.6}",
    ),
}


def job_of(first: str, second: str = "") -> Job:
    """Return a trial with one endpoint or two, patient by patient."""
    protocol, nature, scenario = ELSEWHERE.get(first, ("", "", ""))
    named = [("one", first), *([("two", second)] if second else [])]
    endpoints, outcomes, effects = "", [], []
    for name, kind in named:
        words, model, effect = KINDS[kind]
        level = "primary" if name == "one" else "secondary"
        endpoints += f"    - {{id: {name}, level: {level}, {words}, better: lower}}\n"
        if name == "two" or first not in ELSEWHERE:
            outcomes.append(f"{name}: {model}")
            effects.append(f"{name}: {effect}")
    scenario = ", ".join(filter(None, [scenario, f"outcomes: {{{', '.join(effects)}}}"]))
    text = (
        "schema_version: 1\nid: two\ntitle: Two endpoints\nprotocol:\n"
        "  arms: [{id: drug, role: experimental}, {id: placebo, role: control}]\n"
        f"  endpoints:\n{endpoints}  sample_size: {{total: 200}}\n{protocol}"
        f"nature:\n{nature}  outcomes: {{{', '.join(outcomes)}}}\n"
        f"scenarios:\n  - {{id: effect, title: an effect, {scenario}}}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "two.yaml"
        path.write_text(text, encoding="utf-8")
        (job,) = plan_simulation(load_template(str(path))).jobs
    return replace(job, path=Patients.PATIENTS)


def seconds(job: Job) -> float:
    """Seconds of processor time of a run of it, on one core."""
    start = time.process_time()
    run([job], n_replicates=REPLICATES, seed=1)
    return time.process_time() - start


def main() -> int:
    """Measure in turns, so that a slow moment hits both, and print."""
    print(f"{REPLICATES:,} trials of 200   one endpoint, s   two of the kind, s   ratio")
    worst = 0.0
    for kind in KINDS:
        jobs = job_of(kind), job_of(kind, kind)
        for job in jobs:
            run([job], n_replicates=256, seed=1)
        rounds = [tuple(map(seconds, jobs)) for _ in range(REPEATS)]
        ratio = median(two / one for one, two in rounds)
        worst = max(worst, ratio)
        one, two = (median(column) for column in zip(*rounds, strict=True))
        print(f"{kind:22}   {one:15.2f}   {two:18.2f}   {ratio:5.2f}")
    print(f"adding an endpoint: at most {worst:.2f} times the time of one")
    cheap, dear = "binary", "time-to-event"
    jobs = job_of(cheap), job_of(dear), job_of(cheap, dear)
    rounds = [tuple(map(seconds, jobs)) for _ in range(REPEATS)]
    share = median(both / (one + other) for one, other, both in rounds)
    print(f"{cheap} and {dear} together: {share:.2f} times the sum of each alone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
