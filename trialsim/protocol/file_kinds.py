"""What a file is: a protocol, a literature, a profile of conduct, or a table of trials."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from trialsim.errors import ProtocolError
from trialsim.protocol.catalogue import conduct_paths, literature_paths, template_paths
from trialsim.protocol.conduct import Mechanism
from trialsim.protocol.nodes import plain, read_file

__all__ = ["FileKind", "kind_of_file"]

_OF_CONDUCT = {mechanism.key for mechanism in Mechanism}


class FileKind(StrEnum):
    """The kinds of files a user writes."""

    PROTOCOL = "protocol"
    LITERATURE = "literature"
    CONDUCT = "profile of conduct"
    TABLE = "table of trials"


def kind_of_file(name: str) -> FileKind:
    """Return what a shipped id or a file is, by its keys; a protocol where they do not tell.

    A file that cannot be read counts as a protocol: who loads it says what is wrong.
    """
    if name in template_paths():
        return FileKind.PROTOCOL
    if name in literature_paths():
        return FileKind.LITERATURE
    if name in conduct_paths():
        return FileKind.CONDUCT
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
    if {"trials", "splits", "true_odds_ratios"} & keys:
        return FileKind.LITERATURE
    rigorous = keys and keys <= {"schema_version", "id", "title", "note"}
    return FileKind.CONDUCT if keys & _OF_CONDUCT or rigorous else FileKind.PROTOCOL
