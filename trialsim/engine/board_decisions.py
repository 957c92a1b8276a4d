"""What the rule of each look says of a trial run event by event: the analysis that power uses.

Nothing is tested here that `simulate` does not test: the patients whose outcome a look knows make
a batch of their endpoint's kind, its registered analysis reads it, and `analyse.looks.stop` says
whether a bound is crossed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.looks import stop
from trialsim.analyse.subgroups import only
from trialsim.engine.blocks import Job, candidates_of, draw_fates
from trialsim.engine.endpoint_kinds import kind_of
from trialsim.engine.outcome_days import OutcomeDays, outcome_days_of
from trialsim.generate.exposure import exposed_risks, with_doses_taken
from trialsim.generate.historical import SingleArmBatch
from trialsim.generate.survival import hazards_of
from trialsim.kernels.survival import FollowUp
from trialsim.operations.conducted import Judge, Judgement, Known, Verdict
from trialsim.protocol.design import Look, Protocol, Trigger
from trialsim.protocol.endpoints import Better, BinaryEndpoint, TimeToEventEndpoint
from trialsim.protocol.historical import TwoStage
from trialsim.protocol.quantities import Duration
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams, block_width
from trialsim.trial import EXPERIMENTAL, AnalysisPlan, Candidates, TrialBatch

__all__ = ["BoardRules", "rules_of"]

_UNIT = "as the board sees them"  # names the random numbers of outcomes that are no events in time
_EVERYBODY = Trigger(information=1.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BoardRules:
    """The looks of a trial with their bounds, and the truth its outcomes come from.

    Attributes
    ----------
    protocol : Protocol
    plan : AnalysisPlan
        Of the primary endpoint, with its looks.
    truth : Truth
    days : OutcomeDays or None
        When outcome events come, where they are events in time.
    exposed : bool
        Whether each patient's effect is in proportion to the doses taken of those due by then.
    """

    protocol: Protocol
    plan: AnalysisPlan
    truth: Truth
    days: OutcomeDays | None
    exposed: bool = False

    def judge_of(self, n: int, streams: Streams, run: int) -> Judge:
        """Return who judges the looks of one trial of at most `n` patients."""
        return _OneTrial(self, n, streams, run)


def rules_of(
    protocol: Protocol, truth: Truth, plan: AnalysisPlan, *, exposed: bool = False
) -> BoardRules | None:
    """Return the rules of a protocol's looks or stages; None where no look has a bound."""
    bounds = [(look.efficacy_z, look.futility_z) for look in plan.looks]
    if not plan.two_stage and not any(bound is not None for both in bounds for bound in both):
        return None
    return BoardRules(protocol, plan, truth, outcome_days_of(protocol, truth), exposed)


