"""What a trial with looks says part of the way: power still to come, intervals, and its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from trialsim.errors import Problem, RequestError
from trialsim.sizing.sequential import (
    AssumedEffect,
    SequentialDesign,
    Spending,
    StagewiseInference,
    conditional_power,
    predictive_power,
    recomputed,
    repeated_confidence_interval,
    stagewise_inference,
)

__all__ = ["Seen", "Verdict", "seen_so_far"]


_MOST_INFORMATION = 3.0  # of the planned: beyond, it is likely to be percent


class Verdict(StrEnum):
    """What the bounds say at the last look held."""

    GOES_ON = "goes on"
    EFFICACY = "efficacy bound crossed"
    HARM = "bound for harm crossed"
    FUTILITY = "futility bound crossed"
    ENDED = "ended, no bound crossed"


@dataclass(frozen=True)
class Seen:
    """A trial at the last look held. Drifts are the expected Z at the planned end.

    Attributes
    ----------
    design : SequentialDesign
        With its bounds at the information seen, where that was given.
    z : tuple of float
        At the looks held, positive in favour of treatment.
    verdict : Verdict
    power_planned, power_trend, power_predicted : float or None
        To cross a later efficacy bound: under the planned effect, under the one estimated so far,
        and averaged over a flat prior. None where no look is to come, or the trial has ended.
    repeated : tuple of float
        Repeated confidence interval of the drift,
    confidence : float
        and its confidence over all looks.
    stagewise : StagewiseInference or None
        None while the trial goes on; of a futility bound that does not bind, were it obeyed.
    """

    design: SequentialDesign
    z: tuple[float, ...]
    verdict: Verdict
    power_planned: float | None
    power_trend: float | None
    power_predicted: float | None
    repeated: tuple[float, float]
    confidence: float
    stagewise: StagewiseInference | None

    @property
    def look(self) -> int:
        """The last look held, from 1."""
        return len(self.z)

    @property
    def drift(self) -> float:
        """The drift estimated from the last Z, stopping ignored."""
        return float(self.z[-1] / self.design.information[self.look - 1] ** 0.5)


def seen_so_far(
    design: SequentialDesign,
    z: tuple[float, ...],
    drift: float,
    information: tuple[float, ...] = (),
) -> Seen:
    """Say where a trial stands.

    Parameters
    ----------
    design : SequentialDesign
        As planned.
    z : tuple of float
        At the looks held, positive in favour of treatment.
    drift : float
        Planned: the expected Z at the planned end.
    information : tuple of float
        Seen at these looks, in units of the planned maximum; empty for as planned.

    Raises
    ------
    RequestError
        For values that belong to no look, or come after a bound that ended the trial.
    DesignError
        For information that does not rise.
    """
    _check_values(design, z)
    if information:
        design = _at_information(design, len(z), information)
    verdicts = [_verdict(design, look, value) for look, value in enumerate(z, start=1)]
    for look, verdict in enumerate(verdicts[:-1], start=1):
        if _is_end(verdict, design):
            rule = f"goes on after look {look}, where z {z[look - 1]:g} ended it: {verdict}"
            remedy = f"Give the values up to look {look}."
            raise RequestError(Problem(rule, remedy, "--observed", _listed(z)))
    look, last, verdict = len(z), z[-1], verdicts[-1]
    ended = verdict is not Verdict.GOES_ON
    ahead = look < len(design.information) and not _is_end(verdict, design)
    return Seen(
        design,
        z,
        verdict,
        conditional_power(design, look, last, drift) if ahead else None,
        conditional_power(design, look, last, AssumedEffect.TREND) if ahead else None,
        predictive_power(design, look, last) if ahead else None,
        repeated_confidence_interval(design, look, last),
        1 - (2 / design.sides) * design.alpha,
        stagewise_inference(design, look, last) if ended else None,
    )


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _check_values(design: SequentialDesign, z: tuple[float, ...]) -> None:
    looks = len(design.information)
    if len(z) > looks:
        rule = f"must hold at most {looks} values, one per look"
        remedy = "Give z at the looks held so far, in their order."
        raise RequestError(Problem(rule, remedy, "--observed", _listed(z)))
    if not all(isfinite(value) and abs(value) <= 30 for value in z):
        rule = "must be z values from -30 to 30"
        remedy = "Give the test statistic, positive in favour of treatment."
        raise RequestError(Problem(rule, remedy, "--observed", _listed(z)))


def _at_information(
    design: SequentialDesign, held: int, information: tuple[float, ...]
) -> SequentialDesign:
    def refused(rule: str, remedy: str) -> RequestError:
        return RequestError(Problem(rule, remedy, "--information", _listed(information)))

    if len(information) != held:
        raise refused(f"must be {held} long, one fraction per z of --observed", "Pair them.")
    if not all(0 < fraction <= _MOST_INFORMATION for fraction in information):
        rule = f"must be fractions of the planned information, at most {_MOST_INFORMATION:g}"
        raise refused(rule, "Write 77% as 0.77.")
    if not isinstance(design.efficacy, Spending):
        rule = "needs bounds that can be recomputed: these were made for the looks as planned"
        raise refused(rule, "Add --spending ldof in place of --bounds, or leave it out.")
    to_come = design.information[held:]
    if to_come and information[-1] >= to_come[0]:
        rule = f"reaches look {held + 1}, planned at {100 * to_come[0]:g}%"
        raise refused(rule, "Give the looks to come as they are now planned, with --looks.")
    return recomputed(design, (*information, *to_come))


def _verdict(design: SequentialDesign, look: int, z: float) -> Verdict:
    bound, last = design.efficacy_z[look - 1], len(design.information)
    if z >= bound:
        return Verdict.EFFICACY
    if design.sides == 2 and z <= -bound:
        return Verdict.HARM
    if look == last:
        return Verdict.ENDED
    futile = design.futility_z is not None and z <= design.futility_z[look - 1]
    return Verdict.FUTILITY if futile else Verdict.GOES_ON


def _is_end(verdict: Verdict, design: SequentialDesign) -> bool:
    """Whether a trial cannot go on: it can past a futility bound that does not bind."""
    return verdict is not Verdict.GOES_ON and (verdict is not Verdict.FUTILITY or design.binding)
