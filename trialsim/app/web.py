"""Routes and pages of the local web page."""

from __future__ import annotations

import asyncio
import math
import re
import shlex
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files as packaged
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from trialsim import __version__
from trialsim.app.about import About
from trialsim.app.answers import Answers, without_files
from trialsim.app.files import MAX_UPLOAD_BYTES, Files
from trialsim.app.guard import Guard
from trialsim.app.pool import BusyError, CancelledError, FailedError, Job, Pool, TooLongError
from trialsim.app.rooms import ROOMS
from trialsim.app.rooms.room import Drawing, Room, as_it_is
from trialsim.app.state import Read
from trialsim.app.wording import answer_on_page, problem_on_page
from trialsim.app.worker import Answer, Drawn, Want
from trialsim.errors import Problem, RequestError
from trialsim.report.text import DISCLAIMER

__all__ = ["Pages", "Visit", "environment", "make_app", "static_text"]

PATIENCE_SECONDS = 0.8  # then the page is shown without its answer, and fetches it
LOOK_UP_SECONDS = 5.0  # whether a download is still waited for
FORM_PATIENCE_SECONDS = 5.0  # for what may be chosen: a form is not drawn again
_TYPES = {
    "svg": "image/svg+xml; charset=utf-8",
    "png": "image/png",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json; charset=utf-8",
}
_SCRIPT = "text/javascript; charset=utf-8"
_STATIC = {"app.css": "text/css; charset=utf-8", "app.js": _SCRIPT, "funnel.js": _SCRIPT}


@dataclass
class Visit:
    """One request for a room: what was asked, and how far its answer is."""

    room: Room
    read: Read
    big: bool
    about: About | None = None
    answer: Answer | None = None
    more: dict[str, Answer] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    first: Answer | None = None  # of the cheaper state, until the answer is there
    jobs: tuple[Job, ...] = ()  # under way
    whole: bool = False  # waited for, however long it takes
    quick: bool = False  # the first answer is all that is asked for
    held: bool = False  # cancelled: nothing is begun

    @property
    def state(self) -> Any:
        """Return what was asked for, as far as it could be read."""
        return self.read.state

    def address(self, where: str = "", **more: str) -> str:
        """Return an address of this state: of the room's page, or of a file of it."""
        given = {**({"big": "1"} if self.big else {}), **more}
        query = self.state.query(**given)
        path = f"{where}/{self.room.slug}" if where else f"/{self.room.slug}"
        return f"{path}?{query}" if query else path

    def figure(self, name: str, kind: str) -> str:
        """Return the address of one of its figures."""
        query = self.state.query()
        return f"/figure/{self.room.slug}/{name}.{kind}{'?' + query if query else ''}"


