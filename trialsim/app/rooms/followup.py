"""The room Follow-up: the same patients read out at several horizons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from trialsim.app.about import About
from trialsim.app.rooms.room import Room
from trialsim.app.state import Choice, State, entered
from trialsim.app.worker import Answer

__all__ = ["ROOM"]


@dataclass(frozen=True)
class FollowupState(State):
    """What may be entered."""

    command: ClassVar[tuple[str, ...]] = ("followup",)
    template: str = entered(Choice("Protocol"), "chronic-hepatitis-b")


def view(
    state: FollowupState, answer: Answer | None, about: About | None, more: Mapping[str, Answer]
) -> Mapping[str, object]:
    """Return what the template shows."""
    del state, about, more
    return {"shown": answer.shown if answer else ""}


QUESTION = "How long should patients be followed?"
ROOM = Room("followup", "Follow-up", QUESTION, FollowupState, view, long=True)
