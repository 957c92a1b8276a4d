"""Two published strata of one review compared, and who says which number.

What is pooled are published estimates with their intervals: a shipped literature says which strata
a review has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from trialsim.kernels.pooling import Difference, Pooled, by_normal, pooled_difference
from trialsim.kernels.random_effects import Estimator, random_effects
from trialsim.protocol.published.evidence import Document, EffectEstimate, Pool, Status
from trialsim.protocol.published.literature import Literature, Split, Stratum
from trialsim.protocol.reading.catalogue import Evidence, literature_paths
from trialsim.protocol.reading.load import load_literature
from trialsim.protocol.rules.literature import pooled_odds_ratio
from trialsim.protocol.truths.resolved import ResolvedTemplate
from trialsim.trial import Measure, Row

__all__ = ["StrataPair", "published_strata", "published_strata_rows", "published_strata_texts"]

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class PublishedStratum:
    """One stratum as it was published.

    Attributes
    ----------
    said_by : str
        Who says the number, and who says which trials it holds.
    """

    stratum: Stratum
    effect: EffectEstimate
    said_by: str

    @property
    def pooled(self) -> Pooled:
        """The log odds ratio, its standard error from the interval."""
        assert self.effect.ci is not None
        low, high = np.log(self.effect.ci)
        one, unknown = np.ones(1, int), np.full(1, np.nan)
        estimate, se = np.log([self.effect.value]), np.array([(high - low) / (2 * _Z95)])
        return by_normal(estimate, se, unknown, one, one, 0.95)


@dataclass(frozen=True)
class StrataPair:
    """Two strata that part the trials of a review."""

    literature: Literature
    split: Split
    first: PublishedStratum
    second: PublishedStratum

    @property
    def difference(self) -> Difference:
        """Log ratio of the odds ratios, first to second."""
        return pooled_difference(self.first.pooled, self.second.pooled)

    @property
    def status(self) -> Status:
        """How far what follows from both can be relied on: as far as the weaker."""
        weak = [s.effect.status for s in (self.first, self.second) if s.effect.status.is_weak]
        return weak[0] if weak else Status.DERIVED

    @property
    def together(self) -> tuple[float, float, float]:
        """Both pooled by inverse variance: odds ratio and its interval."""
        both = (self.first.pooled, self.second.pooled)
        y = np.array([[one.estimate[0] for one in both]])
        v = np.array([[one.standard_error[0] ** 2 for one in both]])
        found = random_effects(y, v, Estimator.EQUAL_EFFECTS)
        value, low, high = (float(np.exp(x[0])) for x in (found.estimate, found.lower, found.upper))
        return value, low, high


def published_strata(resolved: ResolvedTemplate, shown: Collection[str]) -> list[StrataPair]:
    """Return the strata of reviews that are among the records shown.

    Parameters
    ----------
    resolved : ResolvedTemplate
    shown : collection of str
        Ids of pooled records.
    """
    found = []
    for name in literature_paths() if shown else ():
        literature = load_literature(name, resolved.evidence)
        if literature.evidence not in shown:
            continue
        for split in literature.splits:
            pair = [_stratum(stratum, resolved.evidence) for stratum in split.strata]
            if pair[0] and pair[1]:
                found.append(StrataPair(literature, split, pair[0], pair[1]))
    return found


def _stratum(stratum: Stratum, evidence: Evidence) -> PublishedStratum | None:
    effect = stratum.effect or pooled_odds_ratio(stratum.evidence or "", evidence)
    if effect is None or effect.ci is None:
        return None
    record = evidence.records.get(stratum.evidence or "")
    if not isinstance(record, Pool):
        words = effect.status.value + (f" ({effect.note})" if effect.note else "")
        return PublishedStratum(stratum, effect, words)
    documents = [
        r.title
        for r in evidence.records.values()
        if isinstance(r, Document) and record.id in r.about
    ]

    def who(status: Status) -> str:
        if status is Status.DOCUMENT:
            return f"{' and '.join(documents) or 'a document'} only, not seen in the publication"
        return "the publication" if status is Status.PUBLISHED else status.value

    words = who(effect.status)
    if record.composition_status is not effect.status:
        words += f"; which trials: {who(record.composition_status)}"
    return PublishedStratum(stratum, effect, words)


def published_strata_rows(resolved: ResolvedTemplate, shown: Collection[str]) -> Iterator[Row]:
    """Yield the strata, the ratio of their odds ratios and the test of interaction."""
    for pair in published_strata(resolved, shown):
        status = pair.status.value
        name = f"{pair.literature.id}, {pair.split.id}"
        for one in (pair.first, pair.second):
            assert one.effect.ci is not None
            yield Row(
                measure=Measure.ESTIMATE,
                value=one.effect.value,
                lower=one.effect.ci[0],
                upper=one.effect.ci[1],
                level=0.95,
                evidence=one.stratum.evidence,
                analysis=f"as published: {one.stratum.title}",
                scale=one.effect.measure.value,
                status=one.effect.status.value,
                source=one.said_by,
                stratum=name,
            )
        found = pair.difference
        value, low, high = (float(np.exp(x[0])) for x in (found.estimate, found.lower, found.upper))
        title = f"{pair.first.stratum.id} v {pair.second.stratum.id}"
        yield Row(
            measure=Measure.RATIO_OF_ODDS_RATIOS,
            value=value,
            lower=low,
            upper=high,
            level=0.95,
            analysis=f"as published: {title}",
            stratum=name,
            status=status,
        )
        p = float(found.p_value[0])
        here = Row(measure=Measure.P_VALUE, value=p, analysis="interaction", stratum=name)
        yield replace(here, status=status)
        value, low, high = pair.together
        yield Row(
            measure=Measure.ESTIMATE,
            value=value,
            lower=low,
            upper=high,
            level=0.95,
            analysis="as published: both strata by inverse variance",
            scale=pair.first.effect.measure.value,
            stratum=name,
            status=status,
        )


def published_strata_texts(resolved: ResolvedTemplate, shown: Collection[str]) -> dict[str, str]:
    """Return what must be said beside the strata, by split."""
    return {
        f"strata-{pair.split.id}": pair.split.note
        for pair in published_strata(resolved, shown)
        if pair.split.note
    }
