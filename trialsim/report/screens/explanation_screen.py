"""Why two trials disagree: for the terminal, and as rows."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from typing import Any

from trialsim.protocol.published.evidence import OutcomeType
from trialsim.report.text import table, wrapped
from trialsim.studies.conflict.explanation import (
    NO_DATA,
    Carried,
    Difference,
    Explanation,
    Gap,
    Reported,
)

__all__ = ["explanation_lines", "explanation_rows", "explanation_texts"]

_Z95 = 1.959963984540054
_ENDS = "+- is one Monte Carlo standard error."


def explanation_lines(found: Explanation, program: str) -> str:
    """Return what ``trialsim explain`` prints."""
    return "\n".join(_lines(found, program))


def _lines(found: Explanation, program: str) -> Iterator[str]:
    one, other = found.one.title, found.other.title
    yield wrapped(f"WHY DO {one} AND {other} DISAGREE?")
    yield ""
    yield from _gap_lines(found)
    yield "\n1. What differs, as far as the records say"
    header = ("", found.one.id, found.other.id)
    rows = [(_subject(d), d.one, d.other) for d in found.differing]
    yield table(header, rows, folding=(0, 1, 2))
    alike = [f"{_subject(d)} ({_both(d)})" for d in found.differences if d.same]
    if alike:
        yield wrapped(f"The same in both: {'; '.join(alike)}.", "  ", "")
    yield "\n2. How much of the gap each can carry"
    for difference in found.differing:
        if difference.same is False:
            yield from _difference_lines(difference)
    unknown = [_subject(d) for d in found.differing if d.same is None]
    if unknown:
        yield "not recorded of both"
        yield wrapped(f"{NO_DATA} ({'; '.join(unknown)})", "    ", "  ")
    if found.together:
        yield "all flaws that are quantified, together"
        yield wrapped(carried_in_words(found.together), "    ", "  ")
    if unsaid := _unsaid_outcomes(found):
        yield wrapped(unsaid)
    if found.gap:
        n = found.gap.n_replicates
        yield wrapped(
            f"Part of the gap: of the logarithm of the ratio, mean and central 95%; below 0 it "
            f"hides some of it. So far apart: share of {n:,} pairs with that difference and "
            f"otherwise one effect. {_ENDS}"
        )
    yield "\n3. What would settle it"
    yield from (wrapped(said, "  ", "- ") for said in settled_in_words(found))
    yield f"\nmore: {program} evidence show {found.one.id}"


def _unsaid_outcomes(found: Explanation) -> str:
    """Say that ratios of all outcomes were taken, where nobody said which kind it is."""
    if found.outcomes is not OutcomeType.ALL or found.gap is None:
        return ""
    return (
        "The kind of outcome is not said, so that ratios of all outcomes together are taken; of "
        "what a laboratory measures --outcomes objective takes those of objective ones, as "
        "'reconcile' and 'evidence adjust' do."
    )


def _gap_lines(found: Explanation) -> Iterator[str]:
    gap = found.gap
    if gap is None:
        yield wrapped(
            "No gap can be put in numbers: not both of them state a comparison of two arms with "
            "counts or an interval. The catalogue lists them as in disagreement all the same."
        )
        return
    for each in (gap.one, gap.other):
        yield wrapped(reported_in_words(each, gap), "  ", "")
    yield ""
    yield wrapped(gap_in_words(found, gap))
    yield wrapped(chance_in_words(gap))


def reported_in_words(each: Reported, gap: Gap) -> str:
    """Say what one trial found."""
    shown = _ratio(each.estimate, each.standard_error)
    counts = ""
    if each.counts:
        x1, n1, x0, n0 = each.counts
        counts = f", {x1}/{n1} v {x0}/{n0}"
    at = f", {each.result.at.after} after {each.result.at.clock}" if each.result.at else ""
    what = f"{each.result.outcome}{at}{counts}"
    return f"{each.record.title}: {gap.measure} {shown}; {what}"


def gap_in_words(found: Explanation, gap: Gap) -> str:
    """Say how far apart two trials are."""
    shown = _ratio(gap.estimate, gap.standard_error)
    of = f"{found.one.title} to {found.other.title}"
    return f"Ratio of {gap.measure}s, {of}: {shown}, P = {gap.p:.2g}."


def chance_in_words(gap: Gap) -> str:
    """Say how often chance alone leads so far apart."""
    return (
        f"Chance alone: were there one {gap.measure} of {exp(gap.common):.2f} in both, "
        f"{_share(gap.as_large, gap.mcse)} of {gap.n_replicates:,} simulated pairs of trials as "
        "large as these would be so far apart, in either direction."
    )


def _difference_lines(difference: Difference) -> Iterator[str]:
    yield wrapped(f"{_subject(difference)}: {difference.one} v {difference.other}", "  ", "")
    if not difference.carried:
        yield wrapped(f"{NO_DATA} ({difference.why})", "    ", "  ")
    for carried in difference.carried:
        yield wrapped(carried_in_words(carried), "    ", "  ")


def carried_in_words(carried: Carried) -> str:
    """Say what one difference can carry, by one source."""
    ends = f" ({100 * carried.part_lower:.0f}% to {100 * carried.part_upper:.0f}%)"
    error = f" +-{100 * carried.part_mcse:.1f}%"
    if carried.part_mcse == 0:
        ends, error = "", " (exact)"
    taken = f"; {carried.assumed} taken as 0 (assumed)" if carried.assumed else ""
    return (
        f"{carried.source}: {100 * carried.part:.0f}%{ends}{error} of the gap; so far apart "
        f"{_share(carried.as_large, carried.as_large_mcse)}{taken}"
    )


def settled_in_words(found: Explanation) -> Iterator[str]:
    """Yield what would settle why two trials disagree, a sentence each."""
    if found.randomised_add_on is not None:
        own = ", ".join(found.randomised_add_on)
        none = ", ".join(found.without_numbers)
        without = f" Randomised, without numbers so far: {none}." if none else ""
        if own:
            yield f"Randomised trials of the treatment added to another, with numbers: {own}."
        else:
            yield (
                "No randomised adjuvant data exist: no randomised trial here that adds the "
                f"treatment to another states a comparison with numbers.{without} Whether the "
                "application explains the disagreement cannot be told before one does."
            )
    differing = [d.what for d in found.differing if d.same is False]
    unknown = [d.what for d in found.differing if d.same is None]
    if found.settling:
        size = found.settling
        yield (
            f"Whether there is a gap beyond chance: two trials of {size.n_per_arm:,} patients per "
            "arm each tell two such effects apart with a power of 80% by formula, "
            f"{_share(size.power, size.mcse)} of {size.n_replicates:,} simulated (two-sided 5%)."
        )
    if len(differing) > 1:
        yield (
            f"Which difference it is: {', '.join(differing)} go together in these two trials, so "
            "no number of patients in trials like these tells them apart; a trial that has one of "
            "them changed and the others kept does."
        )
    if unknown:
        yield f"Not recorded of both, to be read in the papers: {', '.join(unknown)}."


def explanation_texts(found: Explanation) -> dict[str, str]:
    """Return the sentences a report keeps, by subject."""
    texts = {}
    if gap := found.gap:
        both = " ".join(f"{reported_in_words(each, gap)}." for each in (gap.one, gap.other))
        texts = {"gap": f"{both} {gap_in_words(found, gap)}", "chance": chance_in_words(gap)}
    if unsaid := _unsaid_outcomes(found):
        texts["outcomes"] = unsaid
    settled = enumerate(settled_in_words(found), start=1)
    return {**texts, **{f"settled-{number}": said for number, said in settled}}


def explanation_rows(found: Explanation) -> tuple[dict[str, Any], ...]:
    """Return the same, one number per row; what cannot be quantified has no value and says why."""
    rows: list[dict[str, Any]] = []
    if gap := found.gap:
        for each in (gap.one, gap.other):
            row = {"measure": "estimate", "evidence": each.record.id, "scale": str(gap.measure)}
            rows.append({**row, **_ends(each.estimate, each.standard_error)})
        between = {"measure": "ratio", "scale": f"ratio of {gap.measure}s"}
        rows.append({**between, **_ends(gap.estimate, gap.standard_error), "p": gap.p})
        rows.append(
            {
                "measure": "gap_as_large",
                "analysis": "one common effect",
                "value": gap.as_large,
                "mcse": gap.mcse,
                "n_replicates": gap.n_replicates,
                "common": exp(gap.common),
            }
        )
    for difference in found.differences:
        rows += _difference_rows(difference)
    if size := found.settling:
        row = {"analysis": "two trials, 80% by formula, two-sided 5%"}
        rows.append({"measure": "n_per_arm", "value": size.n_per_arm, **row})
        power = {"value": size.power, "mcse": size.mcse, "n_replicates": size.n_replicates}
        rows.append({"measure": "power_simulated", **power, **row})
    if found.randomised_add_on is not None:
        names = {
            "with_numbers": list(found.randomised_add_on),
            "without_numbers": list(found.without_numbers),
        }
        n = len(found.randomised_add_on)
        rows.append({"measure": "randomised_adjuvant_trials", "value": n, **names})
    return tuple(rows)


def _difference_rows(difference: Difference) -> Iterator[dict[str, Any]]:
    about = {
        "subject": difference.subject,
        "what": difference.what,
        "one": difference.one,
        "other": difference.other,
        "same": difference.same,
    }
    if not difference.carried:
        why = {} if difference.same else {"why": f"{NO_DATA} ({difference.why})"}
        yield {"measure": "part_of_gap", "value": None, **about, **why}
    for each in difference.carried:
        source = {"source": each.source, "n_replicates": each.n_replicates}
        yield {
            "measure": "part_of_gap",
            "value": each.part,
            "lower": each.part_lower,
            "upper": each.part_upper,
            "mcse": each.part_mcse,
            "ratio": each.ratio,
            "ratio_lower": each.lower,
            "ratio_upper": each.upper,
            **about,
            **source,
        }
        share = {"value": each.as_large, "mcse": each.as_large_mcse}
        yield {"measure": "gap_as_large", **share, **about, **source}


def _both(difference: Difference) -> str:
    told = difference.one, difference.other
    return told[0] if told[0] == told[1] else " and ".join(told)


def _subject(difference: Difference) -> str:
    if difference.subject == difference.what:
        return difference.subject
    return f"{difference.subject}, {difference.what}"


def _share(share: float, mcse: float) -> str:
    return f"{100 * share:.1f}% +-{100 * mcse:.1f}%"


def _ratio(log_ratio: float, error: float) -> str:
    value, low, high = (exp(log_ratio + sign * _Z95 * error) for sign in (0, -1, 1))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _ends(log_ratio: float, error: float) -> dict[str, float]:
    return {
        "value": exp(log_ratio),
        "lower": exp(log_ratio - _Z95 * error),
        "upper": exp(log_ratio + _Z95 * error),
        "log_error": error,
    }
