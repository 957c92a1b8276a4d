"""What a literature names must be there: profiles of conduct, and records with an odds ratio."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.errors import did_you_mean
from trialsim.protocol.published.evidence import EffectEstimate, EffectMeasure, Pool
from trialsim.protocol.published.literature import Literature
from trialsim.protocol.reading.catalogue import Evidence, conduct_paths
from trialsim.protocol.rules.template import Broken

__all__ = ["literature_rules", "pooled_odds_ratio"]


def pooled_odds_ratio(name: str, evidence: Evidence) -> EffectEstimate | None:
    """Return the odds ratio of a pooled record, the first it states; None where there is none."""
    record = evidence.records.get(name)
    effects = record.effects if isinstance(record, Pool) else ()
    return next((e for e in effects if e.measure is EffectMeasure.ODDS_RATIO), None)


def literature_rules(literature: Literature, evidence: Evidence) -> Iterator[Broken]:
    """Find profiles and records that are not there, and records without a pooled odds ratio."""
    places: list[tuple[tuple[str | int, ...], str | None]] = [(("evidence",), literature.evidence)]
    for i, split in enumerate(literature.splits):
        for j, stratum in enumerate(split.strata):
            places.append((("splits", i, "strata", j, "evidence"), stratum.evidence))
    for location, name in places:
        if name is None:
            continue
        if name not in evidence.records:
            remedy = did_you_mean(name, evidence.known_ids, "'trialsim evidence' lists them.")
            yield Broken(location, "is not a known evidence id", remedy)
        elif pooled_odds_ratio(name, evidence) is None:
            remedy = "Name a pool with an odds ratio, or state it under `effect`."
            yield Broken(location, "states no pooled odds ratio", remedy)
    yield from _profiles(literature)


def _profiles(literature: Literature) -> Iterator[Broken]:
    shipped, own = set(conduct_paths()), {profile.id for profile in literature.profiles}
    for i, profile in enumerate(literature.profiles):
        if profile.id in shipped:
            rule = "is the id of a shipped profile"
            yield Broken(("profiles", i, "id"), rule, "Give yours another.")
    for i, chosen in enumerate(literature.conduct):
        for place, name in chosen.conduct.items():
            if name not in shipped | own:
                listed = f"Name {', '.join(sorted(shipped | own))}, or add it under `profiles`."
                remedy = did_you_mean(name, sorted(shipped | own), listed)
                yield Broken(("conduct", i, "conduct", place), "is no profile of conduct", remedy)
