"""Shipped literatures and conflicts at a glance, read as plain data: no model is built."""

from __future__ import annotations

from typing import Any

from trialsim.protocol.reading.nodes import plain, read_file
from trialsim.protocol.reading.places import literature_paths, reconciliation_paths
from trialsim.report.text import wrapped

__all__ = ["conflict_rows", "conflicts_listed", "literature_rows", "literatures_listed"]


def literature_rows() -> list[dict[str, Any]]:
    """Return one row per shipped literature."""
    found: list[dict[str, Any]] = []
    for name, path in literature_paths().items():
        own = plain(read_file(path))
        found.append(
            {
                "literature": name,
                "title": own["title"],
                "template": own.get("template"),
                "n_trials": len(own["trials"]),
                "n_splits": len(own["splits"]),
                "n_conducts": 1 + len(own.get("conduct", ())),  # chance alone comes first
            }
        )
    return found


def literatures_listed(program: str) -> str:
    """Return the shipped literatures as lines of ``trialsim list``."""
    lines = ["Literatures, to simulate and pool:"]
    for row in literature_rows():
        words = (
            f"{row['title']}: {row['n_trials']} trials, {row['n_splits']} splits, "
            f"{row['n_conducts']} sets of conduct"
        )
        lines.append(wrapped(words, " " * 21, f"{row['literature']:20} "))
        lines.append(f"{'':20} {program} show {row['literature']}")
        lines += [f"{'':20} {program} synthesise {row['template']}"] if row["template"] else []
    return "\n".join(lines)


def conflict_rows() -> list[dict[str, Any]]:
    """Return one row per shipped conflict of published results."""
    found: list[dict[str, Any]] = []
    for name, path in reconciliation_paths().items():
        own = plain(read_file(path))
        found.append(
            {
                "conflict": name,
                "title": own["title"],
                "template": own["template"],
                "n_records": len(own["records"]),
                "n_explanations": len(own["explanations"]),
                "n_alternatives": len(own.get("alternatives", ())),
                "n_candidates": len(own.get("candidates", ())),
            }
        )
    return found


def conflicts_listed(program: str) -> str:
    """Return the shipped conflicts, as ``trialsim list`` and ``trialsim reconcile`` print them."""
    lines = ["Conflicts of published results, to reconcile:"]
    for row in conflict_rows():
        name, own = row["conflict"], row["conflict"] == row["template"]
        words = (
            f"{name}: {row['title']}; {row['n_records']} records, {row['n_explanations']} "
            f"explanations, {row['n_candidates']} next trials"
        )
        lines.append(wrapped(words, "    ", ""))
        lines.append(f"  {program} show {name}{' --conflict' if own else ''}")
        lines.append(f"  {program} reconcile {'' if own else '--conflict '}{name}")
    return "\n".join(lines)
