"""The room Evidence: published results and their verdicts."""

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
class EvidenceState(State):
    """What may be entered."""

    command: ClassVar[tuple[str, ...]] = ("evidence",)
    takes_template: ClassVar[bool] = False


def view(
    state: EvidenceState, answer: Answer | None, about: About | None, more: Mapping[str, Answer]
) -> Mapping[str, object]:
    """Return what the template shows."""
    del state, about, more
    return {"shown": answer.shown if answer else ""}


ROOM = Room(
    "evidence",
    "Evidence",
    "What was published, and where do the sources disagree?",
    EvidenceState,
    view,
)