class Pages:
    """What the routes share: answers, files, templates."""

    def __init__(self, answers: Answers, files: Files, *, big: bool, program: str) -> None:
        self.answers, self.files, self.big, self.program = answers, files, big, program

    # -- a room --------------------------------------------------------------------------------

    async def home(self, request: Request) -> Response:
        """Show the questions, each with its room."""
        return self._html("home.html.j2", big=self._is_big(request), room=None)

    async def room(self, request: Request) -> Response:
        """Show a room, or (``part=answer``) its answer alone."""
        room = ROOMS[request.path_params["room"]]
        part = request.query_params.get("part") == "answer"
        visit = await self.visited(room, request, tab=_tab(request))
        text = self.shown(visit, layout="bare.html.j2" if part else "base.html.j2")
        answer = Response(text, media_type="text/html")  # of problems, too: it is a whole page
        answer.headers["x-address"] = visit.address()
        return answer

    async def visited(self, room: Room, request: Request, *, tab: str = "") -> Visit:
        """Read the address and find its answer, or the jobs that will."""
        query = request.query_params
        visit = Visit(room, room.state.read(query), self._is_big(request))
        visit.held, visit.quick = query.get("held") == "1", query.get("quick") == "1"
        visit.problems = visit.read.problems
        return await self.answered(visit, PATIENCE_SECONDS, tab)

    async def answered(self, visit: Visit, seconds: float | None, tab: str = "") -> Visit:
        """Find the answer of a visit, waiting for it so long, or (None) as long as it takes."""
        visit.whole = seconds is None
        try:
            await self._fit(visit, seconds and FORM_PATIENCE_SECONDS)
            wanted = self._wanted(visit, tab)
        except RequestError as error:
            visit.problems += error.problems
            return visit
        except BusyError:
            visit.problems += (_BUSY,)
            return visit
        if visit.quick:  # what is shown stays until it is there
            await _wait_for(wanted, FORM_PATIENCE_SECONDS)
        elif _FIRST in wanted:
            await _wait_for({_FIRST: wanted[_FIRST]}, seconds)
            seconds = 0.05  # what else is there already comes along
        await _wait_for(wanted, seconds)
        self._take(visit, wanted)
        if visit.quick and not (visit.first or visit.jobs or visit.problems):
            visit.quick = False  # so few trials do not answer it
            return await self.answered(visit, PATIENCE_SECONDS, tab)
        return visit

    async def _fit(self, visit: Visit, seconds: float | None) -> None:
        """Let the state of a room that asks for it fit its protocol, once that is read.

        Raises
        ------
        RequestError, BusyError
        """
        room, template = visit.room, self._template(visit)
        if template and room.fitted is not as_it_is and room.is_unfitted(visit.state):
            job = self.answers.about(template)
            await _wait_for({"about": job}, seconds)
            self._take(visit, {"about": job})
            visit.jobs = ()
            if visit.about and not visit.about.problems:
                fitted = room.fitted(visit.state, visit.about)
                typed = {name: text for name, text in visit.read.typed.items() if text}
                visit.read = replace(visit.read, state=fitted, typed=typed)

    @staticmethod
    def _template(visit: Visit) -> str:
        return visit.state.template if visit.state.takes_template else ""

    def _wanted(self, visit: Visit, tab: str) -> dict[str, Job]:
        """Return the jobs of a page by name: "about", "" (its answer), and further ones."""
        state, room = visit.state, visit.room
        template = self._template(visit)
        found = {"about": self.answers.about(template)} if template else {}
        if visit.problems or visit.held:
            return found
        first = None if visit.whole else room.first(state)
        asked = {_FIRST: first.words()} if first else {}
        if not (visit.quick and first):
            asked |= {"": state.words(), **room.more(state)}
        try:
            for name, words in asked.items():
                if words:
                    long = room.long and name != _FIRST
                    found[name] = self.answers.job(words, template, room.want, tab, long=long)
        finally:
            self.answers.now_waits(tab, found.values())
        return found

    def _take(self, visit: Visit, wanted: dict[str, Job]) -> None:
        shown = self.files.shown(visit.state.template)
        for name, job in wanted.items():
            if not job.is_over:
                visit.jobs += (job,)
                continue
            found, trouble = _outcome(job)
            if isinstance(found, About):
                visit.about = without_files(found, shown) if found.problems else found
                continue
            found = found and answer_on_page(found, type(visit.state))
            if name == _FIRST:
                visit.first = found if found and not found.problems else None
            elif trouble:
                visit.problems += (trouble,)
            elif found.problems and name not in visit.room.may_refuse:
                visit.problems += tuple(p for p in found.problems if p not in visit.problems)
            elif name:
                visit.more[name] = found
            else:
                visit.answer = found
        if visit.about and visit.about.problems and not visit.problems:
            visit.problems = visit.about.problems

    def shown(self, visit: Visit, *, layout: str = "base.html.j2", saved: bool = False) -> str:
        """Return a visit as HTML: the whole page, or (``bare.html.j2``) its answer alone."""
        room, state = visit.room, visit.state
        partly = visit.first is not None
        ready = not (visit.problems or visit.held or (visit.jobs and not partly))
        answer = (visit.answer or visit.first) if ready else None
        cheaper = room.first(state) if ready and partly and not visit.answer else None
        told = cheaper or state
        own = room.view(told, answer, visit.about, visit.more) if ready else {}
        answers = [a for a in (answer, *visit.more.values()) if a and a.document] if ready else []
        context: dict[str, Any] = {
            "layout": layout,
            "room": room,
            "visit": visit,
            "problems": _on_page(visit),
            "state": state,
            "typed": visit.read.typed,
            "entries": room.state.entries(),
            "choices": self._choices(visit),
            "about": visit.about,
            "answer": answer,
            "ready": ready,
            "is_first": told != state,
            "quick": visit.quick and ready,
            "has_first": room.first(state) is not None,
            "big": visit.big,
            "saved": saved,
            "moves": not saved or layout == "bare.html.j2",  # a saved page has no script
            "command": "" if visit.read.problems else self._command(told.words()),
            "further": [
                self._command(words)
                for name, words in room.more(state).items()
                if ready and name in visit.more and visit.more[name].document
            ],
            "program": self.program,
            "facts": [_facts(a.document) for a in answers],
            "warnings": _once(w for a in answers for w in a.document.get("warnings", ())),
            "figures": {name: drawn for a in answers for name, drawn in a.figures.items()},
            "share_done": _share(visit.jobs),
            "jobs": ",".join(job.id for job in visit.jobs),
        }
        return self._rendered(f"{_module(room)}.html.j2", {**context, **own})

    def _choices(self, visit: Visit) -> dict[str, list[tuple[str, str]]]:
        found = {name: list(given) for name, given in visit.room.choices(visit.about).items()}
        if visit.state.takes_template and "template" not in found:
            found["template"] = self._templates()
        for name, given in found.items():  # what is asked about can be seen, listed or not
            asked = visit.state.entries()[name].shown(getattr(visit.state, name))
            if asked and asked not in dict(given):
                given.append((asked, asked))
        return found

    def _templates(self) -> list[tuple[str, str]]:
        from trialsim.protocol.reading.places import template_paths

        names = [(name, name) for name in template_paths()]
        names += [(name, f"{name} (this folder)") for name in self.files.local()]
        uploaded = self.files.uploaded()
        return [*names, *((name, f"{self.files.shown(name)} (uploaded)") for name in uploaded)]

    def _command(self, asked: tuple[str, ...]) -> str:
        words = [self.files.shown(word) for word in asked]
        return f"{self.program} {shlex.join(words)}" if words else ""

    # -- files of a room -----------------------------------------------------------------------

    async def save(self, request: Request) -> Response:
        """Return a room and its answer as one file that needs no server."""
        visit = await self._whole(request, Want.FIGURES)
        if isinstance(visit, Response):
            return visit
        text = self.shown(visit, saved=True)
        name = f"trialsim-{visit.room.slug}-{_stem(visit)}.html"
        return _download(text.encode(), "text/html; charset=utf-8", name)

    async def figure(self, request: Request) -> Response:
        """Return a figure as SVG, PNG or CSV."""
        kind, name = request.path_params["kind"], request.path_params["name"]
        if kind not in ("svg", "png", "csv"):
            return PlainTextResponse("A figure is svg, png or csv.\n", 404)
        room = ROOMS.get(request.path_params["room"])
        own = room.drawings.get(name) if room else None
        visit = await self._whole(request, room.want if room and own else Want.FIGURES)
        if isinstance(visit, Response):
            return visit
        try:
            drawn = await self._drawing(visit, own) if own else self._drawn(visit, name)
        except BusyError:
            return PlainTextResponse(f"{_BUSY}\n", 503)
        if drawn is None:
            return PlainTextResponse("There is no such figure.\n", 404)
        content = {"svg": drawn.svg.encode(), "png": drawn.png, "csv": drawn.csv.encode()}[kind]
        called = f"trialsim-{visit.room.slug}-{_stem(visit)}-{name}.{kind}"
        if request.query_params.get("download") == "1" or kind == "csv":
            return _download(content, _TYPES[kind], called)
        return Response(content, headers={"content-type": _TYPES[kind]})

    async def data(self, request: Request) -> Response:
        """Return the document of a room's answer, as the command line prints it."""
        kind = request.path_params["kind"]
        if kind not in ("json", "csv"):
            return PlainTextResponse("A document is json or csv.\n", 404)
        visit = await self._whole(request, Want.NUMBERS)
        if isinstance(visit, Response):
            return visit
        if visit.answer is None:
            return PlainTextResponse("This room has no one document.\n", 404)
        text = visit.answer.json_text + "\n" if kind == "json" else visit.answer.csv_text
        name = f"trialsim-{visit.room.slug}-{_stem(visit)}.{kind}"
        return _download(text.encode(), _TYPES[kind], name)

    async def _drawing(self, visit: Visit, own: Drawing) -> Drawn | None:
        """Return a figure of several answers, drawn in a process; None where there is none.

        Raises
        ------
        BusyError
        """
        order = visit.answer and own.order(visit.state, visit.answer, visit.more, self._command)
        if not order:
            return None
        job = self.answers.drawing(own.worker, order)
        await _wait_for({"": job})
        found, _ = _outcome(job)
        return found if isinstance(found, Drawn) else None

    @staticmethod
    def _drawn(visit: Visit, name: str) -> Drawn | None:
        answers = ([visit.answer] if visit.answer else []) + list(visit.more.values())
        return next((a.figures[name] for a in answers if name in a.figures), None)

    async def _whole(self, request: Request, want: Want) -> Visit | Response:
        """Return a visit with its answer, waited for; or what to say instead."""
        room = ROOMS.get(request.path_params["room"])
        if room is None:
            return PlainTextResponse("There is no such room.\n", 404)
        visit = Visit(room, room.state.read(request.query_params), self._is_big(request))
        visit.problems, visit.whole = visit.read.problems, True
        try:
            await self._fit(visit, None)
            wanted = self._wanted(visit, "")
            if want is not room.want:
                state, template = visit.state, self._template(visit)
                if words := state.words():
                    wanted[""] = self.answers.job(words, template, want, long=room.long)
                for name, further in room.more(state).items():
                    wanted[name] = self.answers.job(further, template, want, long=room.long)
        except RequestError as error:
            visit.problems += error.problems
            return _refused(visit)
        except BusyError:
            return PlainTextResponse(f"{_BUSY}\n", 503)
        while not all(job.is_over for job in wanted.values()):
            await _wait_for(wanted, LOOK_UP_SECONDS)
            if await request.is_disconnected():
                return Response(status_code=499)  # nobody reads it: the jobs are abandoned
        self._take(visit, wanted)
        if visit.problems:
            return _refused(visit)
        return visit

    # -- jobs and uploads ----------------------------------------------------------------------

    async def job(self, request: Request) -> Response:
        """Say how far jobs are."""
        jobs = self._jobs(request)
        self.answers.still_waits(_tab(request), jobs)
        left = sum(not job.is_over for job in jobs)
        return JSONResponse({"over": not left, "share_done": _share(jobs), "left": left})

    async def cancel(self, request: Request) -> Response:
        """End jobs nobody else waits for, and return to the room without beginning them again."""
        async with request.form(max_files=0, max_fields=100, max_part_size=4_096) as form:
            for job in self._jobs(request):
                self.answers.cancel(str(form.get("tab", "")), job)
        room = ROOMS.get(str(form.get("room")), ROOMS["size"])
        read = room.state.read({k: v for k, v in form.items() if isinstance(v, str)})
        back = read.state.query(held="1", **({"big": "1"} if form.get("big") == "1" else {}))
        return RedirectResponse(f"/{room.slug}?{back}", 303)

    def _jobs(self, request: Request) -> tuple[Job, ...]:
        names = str(request.path_params["jobs"]).split(",")[:20]
        return tuple(self.answers.jobs[name] for name in names if name in self.answers.jobs)

    async def upload(self, request: Request) -> Response:
        """Keep a protocol file and show the room with it, or what is wrong with it."""
        room = ROOMS[request.path_params["room"]]
        async with request.form(max_files=1, max_fields=4, max_part_size=4_096) as form:
            sent = form.get("file")
            name = getattr(sent, "filename", "") or ""
            content = await sent.read() if sent is not None and not isinstance(sent, str) else b""
        big = form.get("big") == "1"
        visit = Visit(room, room.state.read({}), big, held=True)
        if not name or not content:
            visit.problems = (Problem("is missing or empty", "Choose a YAML file.", "File", name),)
        elif len(content) > MAX_UPLOAD_BYTES:
            remedy = "A protocol file is at most 1 MB."
            visit.problems = (Problem("is too large", remedy, "File", f"{len(content):,} bytes"),)
        if visit.problems:
            return Response(self.shown(visit), media_type="text/html")
        called = self.files.keep(name, content)
        visit.read = room.state.read({"template": called})
        try:
            checked = self.answers.job(("check", called), called, Want.NUMBERS)
            await _wait_for({"": checked})
        except BusyError:
            visit.problems = (_BUSY,)
            return Response(self.shown(visit), media_type="text/html")
        found, trouble = _outcome(checked)
        visit.problems = (trouble,) if trouble else found.problems or _not_a_protocol(found)
        if visit.problems:
            return Response(self.shown(visit), media_type="text/html")
        query = urlencode({"template": called, **({"big": "1"} if big else {})})
        return RedirectResponse(f"/{room.slug}?{query}", 303)

    # -- pages ---------------------------------------------------------------------------------

    def _is_big(self, request: Request) -> bool:
        given = request.query_params.get("big")
        return self.big if given is None else given == "1"

    def _html(self, template: str, **context: Any) -> Response:
        return Response(self._rendered(template, context), media_type="text/html")

    @staticmethod
    def _rendered(template: str, context: Mapping[str, Any]) -> str:
        given: dict[str, Any] = {
            "rooms": ROOMS.values(),
            "version": __version__,
            "disclaimer": DISCLAIMER,
        }
        given |= {"saved": False, **context}
        if given["saved"]:
            given["css"] = static_text("app.css")
        text: str = environment().get_template(template).render(given)
        return text


