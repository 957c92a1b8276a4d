"""Power of trials as they are conducted: with who is read out, and with the doses taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.looks import stop
from trialsim.analyse.subgroups import only
from trialsim.engine.blocks import Job, candidates_of, draw_fates, simulate_block
from trialsim.engine.endpoint_kinds import kind_of
from trialsim.engine.outcome_days import outcome_days_of
from trialsim.generate.exposure import exposed_risks, with_doses_taken
from trialsim.generate.survival import hazards_of
from trialsim.kernels.survival import FollowUp
from trialsim.operations.conducted import ConductedTrial
from trialsim.protocol.design import Protocol
from trialsim.protocol.endpoints import BinaryEndpoint, TimeToEventEndpoint
from trialsim.protocol.scenario import Truth
from trialsim.streams import Decision, Streams, block_width
from trialsim.trial import AnalysisPlan, Candidates, TrialBatch

__all__ = ["Analysed", "draws_of", "power_as_conducted", "simulated_power"]

OUTCOMES_PER_TRIAL = 50  # drawn for each trial conducted, so that chance in them averages out
_OF_OTHERS = 16  # the same where an analysis takes longer; divides every block
_BLOCKS = 4  # simulated where looks decide
_UNIT = "as conducted"  # names the random numbers of outcomes that are no events in time

Floats = NDArray[np.float64]
Dies = Floats  # days from randomisation to death, infinity for never


class Analysed(StrEnum):
    """Who is analysed, and whether effects are those of the doses taken."""

    EVERYONE = "everyone read out"
    READ_OUT = "only those read out"
    EVERYONE_DOSED = "everyone read out, with the doses taken"
    READ_OUT_DOSED = "only those read out, with the doses taken"


def draws_of(protocol: Protocol) -> int:
    """Return how many times outcomes are drawn for a trial conducted."""
    binary = isinstance(protocol.primary, BinaryEndpoint)
    return OUTCOMES_PER_TRIAL if binary else _OF_OTHERS


def power_as_conducted(
    trials: Sequence[ConductedTrial],
    protocol: Protocol,
    truth: Truth,
    plan: AnalysisPlan,
    streams: Streams,
    *,
    exposed: bool,
) -> dict[Analysed, Floats]:
    """Analyse outcomes drawn for trials as conducted, the same luck whoever is analysed.

    Not read out is who left before, or missed the visit: out of the analysis, as at looks. Of a
    time to an event nobody is left out: who leaves is censored then. Where death is the outcome,
    it is known of who dies in the trial.

    Parameters
    ----------
    trials : sequence of ConductedTrial
        Those that do not have all their patients are left out, but for times to an event: these
        are analysed when their last look is due, whoever has entered.
    plan : AnalysisPlan
        Of the primary endpoint; only its last analysis is made.
    exposed : bool
        Whether effects are in proportion to the doses taken (`generate.exposure`), too.

    Returns
    -------
    dict of Analysed to ndarray, shape (n_trials,)
        Share of the outcomes drawn for a trial, and analysable, in which its test rejects.
    """
    timed = isinstance(protocol.primary, TimeToEventEndpoint)
    plan = replace(plan, looks=plan.looks[-1:] if timed else ())
    of = _Outcomes(protocol, truth, plan, streams)
    found: dict[Analysed, list[float]] = {}
    for run, trial in enumerate(trials):
        if len(trial.enrolled) < protocol.n_total and not timed:
            continue
        for who, power in _powers(of, run, trial, exposed=exposed):
            found.setdefault(who, []).append(power)
    return {who: np.array(powers) for who, powers in found.items()}


def _powers(
    of: _Outcomes, run: int, trial: ConductedTrial, *, exposed: bool
) -> Iterator[tuple[Analysed, float]]:
    """Yield the share of rejections in one trial."""
    drawn = of.of(run, trial)
    pairs = [(Analysed.EVERYONE, Analysed.READ_OUT, np.ones((len(trial.enrolled), 1)))]
    if exposed:
        pairs.append(
            (Analysed.EVERYONE_DOSED, Analysed.READ_OUT_DOSED, trial.exposure_alive[:, None])
        )
    for everyone, some, share in pairs:
        batch, dies = drawn(share)
        power = of.power(batch)
        yield everyone, power
        fewer = _as_followed(batch, trial, dies)
        yield some, power if fewer is None else of.power(fewer)


def _as_followed(batch: Any, trial: ConductedTrial, dies: Dies) -> Any:
    """Return a batch of those who are read out; None for everyone."""
    if isinstance(batch, FollowUp):
        leaves = np.broadcast_to(trial.followed.leaves[:, None], batch.latent.shape)
        return batch._replace(loss=leaves) if np.isfinite(leaves).any() else None
    seen = trial.followed.read_out(dies)
    if seen.all():
        return None
    return only(batch, np.broadcast_to(seen, batch.assigned.shape))


@dataclass(frozen=True)
class _Outcomes:
    """What becomes of the patients of a trial, many times; and its analysis."""

    protocol: Protocol
    truth: Truth
    plan: AnalysisPlan
    streams: Streams

    def power(self, batch: Any) -> float:
        """Return the share of analysable draws in which the test rejects; NaN where none is."""
        looks = kind_of(self.protocol, self.protocol.primary).analyse(batch, self.plan)
        ok = ~looks.failed[:, -1]
        return float(looks.rejected[ok, -1].mean()) if ok.any() else np.nan

    def of(self, run: int, trial: ConductedTrial) -> Callable[[Floats], tuple[Any, Dies]]:
        """Return what gives outcomes by the share of the doses taken, shape (n_patients, 1)."""
        match self.protocol.primary:
            case BinaryEndpoint():
                return self._read_once(run, trial)
            case TimeToEventEndpoint():
                return self._followed(run, trial)
            case _:
                return self._as_simulated(run, trial)

    def _read_once(self, run: int, trial: ConductedTrial) -> Callable[[Floats], tuple[Any, Dies]]:
        generator = self.streams.generator(Decision.EXPOSED_OUTCOMES, run)
        luck = generator.random((len(trial.enrolled), OUTCOMES_PER_TRIAL))
        treated = trial.in_first_arm[:, None]
        assigned = np.broadcast_to(treated, luck.shape)
        truth, days = self.truth, outcome_days_of(self.protocol, self.truth)

        def outcomes(share: Floats) -> tuple[Any, Dies]:
            risk = np.where(share < 1, exposed_risks(truth, share), truth.treated_risk)
            events = np.stack([luck < truth.control_risk, luck < risk])
            dies = np.full((1, 1), np.inf)
            if days and days.fatal:
                own = np.where(treated, risk, truth.control_risk)
                dies = self.plan.day * np.log1p(-luck) / np.log1p(-own)
            return TrialBatch(assigned, events), dies

        return outcomes

    def _followed(self, run: int, trial: ConductedTrial) -> Callable[[Floats], tuple[Any, Dies]]:
        lifetimes, primary = self.truth.lifetimes, self.protocol.primary
        assert lifetimes is not None
        assert isinstance(primary, TimeToEventEndpoint)
        generator = self.streams.generator(Decision.EXPOSED_OUTCOMES, run)
        shape = (len(trial.enrolled), _OF_OTHERS)
        luck, which = generator.standard_exponential(shape), generator.random(shape)
        level = np.searchsorted(np.cumsum(lifetimes.shares)[:-1], which, side="right")
        stratum = None
        if getattr(primary.analysis, "stratified", False):
            strata = np.broadcast_to(trial.followed.strata[:, None], shape)
            stratum = level if lifetimes.differs_by else strata
        batch = FollowUp(
            luck,
            (trial.enrolled - trial.enrolled[0])[:, None],
            np.broadcast_to(trial.in_first_arm[:, None], shape),
            hazards_of(self.truth),
            level,
            stratum,
            None,
            primary.followed_for.days if primary.followed_for else np.inf,
        )
        return self._by_share(batch)

    def _as_simulated(
        self, run: int, trial: ConductedTrial
    ) -> Callable[[Floats], tuple[Any, Dies]]:
        """Draw what `simulate` would, of the arms that patients came to."""
        streams = Streams(self.streams.seed, _UNIT)
        per_block = block_width(self.protocol.n_total) // _OF_OTHERS
        block, part = divmod(run, per_block)
        own = slice(part * _OF_OTHERS, (part + 1) * _OF_OTHERS)
        candidates = candidates_of(self._job, streams, block).trials(own)
        assigned = np.repeat(trial.in_first_arm[:, None], _OF_OTHERS, axis=1)
        (batches,) = draw_fates(self._job, candidates, assigned, streams, run)
        return self._by_share(batches[self.plan.endpoint], candidates)

    def _by_share(
        self, batch: Any, candidates: Candidates | None = None
    ) -> Callable[[Floats], tuple[Any, Dies]]:
        def outcomes(share: Floats) -> tuple[Any, Dies]:
            taken = batch
            if (share < 1).any():
                taken = with_doses_taken(batch, self.truth, self.plan.endpoint, share, candidates)
            return taken, np.full((1, 1), np.inf)

        return outcomes

    @cached_property
    def _job(self) -> Job:
        truth = replace(self.truth, sites=None, enrolment=None)  # who enters when is known
        return Job(self.protocol, (self.plan,), (truth,), _UNIT)


def simulated_power(
    protocol: Protocol, truth: Truth, plan: AnalysisPlan, streams: Streams
) -> tuple[NDArray[np.bool_], int]:
    """Return in which trials of `simulate`, looks included, the test rejects; and how many fail."""
    job = Job(protocol, (plan,), (truth,)).on_its_shortest_path()
    found = [simulate_block(job, streams.seed, block)[0][0] for block in range(_BLOCKS)]
    finals = [stop(each, plan).final for each in found]
    failed = np.concatenate([final.failed[:, 0] for final in finals])
    rejected = np.concatenate([final.rejected[:, 0] for final in finals])
    return rejected[~failed], int(failed.sum())
