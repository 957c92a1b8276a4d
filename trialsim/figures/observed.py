"""Each observed effect inside its simulated distribution."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trialsim.figures.style import BLUE, GREY, INK, ORANGE, house_style, new_figure, ratio_axis
from trialsim.protocol.endpoints import Summary
from trialsim.studies.observed import (
    ObservedPool,
    ObservedTrial,
    Placement,
    out_of_100,
    seen_in_words,
    surprises,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["observed_figure", "pools_panel", "trial_panel"]


_OFF = 3.0  # a factor of 20 on the log scale: where a median that is not reached is drawn


def trial_panel(axes: Axes, trial: ObservedTrial, placed: Sequence[Placement]) -> Axes:
    """Draw one published trial among trials simulated under each scenario.

    A thin line holds 95% of simulated estimates, a thick one 50%, the dot is the median. The
    vertical line is the published estimate, the band its 95% interval.
    """
    back = np.exp if trial.plan.summary.is_ratio else np.asarray
    if trial.lower is not None and trial.upper is not None:
        ends = (float(back(trial.lower)), float(back(trial.upper)))
        axes.axvspan(*ends, color=ORANGE, alpha=0.12, lw=0)
    axes.axvline(float(back(trial.estimate)), color=ORANGE, lw=1.8)
    axes.axvline(1.0 if trial.plan.summary.is_ratio else 0.0, color=GREY, lw=0.8, ls=":")
    rows = range(len(placed))
    for y, p in zip(rows, placed, strict=True):
        low, q1, middle, q3, high = back(np.nan_to_num(p.quantiles, posinf=_OFF, neginf=-_OFF))
        axes.plot([low, high], [y, y], color=BLUE, lw=1.2)
        axes.plot([q1, q3], [y, y], color=BLUE, lw=5, solid_capstyle="butt")
        axes.plot([middle], [y], "o", color="white", mec=INK, ms=5)
        if p.looks_worse is not None:
            mcse = 100 * (p.below.mcse or 0) if p.below else 0.0
            note = f"{out_of_100(p.looks_worse)} +-{mcse:.1f} of 100 look worse"
            note += f" ({p.relation})" if p.relation == "same data" else ""
            axes.text(1.01, y, note, transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    axes.set_yticks(list(rows), [_scenario_label(p) for p in placed])
    axes.set_ylim(len(placed) - 0.4, -0.6)
    axes.set_title(
        f"{trial.record.title}, {trial.n_total:,} patients: {seen_in_words(trial)}",
        loc="left",
        fontsize=10,
        fontweight="bold",
    )
    if trial.plan.summary.is_ratio:
        ratio_axis(axes)
    return axes


def _scenario_label(placed: Placement) -> str:
    truth = placed.truth
    words = truth.label if truth.label == truth.title else f"{truth.label}, {truth.title}"
    return textwrap.fill(words, 46)


def pools_panel(axes: Axes, pools: Sequence[ObservedPool]) -> Axes:
    """Draw pooled results for comparison; they have no place in a one-trial distribution."""
    for y, pool in enumerate(pools):
        low, high = pool.effect.ci or (pool.effect.value, pool.effect.value)
        axes.plot([low, high], [y, y], color=INK, lw=1.2)
        axes.plot([pool.effect.value], [y], "D", color=INK, ms=6)
        weak = f", {pool.effect.status.value.upper()}" if pool.effect.status.is_weak else ""
        axes.text(
            1.01,
            y,
            f"{pool.effect.value:.2f} ({low:.2f} to {high:.2f}){weak}",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
        )
    ratio = pools[0].effect.measure.value != Summary.RISK_DIFFERENCE.value
    axes.axvline(1.0 if ratio else 0.0, color=GREY, lw=0.8, ls=":")
    axes.set_yticks(list(range(len(pools))), [pool.record.title for pool in pools])
    axes.set_ylim(len(pools) - 0.4, -0.6)
    axes.set_title(
        "Pooled results (not simulated as one trial)", loc="left", fontsize=10, fontweight="bold"
    )
    return axes


def observed_figure(
    trials: Sequence[tuple[ObservedTrial, Sequence[Placement]]], pools: Sequence[ObservedPool]
) -> tuple[Figure, str]:
    """Return the whole figure and its alternative text.

    Parameters
    ----------
    trials : sequence of (ObservedTrial, placements)
        At least one of them placed.
    pools : sequence of ObservedPool
    """
    summary = next(trial.plan.summary for trial, placed in trials if placed)
    shown = [(t, placed) for t, placed in trials if placed and t.plan.summary is summary]
    pools = [p for p in pools if p.effect.measure.value == summary.value]  # one axis
    rows = [*(len(placed) for _, placed in shown), *([len(pools)] if pools else [])]
    title = _finding(shown)
    with house_style():
        figure = new_figure(9.6, 1.3 + sum(0.34 * n + 0.65 for n in rows))
        panels = figure.subplots(
            len(rows),
            1,
            sharex=True,
            squeeze=False,
            gridspec_kw={"height_ratios": [n + 0.8 for n in rows]},
        )[:, 0]
        for axes, (trial, placed) in zip(panels, shown, strict=False):
            trial_panel(axes, trial, placed)
        if pools:
            pools_panel(panels[-1], pools)
        plan = shown[0][0].plan
        side = "right" if shown[0][0].higher_is_better else "left"
        panels[-1].set_xlabel(
            f"{plan.summary}, treated to control ({side} is better for treatment)"
        )
        figure.suptitle(textwrap.fill(title, 100), x=0.01, ha="left", fontsize=11.5)
    return figure, _alt_text(shown, pools, title)


def _finding(trials: Sequence[tuple[ObservedTrial, Sequence[Placement]]]) -> str:
    """Say in one sentence which trial lies outside which simulated distribution."""
    outside = [
        f"{trial.record.title} if the truth is {' or '.join(labels)}"
        for trial, placed in trials
        if (labels := [p.truth.label for p in placed if surprises(p)])
    ]
    if not outside:
        return "Each published trial lies inside the central 95% of its simulations at every truth."
    return f"Outside the central 95% of simulated trials: {'; '.join(outside)}."


def _alt_text(
    trials: Sequence[tuple[ObservedTrial, Sequence[Placement]]],
    pools: Sequence[ObservedPool],
    title: str,
) -> str:
    parts = [title]
    for trial, placed in trials:
        counts = [
            f"{out_of_100(p.looks_worse)} under {p.truth.label}"
            for p in placed
            if p.looks_worse is not None
        ]
        parts.append(
            f"{trial.record.title}: {seen_in_words(trial)}. "
            f"Simulated trials out of 100 that look worse: {', '.join(counts)}."
        )
    if pools:
        parts.append("Pooled: " + "; ".join(f"{p.record.title} {p.effect}" for p in pools) + ".")
    return " ".join(parts)
