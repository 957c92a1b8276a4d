"""Prognosis by arm, flaw by flaw; and one trial before and after its flaws, patient by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trialsim.engine.flawed_trials import FlawedTrial
from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure
from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.design import Protocol
from trialsim.studies.conduct.bias import PlannedBias
from trialsim.trial import Measure, Row, StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Mark", "flawed_figures", "imbalance_figure", "marks_of", "trial_figure"]

_Z95 = 1.96
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_GOLDEN = 0.6180339887  # spreads marks evenly over a row
_LEFT_OUT = 4  # the row of those who are not analysed


def flawed_figures(
    planned: PlannedBias, result: StudyResult, trial: FlawedTrial | None
) -> dict[str, tuple[Figure, str]]:
    """Return the figures there are: prognosis where it is known, and the trial if one is given."""
    found = {}
    if _imbalances(result):
        found["imbalance"] = imbalance_figure(planned, result)
    if trial:
        found["onetrial"] = trial_figure(planned, trial)
    return found


def _imbalances(result: StudyResult) -> list[Row]:
    return [
        row
        for row in result.rows
        if row.measure is Measure.BASELINE_IMBALANCE and row.value is not None
    ]


def imbalance_figure(planned: PlannedBias, result: StudyResult) -> tuple[Figure, str]:
    """Return how much better the prognosis of the treated is, flaw by flaw, and a text of it."""
    rows = _imbalances(result)
    keys = list(dict.fromkeys((row.mechanism, row.strength) for row in rows))
    labels = [_label(*key) for key in keys]
    told = []
    with house_style():
        n = len(planned.scenarios)
        figure = new_figure(9.6, 1.5 + (0.3 + 0.08 * n) * len(keys))
        axes = figure.subplots()
        for index, scenario in enumerate(planned.scenarios):
            own = [row for row in rows if row.scenario == scenario.id]
            shift = 0.0 if n == 1 else 0.5 * (index / (n - 1) - 0.5)
            y = [keys.index((row.mechanism, row.strength)) + shift for row in own]
            x = [row.value or 0.0 for row in own]
            axes.errorbar(
                x,
                y,
                xerr=[_Z95 * (row.mcse or 0.0) for row in own],
                fmt=_MARKERS[index % len(_MARKERS)],
                color=INK,
                mfc=INK if index % 2 == 0 else "white",
                ms=6,
                lw=1.1,
                label=scenario.id,
            )
            shown = ", ".join(
                f"{_label(r.mechanism, r.strength)} {r.value or 0.0:+.3f}" for r in own
            )
            told.append(f"{scenario.id}: {shown}")
        axes.axvline(0.0, color=GREY, lw=0.9, ls=":")
        axes.set_yticks(range(len(keys)), labels)
        axes.set_ylim(len(keys) - 0.4, -0.6)
        axes.set_xlabel(
            "prognosis of the treated less that of controls, SD (right: treated better); lines: "
            "1.96 Monte Carlo errors"
        )
        if n > 1:
            axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        title = "Baseline imbalance by prognosis, among those analysed in trials published"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    return figure, f"{title}, conduct {planned.conduct.id}. {'. '.join(told)}."


def _label(mechanism: str | None, strength: float | None) -> str:
    if strength is not None:
        return f"{mechanism} at {strength:g}"
    return {"none": "no flaw", "all": "all of them"}.get(str(mechanism), str(mechanism))


@dataclass(frozen=True)
class Mark:
    """A patient in the figure of one trial.

    Attributes
    ----------
    patient : int
        From 1, in order of arrival.
    x : float
        Prognosis in SDs, larger is better; the patient's number where nothing is known of it.
    planned, reported : int
        Rows: 0 and 1 the treated with the event and without (of what is no yes or no, with the
        unfavourable outcome and without), 2 and 3 controls, 4 not analysed.
    treated_planned, treated_reported : bool
    flaws : tuple of str
        Which touched the patient.
    """

    patient: int
    x: float
    planned: int
    reported: int
    treated_planned: bool
    treated_reported: bool
    flaws: tuple[str, ...]


def marks_of(trial: FlawedTrial, protocol: Protocol) -> list[Mark]:
    """Return a mark for every patient."""
    seen, experimental = trial.patients, protocol.experimental.id
    xs = seen.get("prognosis_sd", seen["patient"])
    return [
        Mark(
            patient=int(seen["patient"][i]),
            x=float(xs[i]),
            planned=_row(seen, "planned", i, experimental),
            reported=_row(seen, "reported", i, experimental),
            treated_planned=bool(seen["arm_planned"][i] == experimental),
            treated_reported=bool(seen["arm_reported"][i] == experimental),
            flaws=tuple(str(seen["touched_by"][i]).split("; ")) if seen["touched_by"][i] else (),
        )
        for i in range(len(seen["patient"]))
    ]


def _row(seen: dict[str, Any], when: str, index: int, experimental: str) -> int:
    if not seen[f"analysed_{when}"][index]:
        return _LEFT_OUT
    control = seen[f"arm_{when}"][index] != experimental
    own = seen[_first_row(seen, when)][index]
    return 2 * int(control) + int(not own)


def _first_row(seen: dict[str, Any], when: str) -> str:
    """Return the column of the upper row of an arm: the event, or the unfavourable outcome."""
    name = f"unfavourable_{when}"
    return name if name in seen else f"event_{when}"


def trial_figure(planned: PlannedBias, trial: FlawedTrial) -> tuple[Figure, str]:
    """Return one trial as planned and as reported, and a text of it.

    Parameters
    ----------
    planned : PlannedBias
    trial : FlawedTrial
        Of its `replay`.
    """
    protocol = planned.job.protocol
    marks = marks_of(trial, protocol)
    touching = [m for m in trial.conduct.mechanisms if any(str(m) in k.flaws for k in marks)]
    arms = (protocol.experimental.id, protocol.control.id)
    counted = trial.counts_planned is not None
    rows = ("event", "no event") if counted else ("unfavourable", "not so")
    labels = [f"{arm},\n{what}" for arm in arms for what in rows]
    known = "prognosis_sd" in trial.patients
    told = []
    with house_style():
        figure = new_figure(10.4, 5.2)
        both = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, when in zip(both, ("planned", "reported"), strict=True):
            panel = _panel(axes, marks, when, touching, known=known)
            told.append(panel if counted else panel.replace("the event", "an unfavourable outcome"))
            axes.set_title(f"as {when}: {_estimate(planned, trial, when)}", loc="left", fontsize=10)
            axes.set_yticks(range(5), [*labels, "not analysed"])
            axes.set_ylim(4.6, -0.6)
            axes.set_xlabel("prognosis, SD (right: better)" if known else "patient")
        handles = both[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
        out = {None: "", True: ", published", False: ", not published"}[trial.published]
        title = (
            f"Trial {trial.replicate}, {trial.truth.scenario}, conduct {trial.conduct.id}{out}: "
            "the same patients before and after"
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
    return figure, f"{title}. {'. '.join(told)}."


def _panel(
    axes: Axes, marks: Sequence[Mark], when: str, touching: Sequence[Mechanism], *, known: bool
) -> str:
    """Draw one panel: a mark per patient, its shape by the first flaw that touched it."""
    rows = [getattr(mark, when) for mark in marks]
    y = np.array(rows) + 0.7 * (np.array([m.patient for m in marks]) * _GOLDEN % 1 - 0.5)
    x = np.array([mark.x for mark in marks])
    first = np.array([mark.flaws[0] if mark.flaws else "" for mark in marks])
    size = 3.2 if len(marks) <= 400 else 2.0
    free = first == ""
    axes.plot(x[free], y[free], ".", color=GREY, ms=size, label="touched by no flaw")
    for index, mechanism in enumerate(touching):
        own = first == str(mechanism)
        axes.plot(
            x[own],
            y[own],
            _MARKERS[index % len(_MARKERS)],
            color=ORANGE if index % 2 == 0 else BLUE,
            mfc=ORANGE if index % 2 == 0 else "white",
            mec=INK if index % 2 == 0 else BLUE,
            ms=size + 3.0,
            label=str(mechanism),
        )
    for edge in (1.5, 3.5):
        axes.axhline(edge, color=GREY, lw=0.7)
    if known:
        for treated, top in ((True, -0.5), (False, 1.5)):
            own_x = [
                m.x
                for m in marks
                if getattr(m, when) != _LEFT_OUT and getattr(m, f"treated_{when}") is treated
            ]
            name = "mean prognosis of the arm" if treated else None
            axes.plot([np.mean(own_x)] * 2, [top, top + 2], color=INK, lw=1.4, ls="--", label=name)
    counts = [rows.count(row) for row in range(5)]
    return (
        f"As {when}: treated {counts[0]} with the event and {counts[1]} without, control "
        f"{counts[2]} and {counts[3]}, not analysed {counts[4]}"
    )


def _estimate(planned: PlannedBias, trial: FlawedTrial, when: str) -> str:
    results, plan = getattr(trial, when), planned.job.plans[0]
    if results.failed[0, -1]:
        return "no analysis"
    back = np.exp if plan.summary.is_ratio else float
    shown = float(back(results.estimate[0, -1]))
    return f"{plan.summary.short} {shown:.3g}, P = {results.p_value[0, -1]:.2g}"
