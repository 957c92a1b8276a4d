"""A process that has imported all that commands import, and becomes one of them by forking.

Reads one request per line (JSON: words, cwd, stdout, stderr), answers with its exit status. A
command starts as a user's does, without the second its imports take: tests run hundreds of them.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import sys
from typing import Any, NoReturn

import trialsim
from trialsim.cli import main


def import_all() -> None:
    for module in pkgutil.walk_packages(trialsim.__path__, "trialsim."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def become(request: dict[str, Any], program: str) -> NoReturn:
    signal.alarm(300)  # a command that hangs must fail its test
    os.chdir(request["cwd"])
    for target, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = [program, *request["words"]]
    sys.exit(main())


def serve(program: str) -> None:
    import_all()
    answers = os.fdopen(os.dup(1), "w")
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            become(json.loads(line), program)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
