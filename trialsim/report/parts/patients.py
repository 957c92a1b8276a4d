"""One trial of a run: an abstract in words, and its patients as CSV or Parquet (``[parquet]``)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.engine.flawed_trials import FlawedTrial
from trialsim.engine.replay import ReplayedTrial
from trialsim.errors import Problem, RequestError
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import OutcomeEndpoint, SurvivalSummary
from trialsim.protocol.quantities import DAYS_PER_UNIT
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.text import endpoint_in_words, historical_in_words, table
from trialsim.trial import AnalysisPlan

__all__ = ["abstract", "first_patients", "patients_table", "write_patients"]

_SIGNIFICANT = 9  # digits of a day or a severity
_PATIENTS_SHOWN = 8


def abstract(
    resolved: ResolvedTemplate, plan: AnalysisPlan, trial: ReplayedTrial, seed: int
) -> str:
    """Return one trial as its abstract would tell it, the truth first."""
    protocol = resolved.template.protocol
    return " ".join(
        (
            f"{resolved.template.id}, trial {trial.replicate} of seed {seed}.",
            f"In truth: {trial.truth.label} ({trial.truth.title}).",
            _randomised(protocol, trial.patients["arm"]),
            _seen(protocol, plan, trial),
            *_verdict(plan, trial),
        )
    )


def _randomised(protocol: Protocol, arms: NDArray[Any]) -> str:
    if protocol.is_single_arm:
        return f"{len(arms):,} patients were recruited, all to {protocol.experimental.id}."
    sizes = [
        f"{int((arms == arm.id).sum()):,} to {arm.id}"
        for arm in (protocol.experimental, protocol.control)
    ]
    return f"{len(arms):,} patients were randomised, {' and '.join(sizes)}."


def _seen(protocol: Protocol, plan: AnalysisPlan, trial: ReplayedTrial) -> str:
    """Say how many had the event, of those the last look could see."""
    if isinstance(protocol.primary, OutcomeEndpoint):
        what = endpoint_in_words(protocol)
        return f"{what[0].upper()}{what[1:]}: each patient's is in the table."
    arms, events = trial.patients["arm"], trial.patients["event"].astype(float)
    parts = []
    both = (protocol.experimental, protocol.control)
    for arm in both[:1] if protocol.is_single_arm else both:
        own = events[(arms == arm.id) & np.isfinite(events)]
        rate = isinstance(plan.summary, SurvivalSummary) or not len(own)
        share = "" if rate else f" ({100 * own.mean():.1f}%)"
        parts.append(f"{int(own.sum())}/{len(own)}{share}")
    if protocol.is_single_arm:
        parts.append(historical_in_words(protocol.historical_value(protocol.primary.id)))
    what = endpoint_in_words(protocol)
    return f"{what[0].upper()}{what[1:]}: {' v '.join(parts)}."


def _verdict(plan: AnalysisPlan, trial: ReplayedTrial) -> Iterator[str]:
    final = trial.final
    if final.failed[0, 0]:
        yield "No analysis was possible: the trial counts as failed."
        return
    back = np.exp if plan.summary.is_ratio else float
    estimate, lower, upper = (
        f"{float(back(x[0, 0])):.3g}" for x in (final.estimate, final.lower, final.upper)
    )
    level = 100 * (1 - (plan.alpha if plan.sides == 2 else 2 * plan.alpha))
    p = "" if np.isnan(final.p_value[0, 0]) else f", P = {final.p_value[0, 0]:.2g}"
    found = "an effect was found" if final.rejected[0, 0] else "no effect was found"
    interval = f"{level:g}% CI {lower} to {upper}"
    yield f"Its {plan.summary} is {estimate} ({interval}){p}: {found} ({plan.in_words})."
    if plan.two_stage and final.enrolled[0, 0] < plan.n_total:
        yield f"It ended for futility after the first {plan.two_stage.first} patients."
    if plan.looks:
        why, day = " for futility" if trial.futile else "", float(final.day[0, 0])
        months = f", {day / DAYS_PER_UNIT['mo']:.1f} months after the first day of enrolment"
        when = months if np.isfinite(day) else ""
        yield f"It ended{why} at look {trial.stopped_at + 1} of {len(plan.looks)}{when}."


def first_patients(trial: ReplayedTrial) -> str:
    """Return the first patients as a table that fits a terminal."""
    names = [name for name in trial.patients if not name.startswith(("why_", "visit_"))]
    measured = [name for name in trial.patients if name.startswith("visit_")]
    if "event" not in names and measured:  # what was measured at the read-out
        names.insert(names.index("baseline") + 1 if "baseline" in names else 2, measured[-1])
    rows = islice(patients_table(trial), _PATIENTS_SHOWN)
    return table(names, [[_cell(row[name]) for name in names] for row in rows], folding=())


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def patients_table(trial: ReplayedTrial | FlawedTrial) -> Iterator[dict[str, Any]]:
    """Yield one row per patient; what is not known is None."""
    columns = {name: _plain(column) for name, column in trial.patients.items()}
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _plain(column: NDArray[Any]) -> list[Any]:
    if column.dtype == bool:
        return [int(value) for value in column]
    if np.issubdtype(column.dtype, np.floating):
        known = [value if np.isfinite(value) else None for value in column.tolist()]
        return [v if v is None else float(f"{v:.{_SIGNIFICANT}g}") for v in known]
    return list(column.tolist())


def write_patients(trial: ReplayedTrial | FlawedTrial, path: Path) -> Path:
    """Write the table to a new file, in the form its name ends in.

    Raises
    ------
    RequestError
        If it exists, ends in neither ``.csv`` nor ``.parquet``, or pyarrow is not installed.
    """
    if path.exists():
        raise _refused(path, "exists already", "Name another file.")
    rows = list(patients_table(trial))
    match path.suffix:
        case ".csv":
            with path.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        case ".parquet":
            try:
                arrow, parquet = (import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
            except ImportError:
                remedy = "Install it with: pip install 'trialsim[parquet]', or write .csv."
                raise _refused(path, "needs pyarrow, which is not installed", remedy) from None
            parquet.write_table(arrow.Table.from_pylist(rows), path)
        case _:
            raise _refused(path, "must end in .csv or .parquet", "Write for example trial.csv.")
    return path


def _refused(path: Path, rule: str, remedy: str) -> RequestError:
    return RequestError(Problem(rule, remedy, "--out", str(path)))
