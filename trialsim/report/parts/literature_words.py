"""A literature and a profile of conduct in words: what is published of them, what assumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trialsim.protocol.conduct import Conduct, Strength
from trialsim.protocol.published.literature import ConductSet, Literature, Patients
from trialsim.protocol.published.trials import PublishedStudy
from trialsim.protocol.quantities import SourcedNumber
from trialsim.protocol.reconciliation import Reconciliation
from trialsim.report.text import table, wrapped

__all__ = [
    "TRIALS_HEADER",
    "conduct_checked",
    "literature_checked",
    "literature_lines",
    "literature_screen",
    "literature_trial_rows",
    "reconciliation_checked",
    "table_checked",
    "trials_alike",
]

TRIALS_HEADER = ("trials", "patients", "from", "control risk", "from", "strata")
_ASSUMED = "assumed"
_NAMED = 3  # trials that are named before the rest are counted


def literature_screen(literature: Literature) -> str:
    """Return a literature in words, trial by trial."""
    parts = [wrapped(f"{literature.id.upper()}   {literature.title}")]
    if literature.note:
        parts.append(wrapped(literature.note))
    lines = [
        (
            trial.id,
            *_sizes(trial.n_treated, trial.n_control),
            f"{100 * trial.control_risk.value:.3g}%",
            _origin(trial.control_risk),
            ", ".join(trial.strata.values()),
        )
        for trial in literature.trials
    ]
    header = ("trial", "patients", "from", "control risk", "from", "strata")
    parts.append(table(header, lines, folding=(2, 4)))
    parts.append(wrapped(_assumed_sizes(literature)))
    for split in literature.splits:
        sides = "; ".join(
            f"{stratum.title} ({len(literature.within(split.id, stratum.id))}), "
            f"{stratum.evidence or (stratum.effect and stratum.effect.status.value) or 'unknown'}"
            for stratum in split.strata
        )
        note = f" {split.note}" if split.note else ""
        parts.append(wrapped(f"Split '{split.id}', {split.title}: {sides}.{note}"))
    truths = ", ".join(
        f"{ratio.value:g} ({_origin(ratio)})" for ratio in literature.true_odds_ratios
    )
    parts.append(wrapped(f"True odds ratios unless others are named: {truths}."))
    parts += [wrapped(_set_in_words(own)) for own in literature.conduct]
    parts += [wrapped(_profile_in_words(own)) for own in literature.profiles]
    return "\n\n".join(parts)


def literature_lines(literature: Literature) -> str:
    """Return which trials a literature has, by size, control risk and stratum."""
    return table(TRIALS_HEADER, trials_alike(literature), folding=(2, 4))


def trials_alike(literature: Literature) -> list[tuple[str, ...]]:
    """Return how many trials are alike in size, control risk and stratum, and who says so."""
    alike: dict[tuple[str, ...], int] = {}
    for trial in literature.trials:
        key = (
            *_sizes(trial.n_treated, trial.n_control),
            f"{100 * trial.control_risk.value:.3g}%",
            _origin(trial.control_risk),
            ", ".join(trial.strata.values()),
        )
        alike[key] = alike.get(key, 0) + 1
    return [(str(n), *key) for key, n in alike.items()]


def literature_trial_rows(literature: Literature) -> Iterator[dict[str, object]]:
    """Yield one flat row per trial, as ``trialsim show --json`` prints them."""
    for trial in literature.trials:
        yield {
            "trial": trial.id,
            "n_treated": trial.n_treated.value,
            "n_control": trial.n_control.value,
            "n_from": _sizes(trial.n_treated, trial.n_control)[1],
            "control_risk": trial.control_risk.value,
            "control_risk_from": _origin(trial.control_risk),
            **{f"stratum_{split}": stratum for split, stratum in trial.strata.items()},
        }


def literature_checked(literature: Literature) -> str:
    """Return what ``trialsim check`` says of a literature."""
    n = sum(trial.n_total for trial in literature.trials)
    return (
        f"a literature. {literature.title}: {len(literature.trials)} trials, {n:,} patients, "
        f"{len(literature.splits)} splits, {len(literature.conduct)} sets of conduct.\n"
        f"  {_assumed_sizes(literature)}"
    )


def reconciliation_checked(file: Reconciliation) -> str:
    """Return what ``trialsim check`` says of a reconciliation."""
    silent = [own.id for own in file.explanations if not file.has_data(own)]
    told = (
        f"a reconciliation. {file.title}: {len(file.records)} records, "
        f"{len(file.explanations)} explanations, {len(file.candidates)} candidates."
    )
    return f"{told}\n  without data: {', '.join(silent)}" if silent else told


def conduct_checked(profile: Conduct) -> str:
    """Return what ``trialsim check`` says of a profile of conduct."""
    assumed = [
        str(mechanism)
        for mechanism in profile.mechanisms
        if getattr(profile.of(mechanism).strength, "source", None) is None
    ]
    told = f"a profile of conduct. {profile.title}: {_flaws(profile)}."
    return f"{told}\n  assumed, without a source: {', '.join(assumed)}" if assumed else told


def table_checked(studies: Sequence[PublishedStudy]) -> str:
    """Return what ``trialsim check`` says of a table of trials."""
    counts = [study.counts for study in studies if study.counts]
    n = sum(own.n_treated + own.n_control for own in counts)
    events = sum(own.events_treated + own.events_control for own in counts)
    return f"a table of trials: {len(studies)} trials, {n:,} patients, {events:,} events."


def _sizes(treated: Patients, control: Patients) -> tuple[str, str]:
    return f"{treated.value} v {control.value}", _origin(treated)


def _origin(number: SourcedNumber) -> str:
    return number.source or number.note or _ASSUMED


def _assumed_sizes(literature: Literature) -> str:
    """Say of how many trials the size, and the control risk, is not published."""
    trials = literature.trials
    sizes = [t.id for t in trials if not (t.n_treated.source and t.n_control.source)]
    risks = [t.id for t in trials if not t.control_risk.source]
    if not sizes and not risks:
        return "Every size and control risk has a source."
    return (
        f"Without a source: the size of {len(sizes)} of {len(trials)} trials"
        f"{_some(sizes)}, the control risk of {len(risks)}{_some(risks)}."
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f" ({shown}{more})" if names else ""


def _set_in_words(own: ConductSet) -> str:
    who = "; ".join(f"{place}: {profile}" for place, profile in own.conduct.items())
    return f"Conduct '{own.id}', {own.title}. {who}; the rest rigorous."


def _profile_in_words(own: Conduct) -> str:
    note = f" {own.note}" if own.note else ""
    return f"Profile '{own.id}', {own.title}: {_flaws(own)}.{note}"


def _flaws(profile: Conduct) -> str:
    strengths = [(str(m), profile.of(m).strength) for m in profile.mechanisms]
    told = [f"{name} {_strength(strength)}" for name, strength in strengths]
    return ", ".join(told) or "no flaw"


def _strength(strength: Strength) -> str:
    spread = f" (SD {strength.sd:g})" if strength.sd else ""
    return f"{strength.value:g}{spread}"
