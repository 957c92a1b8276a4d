"""What was drawn of patients, kept for whoever asks again: a dial that is turned moves few of them.

Nothing is kept unless somebody says so; numbers do not depend on it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass, replace
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
            return _with_arrays(self._found[key][0], _as_drawn)
        found = draw()
        for array in _arrays(found):
            array.flags.writeable = False  # whoever asks next gets the same
        stored = _with_arrays(found, _narrow)
        size = sum(array.nbytes for array in _arrays(stored))
        self._found[key] = (stored, size)
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


@dataclass(frozen=True)
class _Narrow:
    """Whole numbers in as few bytes as hold them."""

    array: np.ndarray[Any, Any]


def _narrow(array: np.ndarray[Any, Any]) -> Any:
    """Return whole numbers narrowed, without a loss, and other arrays as they are."""
    if array.dtype != np.int64 or not array.size:
        return array
    least, most = np.min_scalar_type(array.min()), np.min_scalar_type(array.max())
    return _Narrow(array.astype(np.result_type(least, most)))


def _as_drawn(own: Any) -> np.ndarray[Any, Any]:
    if isinstance(own, np.ndarray):
        return own
    wide: np.ndarray[Any, Any] = own.array.astype(np.int64)
    wide.flags.writeable = False
    return wide


def _with_arrays(found: Any, change: Callable[[Any], Any]) -> Any:
    """Return what was found with every array changed; itself where none is."""
    if isinstance(found, np.ndarray | _Narrow):
        return change(found)
    if is_dataclass(found) and not isinstance(found, type):
        own = {field.name: getattr(found, field.name) for field in fields(found)}
        changed = _with_arrays(own, change)
        return found if changed is own else replace(found, **changed)
    if isinstance(found, Mapping):
        by_name = {name: _with_arrays(value, change) for name, value in found.items()}
        return by_name if any(by_name[n] is not value for n, value in found.items()) else found
    if isinstance(found, list | tuple):
        listed = [_with_arrays(value, change) for value in found]
        same = all(new is old for new, old in zip(listed, found, strict=True))
        make = getattr(type(found), "_make", type(found))  # of a named tuple
        return found if same else make(listed)
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
