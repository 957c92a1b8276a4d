"""The rooms of the page, one module and one template each; `docs/contribute/a-room.md` adds one."""

from __future__ import annotations

from trialsim.app.rooms import bias_lab, evidence, followup, size
from trialsim.app.rooms.room import Room

__all__ = ["ROOMS"]

ROOMS: dict[str, Room] = {
    room.slug: room for room in (size.ROOM, followup.ROOM, bias_lab.ROOM, evidence.ROOM)
}