@dataclass(frozen=True)
class _OneTrial:
    """One trial's patients, of whom each look knows some."""

    rules: BoardRules
    n: int
    streams: Streams
    run: int

    def __call__(self, known: Known) -> Judgement:
        """Analyse what is known, and hold it against the look's own bounds."""
        if self.rules.plan.two_stage:
            return self._of_stage(known, self.rules.plan.two_stage)
        rules, last = self.rules, known.look == len(self.rules.plan.looks) - 1
        over = Verdict.FAILED if last else Verdict.GO_ON
        n = int((known.enrolled <= known.cut).sum()) if self._timed else int(known.read_out.sum())
        if n < 2:
            return Judgement(over, analysed=n)
        plan, batch = self._plan(known), self._batch(known)
        found = kind_of(rules.protocol, rules.protocol.primary).analyse(batch, plan)
        stops, z = stop(found, plan), float(found.z[0, 0])
        if stops.look[0] > 0:  # the look behind this one: it goes on
            return Judgement(Verdict.GO_ON, z, n)
        if stops.final.failed[0, 0]:
            return Judgement(over, z, n)
        if stops.final.rejected[0, 0]:
            return Judgement(Verdict.EFFICACY, z, n)
        return Judgement(Verdict.FUTILITY if stops.futile[0] else Verdict.END, z, n)

    def _of_stage(self, known: Known, rule: TwoStage) -> Judgement:
        """Analyse the patients of a stage, or of both; who is not read out has no good outcome.

        The analysis tells of a trial that is stopped by how many patients it has used.
        """
        plan, last = self.rules.plan, known.look > 0
        n = plan.n_total if last else rule.first
        if len(known.enrolled) < n:  # a trial that never fills
            return Judgement(Verdict.FAILED if last else Verdict.GO_ON, analysed=0)
        higher, unseen = plan.better is Better.HIGHER, ~known.read_out[:n]
        everyone = replace(known, read_out=np.arange(len(known.enrolled)) < n)
        drawn = self._read_out(everyone)
        events = np.where(unseen[None, :, None], not higher, drawn.events)
        batch = SingleArmBatch(replace(drawn, events=events), None)
        found = kind_of(self.rules.protocol, self.rules.protocol.primary).analyse(batch, plan)
        good = int((events[EXPERIMENTAL] == higher).sum())
        if not last:
            goes_on = found.information[0, 0] > n
            return Judgement(Verdict.GO_ON if goes_on else Verdict.FUTILITY, analysed=n, good=good)
        rejected = found.rejected[0, 0]
        return Judgement(Verdict.EFFICACY if rejected else Verdict.END, analysed=n, good=good)

    @property
    def _timed(self) -> bool:
        return isinstance(self.rules.protocol.primary, TimeToEventEndpoint)

    def _plan(self, known: Known) -> AnalysisPlan:
        """Return the analysis of this look; behind it the last one, so that it is an interim one.

        Both see the same data; what the second would say is not asked.
        """
        plan = self.rules.plan
        at = _EVERYBODY
        if self._timed:
            at = Trigger(calendar=Duration(known.cut - float(known.enrolled[0]), "d"))
        looks: tuple[Look, ...] = (plan.looks[known.look],)
        if known.look < len(plan.looks) - 1:
            looks = (*looks, plan.looks[-1])
        return replace(plan, looks=tuple(_moved(look, at) for look in looks))

    def _batch(self, known: Known) -> Any:
        if self._timed:
            return self._followed(known)
        if isinstance(self.rules.protocol.primary, BinaryEndpoint):
            return self._read_out(known)
        return self._drawn(known)

    def _read_out(self, known: Known) -> TrialBatch:
        """Return patients with and without the event; the same luck that gave its day."""
        truth, days = self.rules.truth, self.rules.days
        assert days is not None  # of every binary endpoint that is read after entry
        luck, _ = days.luck_of(self.n, self.streams, self.run)
        own = np.flatnonzero(known.read_out)
        chance = -np.expm1(-luck[own])  # uniform; the event comes where the risk is above it
        treated = np.full(len(own), truth.treated_risk)
        if self.rules.exposed:
            treated = exposed_risks(truth, known.exposure[own])
        events = np.stack([chance <= truth.control_risk, chance <= treated])[:, :, None]
        return TrialBatch(known.in_first_arm[own][:, None], events)

    def _followed(self, known: Known) -> FollowUp:
        """Return times to an event of everyone randomised, on the clock of the first of them."""
        days, protocol = self.rules.days, self.rules.protocol
        lifetimes, primary = self.rules.truth.lifetimes, protocol.primary
        assert days is not None
        assert lifetimes is not None
        assert isinstance(primary, TimeToEventEndpoint)
        n = len(known.enrolled)
        luck, level = days.luck_of(self.n, self.streams, self.run)
        stratum = None
        if getattr(primary.analysis, "stratified", False):
            stratum = (level[:n] if lifetimes.differs_by else known.strata)[:, None]
        batch = FollowUp(
            luck[:n, None],
            (known.enrolled - known.enrolled[0])[:, None],
            known.in_first_arm[:, None],
            hazards_of(self.rules.truth),
            level[:n, None],
            stratum,
            known.leaves[:, None] if np.isfinite(known.leaves).any() else None,
            primary.followed_for.days if primary.followed_for else np.inf,
        )
        taken: FollowUp = self._as_taken(batch, known)
        return taken

    def _drawn(self, known: Known) -> Any:
        """Return outcomes drawn as power draws them, of whom only those read out are analysed."""
        rules, n = self.rules, self.n
        truth = replace(rules.truth, sites=None, enrolment=None)  # who enters when is known
        job = Job(rules.protocol, (rules.plan,), (truth,), _UNIT)
        streams = Streams(self.streams.seed, _UNIT)
        assigned, seen = np.zeros((2, n, 1), dtype=bool)
        assigned[: len(known.in_first_arm), 0] = known.in_first_arm
        seen[: len(known.read_out), 0] = known.read_out
        block, column = divmod(self.run, block_width(n))
        candidates = candidates_of(job, streams, block).trials(slice(column, column + 1))
        (batches,) = draw_fates(job, candidates, assigned, streams, self.run)
        batch = self._as_taken(batches[rules.plan.endpoint], known, candidates)
        return only(batch, seen)

    def _as_taken(self, batch: Any, known: Known, candidates: Candidates | None = None) -> Any:
        """Return the batch with the doses that its patients have taken, where that matters."""
        if not self.rules.exposed:
            return batch
        share = np.ones((len(batch.latent if isinstance(batch, FollowUp) else batch.assigned), 1))
        share[: len(known.exposure), 0] = known.exposure
        endpoint = self.rules.plan.endpoint
        return with_doses_taken(batch, self.rules.truth, endpoint, share, candidates)


def _moved(look: Look, at: Trigger) -> Look:
    return look.model_copy(update={"at": at})
