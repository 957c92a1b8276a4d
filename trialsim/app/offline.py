"""Lessons and precomputed rooms as one file that needs neither server nor installation.

``make precompute`` computes the file that ships. It carries the hash of what its numbers depend on,
and a test fails where the shipped file is stale.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialsim import __version__
from trialsim.app.rooms import ROOMS
from trialsim.app.rooms.lessons import LESSONS
from trialsim.errors import Problem, RequestError, SimulationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialsim.app.rooms.room import Room
    from trialsim.app.state import State

__all__ = ["SHIPPED", "export", "lessons_folder", "record_sha256", "recorded_sha256"]

SHIPPED = Path(__file__).parent / "precomputed.html"
_RECORD = re.compile(r'<meta name="trialsim-record" content="([0-9a-f]{64})">')


def states() -> Iterator[tuple[Room, State]]:
    """Yield what the file holds: each room's precomputed states, or its default."""
    for room in ROOMS.values():
        for state in room.precomputed or (room.state(),):
            yield room, state


def lesson_states() -> list[State]:
    """Return the five lessons of the Bias lab."""
    lab = ROOMS["bias-lab"]
    return [lab.state.read({"template": lesson}).state for lesson in LESSONS]


def script_and_hash() -> tuple[str, str]:
    """Return the one script of the file, that of the page, and what its policy calls it."""
    from trialsim.app.web import static_text

    script = _without_empty_lines(static_text("funnel.js"))
    return script, f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"


def _without_empty_lines(text: str) -> str:
    return re.sub(r"\n{2,}", "\n", text)


def record_sha256() -> str:
    """Return the hash of what it depends on: commands, protocols, lessons, script, version."""
    return sha256(json.dumps([__version__, *_dependencies()]).encode()).hexdigest()


def _dependencies() -> Iterator[list[str]]:
    from trialsim.cli.answer import load
    from trialsim.cli.parser import parse
    from trialsim.protocol.reading.load import load_template
    from trialsim.protocol.reading.places import conduct_paths, evidence_paths

    known: dict[tuple[str, ...], str] = {}
    for room, state in states():
        for words in (state.words(), *room.more(state).values()):
            if not words:
                continue
            options = parse(words)
            if hasattr(options, "settings"):
                named = (options.template, options.variant or "", *options.settings)
                if named not in known:
                    known[named] = load(options).sha256
                told = [known[named]]
            else:
                told = [sha256(path.read_bytes()).hexdigest() for path in evidence_paths()]
                told += [load_template(state.template).sha256] if state.takes_template else []
            if profile := conduct_paths().get(getattr(options, "conduct", None) or ""):
                told.append(sha256(profile.read_bytes()).hexdigest())
            yield [*words, *told]
    yield ["script", script_and_hash()[1]]
    for path in sorted(lessons_folder().parent.glob("*/*.yaml")):
        yield [path.name, sha256(path.read_bytes()).hexdigest()]
    for lesson in LESSONS.values():
        yield [lesson.id, *(word for words in lesson.commands.values() for word in words)]
    for path in _sheets():
        yield [path.name, sha256(path.read_bytes()).hexdigest()]


def recorded_sha256(path: Path) -> str:
    """Return the hash that a file carries, or ""."""
    found = _RECORD.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found[1] if found else ""


def lessons_folder() -> Path:
    """Return where the lessons' pages lie."""
    from trialsim.protocol.reading.places import lessons_folder as folder

    return folder() / "sheets"


def _sheets() -> list[Path]:
    return sorted(lessons_folder().glob("*-student.html"))


def export(path: Path) -> Path:
    """Write the file: the shipped one where it is not stale, else computed now.

    Raises
    ------
    RequestError
        If the file is there already, or cannot be written.
    SimulationError
        If a room has no answer.
    """
    if path.exists():
        rule, remedy = "is there already", "Name a new file; nothing is overwritten."
        raise RequestError(Problem(rule, remedy, "--export", str(path)))
    fresh = SHIPPED.is_file() and (not _sheets() or recorded_sha256(SHIPPED) == record_sha256())
    text = SHIPPED.read_text(encoding="utf-8") if fresh else asyncio.run(computed())
    with path.open("x", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
    return path


async def computed() -> str:
    """Compute every room and bind the file."""
    from trialsim.app.answers import Answers
    from trialsim.app.files import Files
    from trialsim.app.pool import Pool
    from trialsim.app.web import Pages, environment, static_text

    pool, files = Pool(), Files(Path.cwd())
    pages = Pages(Answers(pool, files), files, big=False, program="trialsim")
    pool.start()
    try:
        rooms: dict[str, Any] = {slug: (room, []) for slug, room in ROOMS.items()}
        few = asyncio.Semaphore(3)
        wanted = list(states())
        own = [(ROOMS["bias-lab"], state) for state in lesson_states()]
        parts = await asyncio.gather(*(_part(pages, *one, few) for one in (*wanted, *own)))
        lessons = parts[len(wanted) :]
        for (room, state), part in zip(wanted, parts[: len(wanted)], strict=True):
            rooms[room.slug][1].append((_in_words(state), part))
    finally:
        pool.close()
        files.close()
    script, script_hash = script_and_hash()
    page = environment().get_template("offline.html.j2")
    text: str = page.render(
        rooms=list(rooms.values()),
        lessons=[(*told, part) for told, part in zip(_sheets_told(), lessons, strict=False)],
        css=static_text("app.css"),
        script=script,
        script_hash=script_hash,
        record=record_sha256(),
        version=__version__,
    )
    return _without_empty_lines(text)


async def _part(pages: Any, room: Room, state: State, few: asyncio.Semaphore) -> str:
    """Return one answer as HTML; ids are dropped, since there are many answers in the file."""
    from trialsim.app.state import Read
    from trialsim.app.web import Visit

    async with few:
        visit = await pages.answered(Visit(room, Read(state, {}, ()), big=False), None)
    if visit.problems:
        raise SimulationError(visit.problems)
    text: str = pages.shown(visit, layout="bare.html.j2", saved=True)
    group = sha256(state.query().encode()).hexdigest()[:8]  # its radio buttons are its own
    text = text.replace('name="show"', f'name="show-{group}"')
    return re.sub(r'\sid="[^"]*"', "", text)


def _in_words(state: State) -> str:
    """Say in what a state differs from the default."""
    told = []
    for name, value in state.changed():
        entry = state.entries()[name]
        unit = getattr(entry, "unit", "")
        told.append(f"{entry.label}: {entry.shown(value)}{f' {unit}' if unit else ''}")
    return "; ".join(told) or "as it stands in the protocol"


def _sheets_told() -> Iterator[tuple[str, str, str]]:
    """Yield title, the student's sheet and the teacher's: guess first, then look."""
    for student in _sheets():
        teacher = student.with_name(student.name.replace("-student", "-teacher"))
        title = re.search(r"<title>(.*?)</title>", student.read_text(encoding="utf-8"))
        yield title[1] if title else student.stem, _body(student), _body(teacher)


def _body(path: Path) -> str:
    found = re.search(r"<body>(.*)</body>", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"<(/?)h([1-3])", lambda m: f"<{m[1]}h{int(m[2]) + 2}", found[1] if found else "")


if __name__ == "__main__":
    SHIPPED.write_text(asyncio.run(computed()), encoding="utf-8", newline="\n")
    print(SHIPPED.name, f"{SHIPPED.stat().st_size / 1e6:.1f} MB")
