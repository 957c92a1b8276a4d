"""The door: a port in use, a library that is absent, a number that is no port."""

from __future__ import annotations

import socket
from importlib.util import find_spec

import pytest

from trialsim.app import serve
from trialsim.cli.parser import parse
from trialsim.errors import RequestError


def test_regression_a_port_in_use_says_what_to_do():
    with socket.create_server((serve.LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RequestError, match=r"is in use.*--port 0"):
            serve.run(parse(["app", "--no-browser", "--port", str(port)]))


def test_regression_without_its_libraries_it_names_the_extra(monkeypatch):
    monkeypatch.setattr(
        serve, "find_spec", lambda name: None if name == "starlette" else find_spec(name)
    )
    with pytest.raises(RequestError, match=r"needs starlette.*pip install 'trialsim\[app\]'"):
        serve.run(parse(["app"]))


@pytest.mark.parametrize("port", ["70000", "65536"])
def test_regression_a_number_that_is_no_port_is_refused(port):
    with pytest.raises(RequestError, match="must be from 1 to 65535"):
        serve.run(parse(["app", "--port", port]))


def test_property_it_listens_on_the_loopback_alone():
    with serve._door(0) as door:
        assert door.getsockname()[0] == "127.0.0.1"