_FIRST = "first"  # the job of a cheaper state, among those of a page
_BUSY = Problem(
    "There are too many calculations under way",
    "Wait until one has ended, cancel one, or use the command line.",
)


_CHANCES = (
    *("power", "error", "probability", "verdict", "published_share", "coverage"),
    *("gap_as_large", "told_apart", "comes_first", "settles"),
)


def _outcome(job: Job) -> tuple[Any, Problem | None]:
    """Return what a job found, or in words why it found nothing."""
    try:
        return job.outcome.result(timeout=0), None
    except CancelledError:
        return None, Problem("was cancelled", "Press Calculate to begin again.", "The calculation")
    except BusyError:
        return None, _BUSY
    except TooLongError:
        remedy = "Ask for fewer simulated trials, or run the command below in a terminal."
        return None, Problem("took longer than this page allows", remedy, "The calculation")
    except FailedError as error:
        remedy = "Run the command below in a terminal to see more."
        return None, Problem("ended without an answer", remedy, "The calculation", str(error))


async def _wait_for(wanted: Mapping[str, Job], seconds: float | None = None) -> None:
    """Wait until jobs are over, or so long; while somebody waits a job is not abandoned."""
    jobs = list(wanted.values())
    for job in jobs:
        job.awaited += 1
    try:
        if jobs:
            futures = [asyncio.wrap_future(_shielded(job)) for job in jobs]
            await asyncio.wait(futures, timeout=seconds)
    finally:
        for job in jobs:
            job.awaited -= 1
            job.asked()


