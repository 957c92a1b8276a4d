"""What a file is: a protocol, a literature, a reconciliation, a profile of conduct, or a table."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from trialsim.errors import ProtocolError
from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.reading.catalogue import (
    conduct_paths,
    literature_paths,
    reconciliation_paths,
    template_paths,
)
from trialsim.protocol.reading.nodes import plain, read_file

__all__ = ["FileKind", "kind_of_file"]

_OF_CONDUCT = {mechanism.key for mechanism in Mechanism}


class FileKind(StrEnum):
    """The kinds of files a user writes."""

    PROTOCOL = "protocol"
    LITERATURE = "literature"
    RECONCILIATION = "reconciliation"
    CONDUCT = "profile of conduct"
    TABLE = "table of trials"


def kind_of_file(name: str) -> FileKind:
    """Return what a shipped id or a file is, by its keys; a protocol where they do not tell.

    A file that cannot be read counts as a protocol: who loads it says what is wrong.
    """
    shipped = {
        FileKind.PROTOCOL: template_paths,
        FileKind.LITERATURE: literature_paths,
        FileKind.CONDUCT: conduct_paths,
        FileKind.RECONCILIATION: reconciliation_paths,
    }
    found = next((kind for kind, paths in shipped.items() if name in paths()), None)
    if found is not None:
        return found
    path = Path(name)
    if path.suffix == ".csv":
        return FileKind.TABLE
    if not path.is_file():
        return FileKind.PROTOCOL
    try:
        content = plain(read_file(path))
    except ProtocolError:
        return FileKind.PROTOCOL
    keys = set(content) if isinstance(content, dict) else set()
    if "protocol" in keys:
        return FileKind.PROTOCOL
    if "explanations" in keys:
        return FileKind.RECONCILIATION
    if {"trials", "splits", "true_odds_ratios"} & keys:
        return FileKind.LITERATURE
    rigorous = keys and keys <= {"schema_version", "id", "title", "note"}
    return FileKind.CONDUCT if keys & _OF_CONDUCT or rigorous else FileKind.PROTOCOL
