"""The room Bias lab: one true effect, one dial per flaw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from trialsim.app.about import About
from trialsim.app.rooms.room import Room
from trialsim.app.state import State
from trialsim.app.worker import Answer

__all__ = ["ROOM"]


@dataclass(frozen=True)
class BiasState(State):
    """What may be entered."""

    command: ClassVar[tuple[str, ...]] = ("bias",)


def view(
    state: BiasState, answer: Answer | None, about: About | None, more: Mapping[str, Answer]
) -> Mapping[str, object]:
    """Return what the template shows."""
    del state, about, more
    return {"shown": answer.shown if answer else ""}


QUESTION = "What do flaws of conduct do to an effect?"
ROOM = Room("bias-lab", "Bias lab", QUESTION, BiasState, view, long=True)
