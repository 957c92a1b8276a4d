"""A template encoded twice: what was compared when somebody wrote it again from its sources."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trialsim.protocol.quantities import Frozen, Text, Whole

__all__ = ["Disagreement", "SecondEncoding"]


class Disagreement(Frozen):
    """Something the two encodings said differently, and which words the file now has and why."""

    about: Text
    first: Text
    second: Text
    resolved: Text

    def __str__(self) -> str:
        return f"{self.about}: {self.first}; again: {self.second}. Now: {self.resolved}"


class SecondEncoding(Frozen):
    """The comparison with an encoding by someone who had not seen the first (block ``qc:``)."""

    date: Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
    compared: Text
    n_values: Annotated[Whole, Field(ge=1)]
    differences: Annotated[tuple[Disagreement, ...], Field(max_length=200)] = ()
    outcome: Text
