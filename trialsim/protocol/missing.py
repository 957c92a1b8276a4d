"""How a read-out that is not seen enters the analysis of response at a visit."""

from __future__ import annotations

from enum import StrEnum

from trialsim.errors import Problem, RequestError, did_you_mean

__all__ = ["MissingReadOut", "missing_from_words"]


class MissingReadOut(StrEnum):
    """What is done for a patient who was not seen at the visit that is read.

    Who is known to have died is not missing but without response, whatever is done.
    """

    FAILURE = "failure"
    COMPLETE_CASE = "complete-case"
    LAST_OBSERVATION = "last-observation"
    MULTIPLE_IMPUTATION = "multiple-imputation"

    @property
    def in_words(self) -> str:
        """What a screen calls it."""
        return {
            MissingReadOut.FAILURE: "missing = failure",
            MissingReadOut.COMPLETE_CASE: "complete case",
            MissingReadOut.LAST_OBSERVATION: "last observation",
            MissingReadOut.MULTIPLE_IMPUTATION: "multiple imputation",
        }[self]


def missing_from_words(words: str) -> tuple[MissingReadOut, ...]:
    """Read "failure,complete-case", or "all"; failure, the comparator, is always among them.

    Raises
    ------
    RequestError
        For a word that names none; all at once.
    """
    known = [own.value for own in MissingReadOut]
    named = [word.strip().lower().replace(" ", "-") for word in words.split(",")]
    if named == ["all"]:
        return tuple(MissingReadOut)
    listed = f"They are {', '.join(known)}, or all."
    problems = [
        Problem(
            "is no way to deal with a missing read-out",
            did_you_mean(word, known, listed),
            "--missing",
            f"'{word}'",
        )
        for word in named
        if word not in known
    ]
    if problems:
        raise RequestError(problems)
    return tuple(own for own in MissingReadOut if own.value in {*named, "failure"})
