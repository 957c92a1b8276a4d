"""What was drawn of patients, kept for whoever asks again: a dial that is turned moves few of them.

Nothing is kept unless somebody says so; numbers do not depend on it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

__all__ = ["keeping_draws", "kept"]

Found = TypeVar("Found")


class _KeptDraws:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._found: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def found(self, key: str, draw: Callable[[], Any]) -> Any:
        if key in self._found:
            self._found.move_to_end(key)
            return self._found[key][0]
        found, size = draw(), 0
        for array in _arrays(found):
            array.flags.writeable = False  # whoever asks next gets the same
            size += array.nbytes
        self._found[key] = (found, size)
        self._bytes += size
        while self._bytes > self._max_bytes:
            _, (_, oldest) = self._found.popitem(last=False)
            self._bytes -= oldest
        return found


_KEPT: ContextVar[_KeptDraws | None] = ContextVar("kept draws", default=None)


@contextmanager
def keeping_draws(max_bytes: int) -> Iterator[None]:
    """Keep the draws asked for last, up to so many bytes, while this lasts; within another, its."""
    token = _KEPT.set(_KEPT.get() or _KeptDraws(max_bytes))
    try:
        yield
    finally:
        _KEPT.reset(token)


def kept(depends_on: tuple[object, ...], draw: Callable[[], Found]) -> Found:
    """Return what `draw` draws, or drew before.

    Parameters
    ----------
    depends_on : tuple
        Everything the draws depend on; what has the same ``repr`` is the same.
    draw : callable
        Returns arrays, in dataclasses and containers.
    """
    keeper = _KEPT.get()
    found: Found = keeper.found(repr(depends_on), draw) if keeper else draw()
    return found


def _arrays(found: Any) -> Iterator[np.ndarray[Any, Any]]:
    if isinstance(found, np.ndarray):
        yield found
    elif is_dataclass(found):
        for field in fields(found):
            yield from _arrays(getattr(found, field.name))
    elif isinstance(found, Mapping):
        for value in found.values():
            yield from _arrays(value)
    elif isinstance(found, list | tuple):
        for value in found:
            yield from _arrays(value)
