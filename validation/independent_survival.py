"""Slow independent reference for survival designs: standard library only, plain loops.

Every figure is a Monte Carlo mean over simulated trials, with no use of the project's own code.
Arm 1 is treated, arm 0 control; positive z favours treatment; times are months.  Cases A and C
use --replicates trials (a multiple of 1000), case B three quarters of that for each delay.
"""

import argparse
import json
import math
import multiprocessing
import random
import sys
from pathlib import Path

Patient = tuple[float, float, float, int]  # entry month, then event and loss since entry, arm
Row = tuple[float, bool, int]  # follow-up time, event seen, arm
CRITICAL = 1.959964
CHUNK = 250  # trials per task; each task has its own generator, whatever the process count
LOOKS = ((83, 3.4711), (167, 2.4544), (250, 2.0040))  # events, efficacy bound
STOPS = [f"{why}_look_{k}" for why in ("efficacy", "futility") for k in (1, 2, 3)][:5]


def cut(patients: list[Patient], now: float) -> list[Row]:
    """Those entered by calendar month now, followed to event, loss or now, whichever is first."""
    rows = []
    for entry, event, loss, arm in patients:
        if entry <= now:  # compares calendar months, so an event at now itself is counted
            seen = event <= loss and entry + event <= now
            rows.append((event if seen else min(loss, now - entry), seen, arm))
    return rows


def log_rank(rows: list[Row], fleming_harrington: bool = False) -> float:
    """z of the log-rank test, or of its FH(0,1) form with weight 1 - pooled KM just before t."""
    at_risk = [sum(arm == k for _, _, arm in rows) for k in (0, 1)]
    score, variance, survival = 0.0, 0.0, 1.0
    for _, event, arm in sorted(rows):
        if event:
            share = at_risk[1] / (at_risk[0] + at_risk[1])
            weight = 1.0 - survival if fleming_harrington else 1.0
            score += weight * (share - arm)  # expected minus observed among the treated
            variance += weight * weight * share * (1.0 - share)
            survival *= 1.0 - 1.0 / (at_risk[0] + at_risk[1])
        at_risk[arm] -= 1
    return score / math.sqrt(variance)


def cox_log_hr(rows: list[Row]) -> float:
    """Log hazard ratio of treated to control that maximises the partial likelihood (Newton)."""
    rows = sorted(rows, reverse=True)
    beta = 0.0
    for _ in range(7):  # quadratic convergence from 0: far more steps than it needs
        at_risk, score, information = [0, 0], 0.0, 0.0
        for _, event, arm in rows:
            at_risk[arm] += 1
            if event:
                share = at_risk[1] * math.exp(beta) / (at_risk[0] + at_risk[1] * math.exp(beta))
                score += arm - share
                information += share * (1.0 - share)
        beta += score / information
    return beta


def kaplan_meier(rows: list[Row], arm: int, tau: float) -> tuple[float, float, float, float]:
    """Of one arm at tau: survival, its Greenwood variance, area under the curve, its variance."""
    mine = sorted((time, event) for time, event, a in rows if a == arm)
    survival, area, last = 1.0, 0.0, 0.0
    steps: list[tuple[float, float]] = []  # area up to t, d / (n (n - d)) with d = 1
    for i, (time, event) in enumerate(mine):
        if event and time <= tau:
            n = len(mine) - i
            area += survival * (time - last)
            last = time
            survival *= 1.0 - 1.0 / n
            steps.append((area, 1.0 / (n * (n - 1))))
    area += survival * (tau - last)
    greenwood = survival**2 * sum(g for _, g in steps)
    # variance of the area: sum over event times of (area from t to tau)^2 d / (n (n - d))
    return survival, greenwood, area, sum((area - before) ** 2 * g for before, g in steps)


