"""Arms that differed at entry, for screen and report: what is found where there is no effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from trialsim.protocol.endpoints import MeasuredTest
from trialsim.protocol.outcomes import Measured
from trialsim.protocol.truths.imbalance import ImbalancedTrial, imbalanced_trials
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.report.text import table, wrapped

__all__ = ["ImbalanceTable", "imbalance_lines", "imbalance_tables"]

Rows = Sequence[dict[str, Any]]

_WORDS = {
    MeasuredTest.CHANGE: "change from entry (t-test)",
    MeasuredTest.T_TEST: "read-out alone (t-test)",
    MeasuredTest.ANCOVA: "read-out adjusted for entry (ANCOVA)",
}


class ImbalanceTable(NamedTuple):
    """A caption, a header, lines as long as it, and what they rest on."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    legend: str


def imbalance_tables(resolved: ResolvedTemplate, rows: Rows) -> Iterator[ImbalanceTable]:
    """Yield a table per trial whose arms differed at entry; rows as in the document of a result."""
    for trial in imbalanced_trials(resolved):
        own = [
            row
            for row in rows
            if row.get("evidence") == trial.trial.id and row["measure"].endswith("_imbalanced")
        ]
        if own:
            yield _table(resolved, trial, own)


def imbalance_lines(resolved: ResolvedTemplate, rows: Rows) -> str:
    """Return the tables as a terminal shows them; empty where there are none."""
    drawn = [
        f"{wrapped(told.caption)}\n{table(told.header, told.rows)}\n{wrapped(told.legend)}"
        for told in imbalance_tables(resolved, rows)
    ]
    return "\n\n".join(drawn)


def _table(resolved: ResolvedTemplate, trial: ImbalancedTrial, rows: Rows) -> ImbalanceTable:
    caption = (
        f"{trial.endpoint.id} differed at entry in {trial.trial.title}: {trial.treated:g} v "
        f"{trial.control:g} {trial.endpoint.unit}. What such a trial finds where there is no effect"
    )
    header = ("analysis", "mean difference", "exact", "significant, in\nfavour of treatment")
    lines = tuple(_line(test, rows) for test in _WORDS)
    published = f" {trial.trial.title} published {trial.published}." if trial.published else ""
    model = resolved.template.nature.outcomes[trial.endpoint.id]
    assert isinstance(model, Measured)
    assert model.baseline is not None  # it names the trial
    assumed = (
        f"Taken as: SD {model.baseline.sd:g} at entry, correlation {model.baseline.correlation:g} "
        f"with the read-out, {trial.patients_per_arm} patients per arm. {trial.note or ''}"
    ).rstrip()
    how = (
        f"Trials drawn given those means, {rows[0]['n_replicates']:,} of them; +- is one Monte "
        "Carlo standard error. A low value at entry rises by itself: regression to the mean, "
        "which a change score takes for an effect."
    )
    return ImbalanceTable(caption, header, lines, f"{how}{published} {assumed}")


def _line(test: MeasuredTest, rows: Rows) -> tuple[str, ...]:
    own = [row for row in rows if row["analysis"] == str(test)]
    estimated = next(r for r in own if r["measure"] == "estimate_imbalanced" and "mcse" in r)
    exact = next(r for r in own if r["measure"] == "estimate_imbalanced" and "mcse" not in r)
    found = next(r for r in own if r["measure"] == "power_imbalanced")
    return (
        _WORDS[test],
        f"{estimated['value']:+.2f} +-{estimated['mcse']:.2f}",
        f"{exact['value']:+.2f}",
        f"{100 * found['value']:.1f} % +-{100 * found['mcse']:.1f}",
    )
