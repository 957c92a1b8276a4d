"""Where the results of blocks are kept: in memory, or in a folder that survives a kill.

A *series* is what one trial design found under one truth, block after block. In a folder it is a
folder of its own, named after trial, scenario and a hash of everything that its numbers depend on,
so that nothing is ever read for what it is not::

    chunks/manifest.jsonl                              what was asked; the SHA-256 of every chunk
    chunks/trial--or-082--1f0c9a77/000016-16.npz       blocks 16 to 31

A chunk is written once: to a temporary file, flushed to the disk, then renamed. A chunk that is not
in the manifest, or no longer has its SHA-256, is not there, and is computed again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from errno import EACCES, EAGAIN, EDEADLK
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np

from trialsim.engine.blocks import Job
from trialsim.errors import Problem, RequestError, SimulationError
from trialsim.protocol.scenario import Truth
from trialsim.trial import LookResults

__all__ = ["ChunkFolder", "InMemory", "Series", "Store", "series_of"]

_COLUMNS = tuple(f.name for f in fields(LookResults))
_FLAGS = {"rejected", "corrected", "failed", "short"}
_BYTES = sum(1 if name in _FLAGS else 8 for name in _COLUMNS)  # of one look of one replicate
_CHUNK = re.compile(r"([a-z0-9-]+)/([0-9]{6,12})-([0-9]{1,4})\.npz")
_SPARE_BYTES = 20 << 20  # for figures, results, the file system's own needs

Kept = tuple[LookResults, ...]  # of one chunk: one per plan


@dataclass(frozen=True)
class Series:
    """What one job finds under one of its truths.

    Attributes
    ----------
    name : str
        Trial, scenario and a hash of what its numbers depend on.
    width : int
        Replicates in a block.
    n_looks : tuple of int
        Per plan.
    """

    name: str
    width: int
    n_looks: tuple[int, ...]

    @property
    def bytes_per_replicate(self) -> int:
        """Room a replicate takes."""
        return _BYTES * sum(self.n_looks)


def series_of(job: Job, truth: Truth, seed: int) -> Series:
    """Return the series of one truth of a job; its company does not matter."""
    depends_on = (job.protocol, job.plans, truth, job.unit, job.path, job.kernel, seed)
    digest = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:8]
    n_looks = tuple(max(1, len(plan.looks)) for plan in job.plans)
    return Series(f"{job.unit or 'trial'}--{truth.scenario}--{digest}", job.block_width, n_looks)


class Store(ABC):
    """Results of whole blocks, by series."""

    @abstractmethod
    def blocks(self, series: Series) -> set[int]:
        """Return the numbers of the blocks that are there."""

    @abstractmethod
    def keep(self, chunks: list[tuple[Series, Kept]], first: int, count: int) -> None:
        """Keep what blocks from `first` on found, of several series."""

    @abstractmethod
    def chunks(self, series: Series) -> Iterator[tuple[int, Kept]]:
        """Yield the first block of every chunk with its content, in order."""

    def load(self, series: Series, n_replicates: int) -> Kept:
        """Return the first replicates of a series, one result per plan.

        All of their blocks must be there.
        """
        found = tuple(
            LookResults(
                *(
                    np.empty((n_replicates, looks), dtype=bool if name in _FLAGS else float)
                    for name in _COLUMNS
                )
            )
            for looks in series.n_looks
        )
        filled = 0
        for first, kept in self.chunks(series):
            start = first * series.width
            if start >= n_replicates:
                break
            for whole, part in zip(found, kept, strict=True):
                for name in _COLUMNS:
                    column = getattr(part, name)[: n_replicates - start]
                    getattr(whole, name)[start : start + len(column)] = column
            filled += len(kept[0].z[: n_replicates - start])
        assert filled == n_replicates, "every block is there"
        return found

    def row(self, series: Series, replicate: int) -> Kept:
        """Return one replicate (from 0) of a block that is there."""
        for first, kept in self.chunks(series):
            at = replicate - first * series.width
            if 0 <= at < len(kept[0].z):
                return tuple(results.only(slice(at, at + 1)) for results in kept)
        raise AssertionError("asked for a block that is there")

    def n_replicates(self, series: Series) -> int:
        """Return the replicates of the blocks that are there without a gap from the first."""
        there = self.blocks(series)
        whole = next(block for block in range(len(there) + 1) if block not in there)
        return whole * series.width


@dataclass
class InMemory(Store):
    """For a run that leaves nothing behind."""

    _kept: dict[str, dict[int, tuple[int, Kept]]] = field(default_factory=dict)

    def blocks(self, series: Series) -> set[int]:
        """Return the numbers of the blocks that are there."""
        kept = self._kept.get(series.name, {})
        return {first + i for first, (count, _) in kept.items() for i in range(count)}

    def keep(self, chunks: list[tuple[Series, Kept]], first: int, count: int) -> None:
        """Keep what blocks from `first` on found."""
        for series, kept in chunks:
            self._kept.setdefault(series.name, {})[first] = count, kept

    def chunks(self, series: Series) -> Iterator[tuple[int, Kept]]:
        """Yield the first block of every chunk with its content, in order."""
        for first, (_, kept) in sorted(self._kept.get(series.name, {}).items()):
            yield first, kept


class ChunkFolder(Store):
    """Chunks in a folder, one file each. One writer at a time.

    Parameters
    ----------
    path : Path
        Made where it is missing, unless `read_only`.
    read_only : bool
        Take no lock, and write nothing.

    Attributes
    ----------
    damaged : list of str
        Chunks that were there and are no longer what was written.

    Raises
    ------
    RequestError
        If another process writes there.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.damaged: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self._manifest = path / "manifest.jsonl"
        self._there: dict[str, dict[int, int]] = {}  # series -> first block -> blocks
        self._torn = False
        self._lock: int | None = None
        if not read_only:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path / "lock")
        self._read_manifest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _read_manifest(self) -> None:
        try:
            text = self._manifest.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        self._torn = not text.endswith("\n")
        listed: dict[str, str] = {}
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                if isinstance(entry.get("request"), dict):
                    self.requests.append(entry["request"])
                else:
                    listed[str(entry["file"])] = entry["sha256"]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # the last line of a run that was killed over it
        for name, digest in listed.items():
            chunk = _CHUNK.fullmatch(name)
            path = self.path / name
            if not chunk or not path.is_file():
                continue
            if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                self.damaged.append(name)
                if self._lock is not None:
                    path.unlink()
                continue
            self._there.setdefault(chunk[1], {})[int(chunk[2])] = int(chunk[3])

    def series(self) -> list[str]:
        """Return the names of all series that have a chunk."""
        return sorted(self._there)

    def blocks(self, series: Series) -> set[int]:
        """Return the numbers of the blocks that are there."""
        there = self._there.get(series.name, {})
        return {first + i for first, count in there.items() for i in range(count)}

    def ask(self, request: dict[str, Any]) -> None:
        """Note what was asked of the run, so that a part of it can be told from the whole."""
        if not self.requests or request != self.requests[-1]:
            self.requests.append(request)
            self._append([{"request": request}])

    def keep(self, chunks: list[tuple[Series, Kept]], first: int, count: int) -> None:
        """Write what blocks from `first` on found.

        Raises
        ------
        SimulationError
            If the disk is full, or the folder cannot be written any more.
        """
        entries = []
        try:
            for series, kept in chunks:
                name = f"{series.name}/{first:06d}-{count}.npz"
                content = _packed(kept)
                _write_whole(self.path / name, content)
                entries.append({"file": name, "sha256": hashlib.sha256(content).hexdigest()})
            self._append(entries)
        except OSError as error:
            raise SimulationError(
                Problem(
                    f"cannot be written: {error.strerror or error}",
                    "Make room there. What is done is kept: the same command then goes on.",
                    str(self.path),
                )
            ) from None
        for series, _ in chunks:
            self._there.setdefault(series.name, {})[first] = count

    def _append(self, entries: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in entries)
        with self._manifest.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(("\n" if self._torn else "") + text)
            stream.flush()
            os.fsync(stream.fileno())
        self._torn = False

    def chunks(self, series: Series) -> Iterator[tuple[int, Kept]]:
        """Yield the first block of every chunk with its content, in order.

        Raises
        ------
        SimulationError
            If a chunk changed since it was admitted.
        """
        for first, count in sorted(self._there.get(series.name, {}).items()):
            path = self.path / series.name / f"{first:06d}-{count}.npz"
            yield first, _unpacked(path, series, count)

    def check_space(self, n_bytes: int) -> None:
        """Refuse a run that the disk has no room for (RequestError)."""
        free = shutil.disk_usage(self.path).free
        if n_bytes + _SPARE_BYTES > free:
            raise RequestError(
                Problem(
                    f"has {free / 1e6:,.0f} MB free; this run needs "
                    f"{(n_bytes + _SPARE_BYTES) / 1e6:,.0f} MB",
                    "Make room, name another place with --out DIR, or use fewer --replicates.",
                    str(self.path),
                )
            )


