"""One folder per run: ``record.json chunks/ results/ figures/``. Nothing is ever overwritten."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim.engine.record import RunRecord
from trialsim.engine.store import ChunkFolder
from trialsim.errors import Problem, RequestError
from trialsim.figures.style import save
from trialsim.report.document import Document, as_json
from trialsim.trial import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

__all__ = ["RunDirectory", "recorded_kernel"]

_MAX_DIFFERENCES = 5
_IDENTITY = ("seed", "versions", "kernel", "kernel_version", "path")


def _path_of(record: RunRecord, chosen: Path | None) -> Path:
    return chosen or Path("trialsim-runs") / f"{record.protocol['id']}-{record.sha256[:8]}"


def _own_path_of(record: RunRecord, chosen: Path | None) -> Path:
    """Return the same, or its neighbour where the default folder is of another kernel's run.

    A command that computes in its own way, as ``size`` and ``bias`` do, has then its own folder.
    """
    path, there = _path_of(record, chosen), recorded_kernel(record, chosen)
    if chosen is None and there and there is not record.kernel:
        return path.with_name(f"{path.name}-{record.kernel}")
    return path


def recorded_kernel(record: RunRecord, chosen: Path | None) -> Kernel | None:
    """Return what computed the run that is already there, or None."""
    try:
        return Kernel(_record_at(_path_of(record, chosen))["kernel"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _record_at(path: Path) -> dict[str, Any]:
    found = json.loads((path / "record.json").read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise TypeError("a record is a mapping")
    return found


class RunDirectory:
    """Where a run goes: its chunks while it runs, then its results.

    Parameters
    ----------
    record : RunRecord
    chosen : Path or None
        None for ``trialsim-runs/<id>-<8 of the record's hash>``, and ``-<kernel>`` after it where
        another kernel's run is there. In a folder that holds the same run, that goes on.

    Raises
    ------
    RequestError
        If the folder cannot take this run, with what differs. Checked before any work starts.
    """

    def __init__(self, record: RunRecord, chosen: Path | None) -> None:
        self.path = _own_path_of(record, chosen)
        self._record = record
        blocked = next((p for p in (self.path, *self.path.parents) if p.is_file()), None)
        if blocked:
            raise self._refused(f"cannot be a folder: {blocked} is a file")
        if self.path.is_dir() and not self._holds_nothing():
            self._check_same_run()
        ancestor = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        if not os.access(ancestor, os.W_OK):
            raise self._refused("cannot be written")

    def _refused(self, rule: str, remedy: str = "") -> RequestError:
        remedy = remedy or "Name another place with --out DIR."
        return RequestError(Problem(rule, remedy, "--out", str(self.path)))

    def _holds_nothing(self) -> bool:
        """Whether there is nothing, or what a run leaves that ended before it had begun."""
        begun = {"chunks", "chunks/lock", "record.json.part"}
        files = {p.relative_to(self.path).as_posix() for p in islice(self.path.rglob("*"), 4)}
        return files <= begun

    def _check_same_run(self) -> None:
        try:
            there = _record_at(self.path)
        except (OSError, ValueError, TypeError, RecursionError):
            raise self._refused("is not empty, and holds no run") from None
        differing = list(_differences(there, self._record.as_dict()))
        if differing:
            words = "; ".join(differing[:_MAX_DIFFERENCES])
            more = len(differing) - _MAX_DIFFERENCES
            words += f"; and {more} more" if more > 0 else ""
            raise self._refused(f"holds another run: {words}")

    def begin(self) -> ChunkFolder:
        """Write down which run this is, and open its chunks for writing.

        Raises
        ------
        RequestError
            If another process writes there.
        """
        chunks = ChunkFolder(self.path / "chunks")
        if (self.path / "record.json").exists():  # perhaps since it was looked for
            self._check_same_run()
        self._write_new(self.path / "record.json", as_json(self._record.as_dict()) + "\n")
        return chunks

    def write(self, document: Document, figures: dict[str, tuple[Figure, str]]) -> list[Path]:
        """Write a result and its figures.

        The first result of a command is ``results/<command>.json``; the same command with other
        arguments gets four characters of their hash in its name.

        Parameters
        ----------
        document : Document
        figures : dict of name to (Figure, alternative text)

        Returns
        -------
        paths : list of Path
            Of what is there now, the document first.
        """
        results = self.path / "results"
        results.mkdir(parents=True, exist_ok=True)
        text = document.to_json() + "\n"
        tails = ("", *(f"-{document.arguments_hash[:n]}" for n in (4, 8, 64)))
        name = document.command.replace(" ", "-")
        tail = next(t for t in tails if self._free(results / f"{name}{t}.json", text))
        stem = f"{name}{tail}"
        written = [
            self._write_new(results / f"{stem}.json", text),
            self._write_new(results / f"{stem}.csv", document.to_csv()),
        ]
        for drawn_of, (figure, alt_text) in figures.items():
            label = f"{drawn_of}{tail}"
            drawn = [self.path / "figures" / f"{label}.{kind}" for kind in ("svg", "png")]
            if not all(path.exists() for path in drawn):
                save(figure, self.path / "figures", label, alt_text)
            written += drawn
        # in the form of sha256sum, so that anyone can check a run without this program
        sums = [
            f"{sha256(p.read_bytes()).hexdigest()}  {p.relative_to(self.path).as_posix()}"
            for p in (self.path / "record.json", *written)
        ]
        self._write_new(results / f"{stem}.sha256", "\n".join(sums) + "\n")
        os.utime(self.path / "record.json")  # the newest run is the one last asked for
        return written

    @staticmethod
    def _free(path: Path, text: str) -> bool:
        """Whether a result can stand here: nothing does yet, or the very same."""
        return not path.exists() or path.read_text(encoding="utf-8") == text

    @staticmethod
    def _write_new(path: Path, text: str) -> Path:
        if not path.exists():
            unfinished = path.with_name(f"{path.name}.part")
            unfinished.unlink(missing_ok=True)  # of a run that was killed
            with unfinished.open("x", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            unfinished.replace(path)
        return path


def _differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """Say where two records are not those of one run."""
    one, other = (dict(_identity(record)) for record in (there, here))
    for name in (*one, *(name for name in other if name not in one)):
        if one.get(name) != other.get(name):
            yield f"{name} {one.get(name, 'none')}, here {other.get(name, 'none')}"


def _identity(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name what a file states as ``--set`` does, and then the rest."""
    yield from _flat(record.get("protocol"))
    yield from _flat({key: record.get(key) for key in _IDENTITY})


def _flat(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flat(value, f"{path}.{key}" if path else key)
    elif isinstance(content, list):
        for index, value in enumerate(content):
            name = value.get("id", index) if isinstance(value, dict) else index
            yield from _flat(value, f"{path}.{name}")
    else:
        yield path, str(content)
