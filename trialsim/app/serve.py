"""Open the door: a port on the loopback, warm processes, a browser."""

from __future__ import annotations

import argparse
import asyncio
import errno
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from trialsim.errors import Problem, RequestError

if TYPE_CHECKING:
    from trialsim.app.pool import Pool

__all__ = ["run"]

_LIBRARIES = ("starlette", "uvicorn", "python_multipart")
LOOPBACK = "127.0.0.1"
_FIRST_PORT, _LAST_PORT = 1, 65_535


def run(options: argparse.Namespace) -> None:
    """Serve the page until it is interrupted.

    Raises
    ------
    RequestError
        Where the libraries of the page are absent, or the port is taken.
    """
    absent = [name for name in _LIBRARIES if find_spec(name) is None]
    if absent:
        rule = f"needs {', '.join(absent)}, which is not installed"
        remedy = "Install what the page needs: pip install 'trialsim[app]'."
        raise RequestError(Problem(rule, remedy, "app"))
    if options.export is not None:
        from trialsim.app.offline import export

        print(f"wrote {export(options.export)}", file=sys.stderr)
        return
    import uvicorn

    from trialsim.app.pool import Pool
    from trialsim.app.web import make_app
    from trialsim.cli.parser import program_name

    door = _door(options.port)
    port = door.getsockname()[1]
    names = (LOOPBACK, "localhost")
    hosts = frozenset(f"{name}:{port}" for name in names) | ({*names} if port == 80 else set())
    pool = Pool()
    app = make_app(hosts=hosts, pool=pool, big=options.big, program=program_name())
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=32_768,
    )
    address = f"http://{LOOPBACK}:{port}/"
    threading.Thread(target=_welcome, args=(pool, address, options), daemon=True).start()
    server = uvicorn.Server(config)
    try:
        with suppress(KeyboardInterrupt):  # the way it is ended
            asyncio.run(server.serve(sockets=[door]))
    finally:
        pool.close()
    print("stopped", file=sys.stderr)


def _door(port: int) -> socket.socket:
    """Return a listening socket of the loopback; 0 for any free port."""
    if not (port == 0 or _FIRST_PORT <= port <= _LAST_PORT):
        rule, remedy = "must be from 1 to 65535", "The default is 8765; 0 takes any free port."
        raise RequestError(Problem(rule, remedy, "--port", str(port)))
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there it would let two programs share a port
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((LOOPBACK, port))
        door.listen(128)
    except OSError as error:
        door.close()
        taken = error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", None))
        rule = "is in use" if taken else f"cannot be opened ({error.strerror})"
        remedy = f"Perhaps the page is open already: http://{LOOPBACK}:{port}/. Else: --port 0."
        raise RequestError(Problem(rule, remedy, "--port", str(port))) from None
    return door


def _welcome(pool: Pool, address: str, options: Any) -> None:
    """Say where the page is once it can answer, and open the browser."""
    pool.wait_until_ready(20)
    shown = f"{address}?big=1" if options.big else address
    print(f"trialsim is at {shown}   (Ctrl-C ends it)", file=sys.stderr, flush=True)
    if not options.no_browser:
        webbrowser.open(shown)