def _shielded(job: Job) -> Future[Any]:
    """Return a future of the job that may be given up without giving up the job."""
    copy: Future[Any] = Future()

    def over(_: Future[Any]) -> None:
        if copy.set_running_or_notify_cancel():
            copy.set_result(None)

    job.outcome.add_done_callback(over)
    return copy


def _share(jobs: tuple[Job, ...]) -> float:
    return sum(1.0 if j.is_over else j.share_done for j in jobs) / len(jobs) if jobs else 0.0


def _facts(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands under every answer: how often it was simulated, how exact it is."""
    rows = [*document.get("rows", ()), *document.get("observed", ())]
    counts = sorted({row["n_replicates"] for row in rows if row.get("n_replicates")})
    errors = [row["mcse"] for row in rows if row.get("mcse") and _is_a_chance(row)]
    return {
        "command": document.get("command", ""),
        "replicates": counts,
        "seed": document.get("seed"),
        "largest_mcse": max(errors, default=None),
    }


def _once(warnings: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what several commands warn of, each once."""
    return list({w["text"]: w for w in warnings}.values())


def _is_a_chance(row: Mapping[str, Any]) -> bool:
    return any(word in row["measure"] for word in _CHANCES)


def _not_a_protocol(found: Answer) -> tuple[Problem, ...]:
    kinds = [row["kind"] for row in found.document.get("rows", ()) if "kind" in row]
    rule = f"is right, but is a {kinds[0]} file" if kinds else ""
    return (Problem(rule, "Upload a protocol: 'trialsim new' makes one.", "File"),) if kinds else ()


def _on_page(visit: Visit) -> list[Problem]:
    """Return what is wrong, in the words of the room."""
    return [problem_on_page(p, type(visit.state)) for p in visit.problems]


def _refused(visit: Visit) -> Response:
    return PlainTextResponse("".join(f"{p}\n" for p in _on_page(visit)), 422)


def _tab(request: Request) -> str:
    return request.headers.get("x-tab", "")[:40]


def _module(room: Room) -> str:
    return room.slug.replace("-", "_")


def _stem(visit: Visit) -> str:
    return visit.about.id if visit.about and visit.about.id else visit.room.slug


def _download(content: bytes, kind: str, name: str) -> Response:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    headers = {"content-type": kind, "content-disposition": f'attachment; filename="{safe}"'}
    return Response(content, headers=headers)


@lru_cache(maxsize=4)
def static_text(name: str) -> str:
    """Return a file that is served as it stands."""
    return (packaged("trialsim.app") / "static" / name).read_text(encoding="utf-8")


async def _static_file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return PlainTextResponse("There is no such file.\n", 404)
    return Response(static_text(name), headers={"content-type": _STATIC[name]})


async def _alive(_: Request) -> Response:
    return JSONResponse({"trialsim": __version__})


@lru_cache(maxsize=1)
def environment() -> Any:
    """Return what renders the page's templates."""
    from base64 import b64encode

    from jinja2 import Environment, PackageLoader, StrictUndefined

    class _Absent(StrictUndefined):
        """What a document need not hold: asked for it is not there, told it is a mistake."""

        def __bool__(self) -> bool:  # type: ignore[override]  # the strict one raises
            return False

    environment = Environment(
        loader=PackageLoader("trialsim.app", "templates"),
        autoescape=True,  # titles and notes are a stranger's text
        undefined=_Absent,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share, digits=1: f"{100 * share:.{digits}f}%"
    environment.filters["exp"] = math.exp
    environment.filters["grouped"] = lambda number: f"{number:,.0f}"
    environment.filters["as_data"] = lambda svg: (
        "data:image/svg+xml;base64," + b64encode(svg.encode()).decode()
    )
    environment.tests["choice"] = lambda entry: type(entry).__name__ == "Choice"
    environment.tests["quantity"] = lambda entry: type(entry).__name__ == "Number"
    environment.tests["switch"] = lambda entry: type(entry).__name__ == "Switch"
    return environment


def make_app(
    *,
    hosts: frozenset[str],
    working: Path | None = None,
    pool: Pool | None = None,
    big: bool = False,
    program: str = "trialsim",
) -> Guard:
    """Return the application.

    Parameters
    ----------
    hosts : frozenset of str
        What the Host header may say, with the port.
    working : Path
        Protocol files are read from here and from nowhere else; default the current folder.
    pool : Pool
        Started with the application, ended with it.
    big : bool
        For projectors, where an address does not say otherwise.
    program : str
        What to type to run a command.
    """
    files = Files(working or Path.cwd())
    computing = pool or Pool()
    pages = Pages(Answers(computing, files), files, big=big, program=program)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        computing.start()
        yield
        computing.close()
        files.close()

    routes = [
        Route("/", pages.home),
        Route("/alive", _alive),
        Route("/static/{name}", _static_file),
        Route("/jobs/{jobs}", pages.job),
        Route("/jobs/{jobs}/cancel", pages.cancel, methods=["POST"]),
        Route("/figure/{room}/{name}.{kind}", pages.figure),
        Route("/data/{room}.{kind}", pages.data),
        Route("/save/{room}", pages.save),
    ]
    for slug in ROOMS:
        routes += [
            Route(f"/{slug}", _in_room(pages.room, slug)),
            Route(f"/upload/{slug}", _in_room(pages.upload, slug), methods=["POST"]),
        ]
    handlers: dict[Any, Any] = {500: _mistake_of_ours, ClientDisconnect: _given_up}
    return Guard(Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers), hosts)


def _mistake_of_ours(request: Request, error: Exception) -> Response:
    """Say that it is a mistake of ours; the terminal shows which."""
    del error
    words = "A mistake of this program ended the page. The terminal shows more; the command line"
    return PlainTextResponse(f"{words} gives the same answers. Asked: {request.url.path}\n", 500)


def _given_up(request: Request, error: Exception) -> Response:
    """Answer an upload that was broken off; nobody reads it."""
    del request, error
    return Response(status_code=499)


def _in_room(page: Any, slug: str) -> Any:
    async def shown(request: Request) -> Response:
        request.path_params["room"] = slug
        answer: Response = await page(request)
        return answer

    return shown
