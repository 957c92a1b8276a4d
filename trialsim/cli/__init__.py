"""The command line: parse, call, print. No arithmetic."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trialsim.errors import TrialsimError

__all__ = ["main"]

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 an answer; 1 failed; 2 usage, bad input or unsupported design; 130 interrupted.
    """
    os.environ.setdefault(
        "PYDANTIC_DISABLE_PLUGINS", "1"
    )  # 35 ms, and no foreign code on our input
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a title in any script must not end a run
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt_once)
    words = list(sys.argv[1:] if arguments is None else arguments)
    from trialsim.cli.parser import parse
    from trialsim.errors import TrialsimError

    try:
        try:
            options = parse(words)
            status = int(options.run(options) or 0)
            return _interrupted() if status == INTERRUPTED else status
        except TrialsimError as error:
            return _refuse(error, as_json="--json" in words)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _interrupted()
    except BrokenPipeError:  # the reader had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a name too long, a folder that went away
        what = error.strerror or str(error)
        print(
            f"{error.filename or 'output'}: {what}. Check space and permissions.", file=sys.stderr
        )
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _interrupt_once(*_: object) -> None:
    """Stop at the first Ctrl-C; a second must not stop the stopping."""
    signal.signal(signal.SIGINT, lambda *_: None)
    raise KeyboardInterrupt


def _interrupted() -> int:
    """Leave at once where there were worker processes: waiting for them could take for ever."""
    if "concurrent.futures.process" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # they leave with this process; what is kept was written whole
    return INTERRUPTED


def _refuse(error: TrialsimError, *, as_json: bool) -> int:
    from trialsim.report.document import errors_document

    if as_json:
        print(errors_document(error.problems))
    else:
        for problem in error.problems:
            print(problem, file=sys.stderr)
    return error.exit_status
