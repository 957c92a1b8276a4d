"""Which files the page may read: shipped ones, uploads of this session, the working directory.

A name in an address is a stranger's: it is looked up, never opened as it stands.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path

from trialsim.errors import Problem, RequestError, did_you_mean
from trialsim.protocol.reading.places import lesson_paths, template_paths

__all__ = ["MAX_UPLOAD_BYTES", "Files", "is_lesson"]

MAX_UPLOAD_BYTES = 1_000_000  # of the file format, too
MAX_UPLOADS = 50
_UPLOAD = re.compile(r"upload-[0-9a-f]{16}")


class Files:
    """Shipped templates, uploads, and protocol files of the working directory.

    Parameters
    ----------
    working : Path
        The folder the page was started in; nothing outside it is read.
    """

    def __init__(self, working: Path) -> None:
        self.working = working.resolve()
        self._folder = Path(tempfile.mkdtemp(prefix="trialsim-app-"))
        self._uploads: OrderedDict[str, Path] = OrderedDict()

    def close(self) -> None:
        """Remove what was uploaded."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def keep(self, name: str, content: bytes) -> str:
        """Keep an upload; return what it is called in addresses."""
        digest = sha256(name.encode() + b"\0" + content).hexdigest()[:16]
        called = f"upload-{digest}"
        if called not in self._uploads:
            path = self._folder / digest / _plain_name(name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            self._uploads[called] = path
            while len(self._uploads) > MAX_UPLOADS:
                _, oldest = self._uploads.popitem(last=False)
                shutil.rmtree(oldest.parent, ignore_errors=True)
        return called

    def uploaded(self) -> tuple[str, ...]:
        """Return what uploads are called in addresses, the newest last."""
        return tuple(self._uploads)

    def shown(self, name: str) -> str:
        """Return what an upload's owner calls it, and a lesson its folder."""
        if is_lesson(name):
            return lesson_paths()[name].name
        return self._uploads[name].name if name in self._uploads else name

    def word(self, name: str) -> tuple[str, str]:
        """Return what the command line is given for a name, and the folder it hides.

        Raises
        ------
        RequestError
            For a name that is none of the three.
        """
        if name in template_paths():
            return name, ""
        if name in lesson_paths():
            lesson = lesson_paths()[name]
            return str(lesson), str(lesson.parent)
        if name in self._uploads:
            kept = self._uploads[name]
            return str(kept), str(kept.parent)
        if _UPLOAD.fullmatch(name):
            rule, remedy = "is no longer here", "Choose the file again: the page was restarted."
            raise RequestError(Problem(rule, remedy, "Protocol", name))
        path = self._inside(name)
        if path is None:
            known = "Choose one of the list, or upload a file."
            remedy = did_you_mean(name, template_paths(), known)
            rule = "is not a template, an upload or a protocol file in the working directory"
            raise RequestError(Problem(rule, remedy, "Protocol", name[:80]))
        return path.relative_to(self.working).as_posix(), ""

    def named(self, words: tuple[str, ...], name: str) -> tuple[tuple[str, ...], str]:
        """Return a command with its files looked up, and the folder they hide.

        Parameters
        ----------
        words : tuple of str
            Of the command line; the word `name`, and the files of a lesson, are looked up.
        name : str
            Of the template; "" for a command without one.

        Raises
        ------
        RequestError
            For a name that is none of those that may be read.
        """
        if not name:
            return words, ""
        word, folder = self.word(name)
        beside = {p.name: str(p) for p in Path(folder).glob("*.yaml")} if is_lesson(name) else {}
        return tuple(word if w == name else beside.get(w, w) for w in words), folder

    def version(self, name: str) -> str:
        """Return what changes when a local file does."""
        shipped = name in template_paths() or is_lesson(name)
        path = None if shipped or name in self._uploads else self._inside(name)
        if path is None:
            return ""
        found = path.stat()
        return f"{found.st_mtime_ns}-{found.st_size}"

    def local(self) -> tuple[str, ...]:
        """Return the protocol files that lie in the working directory itself."""
        found = (p for kind in ("*.yaml", "*.yml") for p in self.working.glob(kind))
        return tuple(sorted(p.name for p in found if self._inside(p.name)))[:100]

    def _inside(self, name: str) -> Path | None:
        """Return a protocol file of the working directory, links followed; None for any other."""
        if not name or "\0" in name or len(name) > 300 or name.startswith("-"):
            return None
        try:
            path = (self.working / name).resolve()
            within = path.is_relative_to(self.working) and path.is_file()
        except (OSError, ValueError):
            return None
        return path if within and path.suffix in (".yaml", ".yml") else None


def is_lesson(name: str) -> bool:
    """Whether a name is that of a lesson; its commands name files that lie beside its protocol."""
    return name in lesson_paths()


def _plain_name(name: str) -> str:
    """Return a file name that is nothing else: no folder, no dash in front, ASCII."""
    last = re.split(r"[/\\]", name)[-1]
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", last).lstrip(".-")[-60:]
    stem = plain.rsplit(".", 1)[0] or "protocol"
    return f"{stem}.yaml"
