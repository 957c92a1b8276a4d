"""The JSON document and the CSV table of a result: same command, same bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from trialsim import __version__
from trialsim.errors import Problem

if TYPE_CHECKING:
    from trialsim.protocol.published.cautions import Caution
    from trialsim.protocol.truths.resolved import ResolvedTemplate
    from trialsim.trial import StudyResult

__all__ = ["RESULT_FORMAT", "Document", "as_json", "errors_document", "warnings_as_rows"]

RESULT_FORMAT = "trialsim-result/1"


@dataclass(frozen=True)
class Document:
    """One result, complete: what was asked and what was found.

    Attributes
    ----------
    arguments : mapping
        Only what can change the answer: never workers, place or form of the output.
    rows, observed : tuple of dict
        Flat, one number each.
    """

    command: str
    arguments: Mapping[str, Any]
    protocol: str | None = None
    protocol_sha256: str | None = None
    seed: int | None = None
    rows: tuple[Mapping[str, Any], ...] = ()
    observed: tuple[Mapping[str, Any], ...] = ()
    findings: tuple[Mapping[str, str], ...] = ()
    texts: Mapping[str, str] | None = None
    warnings: tuple[Mapping[str, Any], ...] = ()
    partial: Mapping[str, Any] | None = None  # replicates there, of those asked for

    @classmethod
    def of_study(
        cls,
        resolved: ResolvedTemplate,
        result: StudyResult,
        arguments: Mapping[str, Any],
        seed: int,
        *,
        command: str = "simulate",
        partial: Mapping[str, Any] | None = None,
    ) -> Document:
        """Return what a study found as a document."""
        return cls(
            command,
            arguments,
            resolved.template.id,
            resolved.sha256,
            seed,
            rows=tuple(row.as_dict() for row in result.rows),
            observed=tuple(row.as_dict() for row in result.observed),
            findings=tuple(
                {"subject": f.subject, "verdict": f.verdict, "detail": f.detail}
                for f in result.findings
            ),
            texts=dict(result.texts),
            warnings=warnings_as_rows(result.warnings),
            partial=partial,
        )

    @property
    def arguments_hash(self) -> str:
        """Tells two results of one command apart; file names use its first characters."""
        return hashlib.sha256(json.dumps(self.arguments, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the document as text."""
        content = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {key: value for key, value in content.items() if value is not None}
        return as_json({"format": RESULT_FORMAT, **kept, "version": __version__})

    def to_csv(self) -> str:
        """Return rows and observed rows as one table; `part` tells them apart."""
        rows = [
            {"part": part, **row} for part in ("rows", "observed") for row in getattr(self, part)
        ]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _inert(v) for k, v in row.items()} for row in rows)
        return text.getvalue()


def warnings_as_rows(cautions: Iterable[Caution]) -> tuple[dict[str, Any], ...]:
    """Return cautions in the form of the document."""
    return tuple(
        {"level": c.level, "code": c.code, "text": c.text, "touches": list(c.touches)}
        for c in cautions
    )


def _inert(value: Any) -> Any:
    """Keep a spreadsheet from running text as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@", "-") else value


def as_json(content: Mapping[str, Any]) -> str:
    """Return JSON text; NaN and infinity are a programming error and raise."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def errors_document(problems: Iterable[Problem]) -> str:
    """Return what ``--json`` prints when there is no answer."""
    return as_json({"format": RESULT_FORMAT, "errors": [p.as_dict() for p in problems]})