def trial_a(rng: random.Random, _: float) -> dict[str, float]:
    """Case A: 120:120, exponential medians 15 and 12, analysed at calendar month 18."""
    patients = []
    for arm in [0] * 120 + [1] * 120:
        event = rng.expovariate(math.log(2) / (15.0 if arm else 12.0))
        patients.append((6.0 * rng.random(), event, rng.expovariate(math.log(2) / 120.0), arm))
    rows = cut(patients, 18.0)
    s0, vs0, a0, va0 = kaplan_meier(rows, 0, 12.0)
    s1, vs1, a1, va1 = kaplan_meier(rows, 1, 12.0)
    return {
        "log_rank_power": log_rank(rows) > CRITICAL,
        "fleming_harrington_0_1_power": log_rank(rows, True) > CRITICAL,
        "km_difference_12_power": (s1 - s0) / math.sqrt(vs0 + vs1) > CRITICAL,
        "rmst_difference_12_power": (a1 - a0) / math.sqrt(va0 + va1) > CRITICAL,
        "mean_log_hr": cox_log_hr(rows),
        "mean_events": sum(event for _, event, _ in rows),
    }


def trial_b(rng: random.Random, delay: float) -> dict[str, float]:
    """Case B: 240:120, effect after the delay only, treated median 9 whatever the delay."""
    h0 = math.log(2) / 6.0
    h1 = (math.log(2) - h0 * delay) / (9.0 - delay)
    loss_scale = 25.0 / math.sqrt(-math.log(0.99))  # Weibull shape 2, 1% lost by month 25
    patients = []
    for arm in [0] * 120 + [1] * 240:
        entry = -math.log(1.0 - rng.random() * (1.0 - math.exp(-1.4))) / 0.1
        event = rng.expovariate(h0)
        if arm and event > delay:  # what is left beyond the delay runs at the later hazard
            event = delay + (event - delay) * h0 / h1
        patients.append((entry, event, rng.weibullvariate(loss_scale, 2.0), arm))
    return {"log_rank_power": log_rank(cut(patients, 25.0)) > CRITICAL}


def trial_c(rng: random.Random, hr: float) -> dict[str, float]:
    """Case C: 200:200, looks at 83, 167 and 250 events, binding futility at z <= 0."""
    patients = []
    for arm in rng.sample([0] * 200 + [1] * 200, 400):
        event = rng.expovariate(math.log(2) / 10.0 * (hr if arm else 1.0))
        patients.append((12.0 * rng.random(), event, rng.expovariate(0.01), arm))
    calendar = sorted(entry + event for entry, event, loss, _ in patients if event <= loss)
    out = dict.fromkeys(STOPS, 0.0)
    for look, (needed, bound) in enumerate(LOOKS, start=1):
        now = calendar[needed - 1]
        rows = cut(patients, now)
        z = log_rank(rows)
        if z > bound or (look < 3 and z <= 0.0):
            out[f"{'efficacy' if z > bound else 'futility'}_look_{look}"] = 1.0
            break
    return out | {"power": z > bound, "mean_stop_month": now, "mean_enrolled": len(rows)}


def run_chunk(case: str, setting: float, seed: str) -> list[dict[str, float]]:
    """Every figure of every trial in one chunk."""
    rng = random.Random(seed)
    trial = {"case_a": trial_a, "case_b": trial_b, "case_c": trial_c}[case]
    return [trial(rng, setting) for _ in range(CHUNK)]


def main() -> None:
    """Simulate every case on two processes and write value, standard error and replicates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--replicates", type=int, default=40000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    result: dict[str, object] = {"command": " ".join(["python", *sys.argv]), "seed": args.seed}
    plan = [("case_a", 0.0, "case_a")]
    plan += [("case_b", 0.5 * k, f"case_b_delay_{0.5 * k}") for k in range(10)]
    plan += [("case_c", hr, f"case_c_hr_{hr}") for hr in (0.7, 1.0)]
    with multiprocessing.Pool(2) as pool:
        for case, setting, name in plan:
            chunks = args.replicates * (3 if case == "case_b" else 4) // 4 // CHUNK
            tasks = [(case, setting, f"{args.seed}/{name}/{i}") for i in range(chunks)]
            trials = [t for part in pool.starmap(run_chunk, tasks, chunksize=1) for t in part]
            count, figures = len(trials), {}
            for key in trials[0]:
                mean = sum(t[key] for t in trials) / count
                error = math.sqrt(sum((t[key] - mean) ** 2 for t in trials) / (count - 1) / count)
                figures[key] = {"value": mean, "mc_se": error, "replicates": count}
            result[name] = figures
            print(name, {k: round(v["value"], 5) for k, v in figures.items()}, flush=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