def _packed(kept: Kept) -> bytes:
    content = io.BytesIO()
    columns = {
        f"{plan}.{name}": getattr(results, name)
        for plan, results in enumerate(kept)
        for name in _COLUMNS
    }
    np.savez(content, allow_pickle=False, **columns)
    return content.getvalue()


def _unpacked(path: Path, series: Series, count: int) -> Kept:
    try:
        with np.load(path, allow_pickle=False) as content:
            found = tuple(
                LookResults(*(content[f"{plan}.{name}"] for name in _COLUMNS))
                for plan in range(len(series.n_looks))
            )
    except (OSError, ValueError, KeyError, BadZipFile):
        found = ()
    shapes = [(count * series.width, looks) for looks in series.n_looks]
    if [results.z.shape for results in found] != shapes:
        remedy = "Run the same command again: it is computed again."
        raise SimulationError(Problem("is no longer what was written", remedy, str(path)))
    return found


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".part")
    try:
        unfinished.unlink(missing_ok=True)  # of a run that was killed
        with unfinished.open("xb") as stream:  # never through a link
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def _locked(path: Path) -> int:
    """Take the lock of a folder; the system gives it back however the process ends."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        rule = "is being written by another run"
        remedy = "Wait for it, or name another folder with --out DIR."
        if error.errno not in (EACCES, EAGAIN, EDEADLK):
            rule = f"cannot be locked: {error.strerror}"
            remedy = "Name a folder on another file system with --out DIR."
        raise RequestError(Problem(rule, remedy, str(path.parent.parent))) from None
    return lock
