"""What a formula refuses, in the words of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from trialsim.errors import DesignError

__all__ = ["in_words_of_options"]

_WORDS = {
    "alpha": "protocol.test.alpha",
    "control_risk": "the risk on control",
    "correlation": "the correlation with baseline",
    "cut_day": "the day of the last look",
    "delta": "DELTA of --bounds wt:DELTA",
    "deviation": "the standard deviation",
    "effect": "the effect",
    "efficacy": "--bounds or --spending",
    "futility": "--futility",
    "gamma": "GAMMA of hsd:GAMMA",
    "hazard_ratio": "the hazard ratio",
    "information": "--looks",
    "information_fractions": "--looks",
    "margin": "the margin",
    "n_control": "patients on control",
    "n_treated": "patients on treatment",
    "null_response": "the known risk",
    "odds_ratio": "the odds ratio",
    "patients": "the number of patients",
    "power": "--power",
    "response": "the risk",
    "sides": "protocol.test.sides",
    "treated_risk": "the risk on treatment",
}


@contextmanager
def in_words_of_options() -> Iterator[None]:
    """Name what a design cannot have as it is typed, not as functions name it.

    Raises
    ------
    DesignError
        The one raised within, with other fields.
    """
    try:
        yield
    except DesignError as error:
        told = [replace(p, field=_WORDS.get(p.field, p.field)) for p in error.problems]
        raise DesignError(told) from None
