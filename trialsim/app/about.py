"""What a page must know of a protocol to draw its form, read in a worker."""

from __future__ import annotations

from dataclasses import dataclass

from trialsim.errors import Problem, TrialsimError

__all__ = ["About", "about_template"]


@dataclass(frozen=True)
class About:
    """A protocol in the words a form needs.

    Attributes
    ----------
    scenarios : tuple of (id, title, status)
    variants : tuple of (id, title)
    observed : tuple of str
        Ids of the published results it is held against.
    records : tuple of (id, title, kind)
        Those it is held against, then the others it cites.
    kind : str
        Of the primary endpoint: ``binary``, ``time-to-event``, ...
    better : str
        ``lower`` or ``higher``: whether the primary endpoint is to be rare and small.
    first_truth : str
        Id of the first scenario with an effect; of the first one, where there is none.
    flaws : tuple of (mechanism, rule)
        Flaws of the profile ``bias-lab`` that cannot act in it, and why.
    problems : tuple of Problem
        Why it cannot be read; all else is then empty.
    """

    id: str = ""
    title: str = ""
    kind: str = ""
    n_total: int | None = None
    arms: tuple[str, ...] = ()
    scenarios: tuple[tuple[str, str, str], ...] = ()
    variants: tuple[tuple[str, str], ...] = ()
    observed: tuple[str, ...] = ()
    records: tuple[tuple[str, str, str], ...] = ()
    better: str = "lower"
    first_truth: str = ""
    flaws: tuple[tuple[str, str], ...] = ()
    problems: tuple[Problem, ...] = ()


def about_template(name: str) -> About:
    """Read a protocol, shipped or a file."""
    from trialsim.protocol.reading.load import load_conduct, load_template
    from trialsim.report.screens.protocol_screen import records_of
    from trialsim.studies.conduct.bias import refused_flaws

    try:
        resolved = load_template(name)
    except TrialsimError as error:
        return About(problems=error.problems)
    template = resolved.template
    protocol, refused = template.protocol, {}
    if not protocol.is_single_arm:
        refused = refused_flaws(resolved, load_conduct("bias-lab"))
    acting = [s.id for s in template.scenarios if not resolved.truth(s).is_null]
    return About(
        template.id,
        template.title,
        str(protocol.primary.kind),
        protocol.n_total,
        tuple(arm.id for arm in protocol.arms),
        tuple((s.id, s.title or s.id, resolved.status_of(s)) for s in template.scenarios),
        tuple((v.id, v.title) for v in template.variants),
        tuple(dict.fromkeys(o.evidence for o in template.observed)),
        tuple((r.id, r.title, r.kind) for r in records_of(resolved).values()),
        str(protocol.primary.better),
        (acting or [template.scenarios[0].id])[0],
        tuple((str(mechanism), problem.rule) for mechanism, problem in refused.items()),
    )
