"""What ``trialsim synthesise`` prints: a literature, what it pools to, and the gap published."""

from __future__ import annotations

from trialsim.protocol.literature import Literature
from trialsim.report.text import table, wrapped

__all__ = ["literature_lines"]


def literature_lines(literature: Literature) -> str:
    """Return which trials a literature has, by size, control risk and stratum."""
    alike: dict[tuple[str, ...], int] = {}
    for trial in literature.trials:
        risk = f"{100 * trial.control_risk.value:g}%"
        arms = f"{trial.n_treated.value} v {trial.n_control.value}"
        stated = (trial.control_risk.source or trial.control_risk.note or "assumed").strip()
        key = (arms, risk, stated, ", ".join(trial.strata.values()))
        alike[key] = alike.get(key, 0) + 1
    lines = [(str(n), *key) for key, n in alike.items()]
    head = ("trials", "patients", "control risk", "which is", "strata")
    return f"{wrapped(f'{literature.id.upper()}   {literature.title}')}\n\n{table(head, lines)}"
