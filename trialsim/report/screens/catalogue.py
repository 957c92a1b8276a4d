"""The shipped protocols at a glance, read as plain data: no model is built, so it is quick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from trialsim.protocol.reading.nodes import plain, read_file
from trialsim.protocol.reading.places import evidence_paths, template_paths
from trialsim.report.text import wrapped

__all__ = ["catalogue_lines", "catalogue_rows"]

Content = dict[str, Any]


def catalogue_rows() -> list[Content]:
    """Return a row per shipped protocol: its design, and the trials it is held against."""
    records = {
        record["id"]: record
        for path in evidence_paths()
        for record in plain(read_file(path)).get("evidence", ())
    }
    return [_row(name, plain(read_file(path)), records) for name, path in template_paths().items()]


def _row(name: str, content: Content, records: dict[str, Content]) -> Content:
    protocol = content["protocol"]
    primary = next(e for e in protocol["endpoints"] if e["level"] == "primary")
    return {
        "template": name,
        "title": content["title"],
        "setting": content.get("setting", "current"),
        "condition": protocol.get("population", {}).get("condition"),
        "design": "single arm" if protocol.get("design") == "single-arm" else "two arms",
        "blinding": list(protocol.get("blinding", ())),
        "n_total": _n_total(protocol["sample_size"]),
        "endpoint": primary.get("event") or primary["variable"],
        "kind": primary["kind"],
        "follow_up": _follow_up(primary),
        "n_scenarios": len(content["scenarios"]),
        "n_variants": len(content.get("variants", ())),
        "n_observed": len(content.get("observed", ())),
        **_evidence(content, primary, records),
    }


def _n_total(stated: Content) -> int:
    total: int = stated.get("total") or sum(stated["per_arm"].values())
    return total


def _follow_up(primary: Content) -> str:
    at = primary.get("followed_for") or primary["at"]
    at = at[-1] if isinstance(at, list) else at
    if isinstance(at, str):
        return at
    return f"{at['after']} after therapy" if at.get("from") == "end-of-therapy" else at["after"]


def _evidence(content: Content, primary: Content, records: dict[str, Content]) -> Content:
    """Count the trials held against, each once; a number that some of them lack is left out."""
    own = {record["id"]: record for record in content.get("evidence", ())}
    stated = (_reference(reference) for reference in content.get("observed", ()))
    found = [({**records, **own}[name], result) for name, result in stated]
    trials = {record["id"]: (record, result) for record, result in found if "design" in record}
    designs = [record["design"] for record, _ in trials.values()]
    return {
        "n_trials": len(trials),
        "n_pools": len({record["id"] for record, _ in found if record["kind"] == "pool"}),
        "n_randomised": sum(bool(design["randomised"]) for design in designs),
        "n_blinded": sum(map(_is_blinded, designs)),
        "centres": _sum_if_known([design.get("centres") for design in designs]),
        "patients": _sum_if_known(
            [_patients(record, result or primary["id"]) for record, result in trials.values()]
        ),
        "events": _sum_if_known(
            [_events(record, result or primary["id"]) for record, result in trials.values()]
        ),
        "consistency": sorted(
            record.get("consistency", {}).get("verdict", "not checked")
            for record, _ in trials.values()
        ),
    }


def _reference(stated: str | Content) -> tuple[str, str | None]:
    return (stated, None) if isinstance(stated, str) else (stated["evidence"], stated.get("result"))


def _is_blinded(design: Content) -> bool:
    described = design.get("blinding_as_described")
    return bool(design.get("blinding")) or described in ("single", "double")


def _patients(record: Content, result: str) -> int | None:
    """Return how many were randomised or, where that is not stated, are in the result's arms."""
    stated: int | None = record["design"].get("n_randomised")
    if stated is not None:
        return stated
    found = _result(record, result)
    return _sum_if_known([found[arm].get("n") for arm in _ARMS if arm in found])


def _result(record: Content, result: str) -> Content:
    found: Content = next((r for r in record["results"] if r["id"] == result), {})
    return found


def _events(record: Content, result: str) -> int | None:
    found = _result(record, result)
    arms = [found.get(arm, {}).get("events") for arm in ("experimental", "control")]
    return _sum_if_known([events for arm, events in zip(_ARMS, arms, strict=True) if arm in found])


_ARMS = ("experimental", "control")
_AGREE = {"rounding": "right within rounding"}  # the other verdicts read well as they are


def _sum_if_known(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def catalogue_lines(rows: Sequence[Content]) -> str:
    """Return the rows for a terminal: who is treated for what, then design and evidence."""
    lines = []
    for row in rows:
        lines += [wrapped(text, " " * 4, first) for text, first in _told(row)]
    return "\n".join(lines)


def _told(row: Content) -> Iterator[tuple[str, str]]:
    old = " (historical)" if row["setting"] == "historical" else ""
    yield row["condition"] or row["title"], f"{row['template']}{old}: "
    blinded = "blinded" if row["blinding"] else "open"
    design = row["design"] if row["design"] == "single arm" else f"{row['design']}, {blinded}"
    read = f"{row['follow_up']}, {row['n_total']:,} patients; {_evidence_in_words(row)}"
    yield f"{design}; {row['endpoint']}, {read}", " " * 4


def _evidence_in_words(row: Content) -> str:
    n = row["n_trials"]
    pools = f"{row['n_pools']} pooled" if row["n_pools"] else ""
    if not n:
        return f"evidence: {pools or 'no trial it is held against'}"
    said = [f"{n} trial{'s' if n > 1 else ''}", f"{row['n_randomised']} randomised"]
    said.append(f"{row['n_blinded']} blinded")
    unknown = "not all stated" if n > 1 else "not stated"
    said += [
        f"{row[word]:,} {word if row[word] != 1 else word[:-1]}"
        if row[word] is not None
        else f"{word} {unknown}"
        for word in ("centres", "patients", "events")
    ]
    found = Counter(_AGREE.get(verdict, verdict) for verdict in row["consistency"])
    numbers = ", ".join(
        verdict if n == 1 else f"{verdict} in {many}" for verdict, many in found.most_common()
    )
    said.append(f"its numbers: {numbers}" if n == 1 else f"their numbers: {numbers}")
    return "evidence: " + ", ".join([*said, *([pools] if pools else [])])
