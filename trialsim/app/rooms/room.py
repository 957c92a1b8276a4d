"""What a room is, for the pages that serve them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trialsim.app.about import About
from trialsim.app.state import State
from trialsim.app.worker import Answer, Want

__all__ = [
    "Choices",
    "Drawing",
    "Room",
    "always",
    "as_it_is",
    "no_choices",
    "no_first",
    "no_more",
]

Choices = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Drawing:
    """A figure of several answers, which no command draws.

    Attributes
    ----------
    order : callable
        (state, answer, more, told) -> what the worker is given; None where there is
        nothing to draw. `told` is given the words of a command, and returns it as it is typed.
    worker : str
        Of the function that draws it, with its module.
    """

    order: Callable[
        [Any, Answer, Mapping[str, Answer], Callable[[tuple[str, ...]], str]], object | None
    ]
    worker: str


def no_choices(about: About | None) -> Choices:
    """All choices are fixed."""
    del about
    return {}


def as_it_is(state: Any, about: About) -> State:
    """Return a state that suits every template."""
    del about
    found: State = state
    return found


def always(state: Any) -> bool:
    """Whatever is asked."""
    del state
    return True


def no_first(state: Any) -> State | None:
    """Answer what is asked for at once."""
    del state
    return None


def no_more(state: Any) -> Mapping[str, tuple[str, ...]]:
    """One command says it all."""
    del state
    return {}


@dataclass(frozen=True)
class Room:
    """One room: its state, its command, its page.

    Attributes
    ----------
    slug : str
        In the address, and of its template: ``size`` -> ``/size``, ``templates/size.html.j2``.
    title, question : str
        In the navigation, and above the form.
    state : type of State
    view : callable
        (state, answer, about, more) -> what the template shows. `answer` is None while it is
        computed, where there are problems, and for a room without a command; `more` holds the
        answers of further commands by name.
    choices : callable
        (about) -> options of the fields whose choices depend on the template.
    more : callable
        (state) -> further commands that the page needs, by name.
    may_refuse : frozenset of str
        Names of further commands that do not apply everywhere: why not stands in the
        ``problems`` of their answer, and the page is shown all the same.
    want : Want
        `SERIES` where `view` reads the numbers of figures; `FIGURES` where a run is so long that
        its figures are better drawn in the same go; else `NUMBERS`.
    long : bool
        Whether its command often takes more than a second: such jobs leave one process free.
    fitted : callable
        (state, about) -> the state with what is at rest as the template lets it be.
    is_unfitted : callable
        (state) -> whether it waits for the protocol to be fitted to it; only where it is `fitted`.
    first : callable
        (state) -> a cheaper state, whose answer is shown, and said to be the first, until that of
        the state is there; None where there is none.
    drawings : dict of name to Drawing
        Figures that its commands do not draw.
    precomputed : tuple of State
        What the file without a server holds of it; without any, its default.
    """

    slug: str
    title: str
    question: str
    state: type[State]
    view: Callable[[Any, Answer | None, About | None, Mapping[str, Answer]], Mapping[str, object]]
    choices: Callable[[About | None], Choices] = no_choices
    more: Callable[[Any], Mapping[str, tuple[str, ...]]] = no_more
    may_refuse: frozenset[str] = frozenset()
    want: Want = Want.SERIES
    long: bool = False
    fitted: Callable[[Any, About], State] = as_it_is
    is_unfitted: Callable[[Any], bool] = always
    first: Callable[[Any], State | None] = no_first
    drawings: Mapping[str, Drawing] = field(default_factory=dict)
    precomputed: tuple[State, ...] = ()
