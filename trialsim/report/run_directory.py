"""One folder per run: ``record.json``, ``results/``, ``figures/``. Nothing is ever overwritten."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from trialsim.engine.record import RunRecord
from trialsim.errors import Problem, RequestError
from trialsim.figures.style import save
from trialsim.report.document import Document, as_json
from trialsim.trial import Kernel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RunDirectory", "recorded_kernel"]


def _path_of(record: RunRecord, chosen: Path | None) -> Path:
    return chosen or Path("trialsim-runs") / f"{record.protocol['id']}-{record.sha256[:8]}"


def recorded_kernel(record: RunRecord, chosen: Path | None) -> Kernel | None:
    """Return what computed the run that is already there, or None."""
    try:
        text = (_path_of(record, chosen) / "record.json").read_text(encoding="utf-8")
        return Kernel(json.loads(text)["kernel"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class RunDirectory:
    """Where the results of one run go.

    Parameters
    ----------
    record : RunRecord
    chosen : Path or None
        A new or empty folder; None for ``trialsim-runs/<id>-<8 of the record's hash>``, which other
        results of the same run may already share.

    Raises
    ------
    RequestError
        If the folder cannot take this run. Checked before any work starts.
    """

    def __init__(self, record: RunRecord, chosen: Path | None) -> None:
        self.path = _path_of(record, chosen)
        self._record = record
        option = "--out" if chosen else ""
        blocked = next((p for p in (self.path, *self.path.parents) if p.is_file()), None)
        if blocked:
            raise RequestError(
                Problem(
                    f"cannot be a folder: {blocked} is a file",
                    "Name another place with --out DIR.",
                    option,
                    str(self.path),
                )
            )
        if self.path.is_dir() and any(self.path.iterdir()):
            if chosen:
                raise RequestError(
                    Problem(
                        "is not empty",
                        "Name a new folder; resuming a run comes with a later version.",
                        option,
                        str(chosen),
                    )
                )
            self._check_same_run()
        ancestor = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        if not os.access(ancestor, os.W_OK):
            raise RequestError(
                Problem(
                    "cannot be written",
                    "Name another place with --out DIR.",
                    option,
                    str(self.path),
                )
            )

    def _check_same_run(self) -> None:
        try:
            other = json.loads((self.path / "record.json").read_text(encoding="utf-8"))["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            other = "unreadable"
        if other != self._record.sha256:
            raise RequestError(
                Problem(
                    "holds another run", "Move it away, or use --out DIR.", value=str(self.path)
                )
            )

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
        self._write_new(self.path / "record.json", as_json(self._record.as_dict()) + "\n")
        text = document.to_json() + "\n"
        tails = ("", *(f"-{document.arguments_hash[:n]}" for n in (4, 8, 64)))
        tail = next(t for t in tails if self._free(results / f"{document.command}{t}.json", text))
        stem = f"{document.command}{tail}"
        written = [
            self._write_new(results / f"{stem}.json", text),
            self._write_new(results / f"{stem}.csv", document.to_csv()),
        ]
        for name, (figure, alt_text) in figures.items():
            label = f"{name}{tail}"
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
        return written

    @staticmethod
    def _free(path: Path, text: str) -> bool:
        """Whether a result can stand here: nothing does yet, or the very same."""
        return not path.exists() or path.read_text(encoding="utf-8") == text

    @staticmethod
    def _write_new(path: Path, text: str) -> Path:
        if not path.exists():
            unfinished = path.with_name(f"{path.name}.part")
            unfinished.write_text(text, encoding="utf-8", newline="\n")
            unfinished.replace(path)
        return path
