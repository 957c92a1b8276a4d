"""Trials carried out with flaws, patient by patient: the same patients before and after each."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trialsim.analyse.as_recorded import recorded, written_down, yes_or_no
from trialsim.analyse.binary import analyse_counts
from trialsim.conduct.allocation import guessed_right
from trialsim.conduct.records import Luck, Records
from trialsim.conduct.reporting import looking_at
from trialsim.engine.blocks import Job, draw_patients
from trialsim.engine.conducted import _records, allocation_list, carried_out, first_patients
from trialsim.engine.endpoint_kinds import EndpointKind, kind_of
from trialsim.engine.replay import _baseline
from trialsim.protocol.conduct import (
    RIGOROUS,
    AllocationListKind,
    Conduct,
    ForeseenAllocation,
    Foresight,
    Mechanism,
)
from trialsim.protocol.endpoints import Better
from trialsim.protocol.scenario import Truth
from trialsim.streams import Streams
from trialsim.trial import AnalysisPlan, Candidates, LookResults

__all__ = [
    "BY_ITS_LIST",
    "Counts",
    "FlawedBlock",
    "FlawedTrial",
    "RecordedValues",
    "Step",
    "first_trials",
    "flawed_trial",
    "imbalance",
    "prognosis",
    "reached",
    "recorded_values",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BY_ITS_LIST = ", by its list"  # in another arm without having been picked


@dataclass(frozen=True)
class Step:
    """What one flaw made of the records of many trials; each flaw takes over from the last.

    `listed`, of foreseen allocation from a list that is not the protocol's: were nobody picked.
    """

    mechanism: Mechanism
    before: Records
    after: Records
    listed: Records | None = None

    def told(self, column: int, arms: tuple[str, str], better: Better) -> NDArray[np.str_]:
        """Say of each patient of one trial what the flaw did; empty where it did nothing.

        Only of patients who were still in the analysis.

        Parameters
        ----------
        column : int
        arms : (control, experimental)
            What they are called.
        better : Better
            Whether the event is the unfavourable outcome.

        Returns
        -------
        ndarray of str, shape (n_patients,)
        """
        before, after = _one(self.before, column), _one(self.after, column)
        other_arm = np.where(after.treated, f"to {arms[1]}", f"to {arms[0]}")
        event = after.unfavourable if better is Better.LOWER else ~after.unfavourable
        turned = np.where(event, "to event", "to no event")
        told = np.where(before.unfavourable != after.unfavourable, turned, "")
        if before.value is not None and after.value is not None:
            told = _moved(before, after)
        told = np.where(before.treated != after.treated, other_arm, told)
        if self.listed is not None:
            unpicked = _one(self.listed, column).treated == after.treated
            told = np.where((told != "") & unpicked, np.char.add(told, BY_ITS_LIST), told)
        told = np.where(before.included & ~after.included, "left out", told)
        return np.where(before.included, told, "")


def _moved(before: Records, after: Records) -> NDArray[np.str_]:
    """Say from what to what a recorded value was changed; empty where it was not."""
    assert before.value is not None
    assert after.value is not None
    timed = bool(np.isinf(before.value).any() or np.isinf(after.value).any())
    same = (before.value == after.value) | (np.isnan(before.value) & np.isnan(after.value))
    words = [
        "" if alike else f"from {_said(old, timed=timed)} to {_said(new, timed=timed)}"
        for alike, old, new in zip(same, before.value, after.value, strict=True)
    ]
    return np.array(words, dtype=str)


def _said(value: float, *, timed: bool) -> str:
    if np.isinf(value):
        return "no event"
    return f"day {value:.4g}" if timed else f"{value:.4g}"


@dataclass(frozen=True)
class Counts:
    """The 2 x 2 tables of many trials, each an array of shape (n_reps,)."""

    events_treated: Ints
    n_treated: Ints
    events_control: Ints
    n_control: Ints

    @classmethod
    def of(cls, records: Records, who: Bools, better: Better) -> Counts:
        """Count those in the analysis, shape (n_patients, n_reps), by arm and event."""
        event = records.unfavourable if better is Better.LOWER else ~records.unfavourable
        treated, control = who & records.treated, who & ~records.treated
        groups = (treated & event, treated, control & event, control)
        return cls(*(group.sum(axis=0) for group in groups))

    def gives(self, results: LookResults, plan: AnalysisPlan) -> Bools:
        """Where they give the estimate of a result, to the last digit, shape (n_reps,)."""
        own = (self.events_treated, self.n_treated, self.events_control, self.n_control)
        again = analyse_counts(*own, replace(plan, looks=(), conduct=None)).estimate[:, 0]
        there = results.estimate[:, -1]
        return np.asarray((again == there) | (np.isnan(again) & np.isnan(there)))


@dataclass(frozen=True)
class RecordedValues:
    """What the records of one trial say of each patient. Arrays of shape (n_patients,).

    Attributes
    ----------
    columns : dict of str to ndarray
        By the kind's own names; what is not known is NaN, or empty.
    analysed : ndarray of bool
    gives : bool
        Whether the records give the estimate of the result, to the last digit.
    """

    columns: dict[str, NDArray[Any]]
    analysed: Bools
    gives: bool


def recorded_values(
    block: FlawedBlock, records: Records, plan: AnalysisPlan, column: int, result: LookResults
) -> RecordedValues:
    """Return what one trial wrote down of an outcome that is no yes or no, as its result read it.

    Parameters
    ----------
    block : FlawedBlock
        Of one truth.
    records : Records
        After all flaws of the plan's conduct; shape (n_patients, n_reps).
    plan : AnalysisPlan
    column : int
        Which trial of the block.
    result : LookResults
        What it reports, shape (1, n_looks).
    """
    conduct = plan.conduct or RIGOROUS
    kind, declared = block.kind(plan), replace(plan, conduct=None)
    flaw, there = conduct.undeclared_looks, np.isnan(result.estimate[0, -1])
    plans = [declared, looking_at(declared, flaw)] if flaw and flaw.acts else [declared]
    batch = written_down(
        block.batch(0, plan, conduct), records, plan, block.truths[0].outcome(plan.endpoint)
    )
    whole = recorded(batch, records.treated, np.ones(records.included.shape, dtype=bool))
    found: tuple[AnalysisPlan, int, int] | None = None
    for n in dict.fromkeys((plan.n_total, len(records.treated))):
        seen = first_patients(recorded(batch, records.treated, records.included), n)
        for own in plans:
            each = kind.analyse(seen, own).estimate[column]
            same = np.isnan(each) if there else each == result.estimate[0, -1]
            if found is None and same.any():
                found = (own, int(np.flatnonzero(same)[-1 if there else 0]), n)
    own, look, n = found or (declared, max(len(declared.looks) - 1, 0), plan.n_total)
    columns = kind.patients(first_patients(whole, n), own, column, look)
    del columns["treated"]
    size = len(records.treated)
    padded = {name: _padded(values, size) for name, values in columns.items()}
    analysed = records.included[:, column] & (np.arange(size) < len(next(iter(columns.values()))))
    for name, values in padded.items():
        if values.dtype.kind == "f" and not name.startswith(("visit_", "baseline")):
            analysed = analysed & np.isfinite(values)
    if visits := [name for name in padded if name.startswith("visit_")]:
        analysed = analysed & np.isfinite(padded[visits[-1]])
    return RecordedValues(padded, analysed, found is not None)


def _padded(values: NDArray[Any], n: int) -> NDArray[Any]:
    """Return a column for all patients: of those not there yet nothing is known."""
    missing = n - len(values)
    if values.dtype.kind in "bi":
        values = values.astype(float if missing else values.dtype)
    blank: Any = "not entered yet" if values.dtype.kind == "U" else np.nan
    return np.concatenate([values, np.full(missing, blank)]) if missing else values


class FlawedBlock:
    """One block of trials under every truth of a job, to be carried out with any flaws.

    Patients, and the luck of every flaw, are those the block has in a run.

    Parameters
    ----------
    levels_of : set of str
        Factors whose levels are wanted.
    """

    def __init__(
        self, job: Job, seed: int, block: int, levels_of: frozenset[str] = frozenset()
    ) -> None:
        self._job, self._seed, self._block, self._levels_of = job, seed, block, levels_of
        shape = (job.protocol.n_total, job.block_width)
        self._luck = Luck(Streams(seed, job.unit), block, shape)
        self._drawn: dict[ForeseenAllocation | None, Any] = {}
        self._written: dict[Any, Records] = {}

    def drawn(self, conduct: Conduct = RIGOROUS) -> tuple[Candidates, Any]:
        """Return candidates, and per truth batches by endpoint, as `draw_patients` does."""
        foresight = _foresight_of(conduct)
        if foresight not in self._drawn:
            self._drawn[foresight] = draw_patients(
                self._job, self._seed, self._block, self._levels_of, foresight
            )
        candidates, batches = self._drawn[foresight]
        return candidates, batches

    @property
    def truths(self) -> tuple[Truth, ...]:
        """Those of its job."""
        return self._job.truths

    def kind(self, plan: AnalysisPlan) -> EndpointKind:
        """Return how the plan's endpoint is analysed."""
        return kind_of(self._job.protocol, self._job.protocol.endpoint(plan.endpoint))

    def planned(self, truth: int, plan: AnalysisPlan) -> Records:
        """Return the records of trials without flaws."""
        return self._records(truth, plan, RIGOROUS)

    def reported(self, truth: int, plan: AnalysisPlan, conduct: Conduct) -> Records:
        """Return the records of trials with these flaws, after all of them."""
        records, own = self._records(truth, plan, conduct), replace(plan, conduct=conduct)
        drawn = self.batch(truth, plan, conduct)
        for _, after in carried_out(drawn, records, own, self._job.truths[truth], self._luck):
            records = after
        return records

    def steps(self, truth: int, plan: AnalysisPlan, conduct: Conduct) -> list[Step]:
        """Return what each flaw that acts on patients does, in the order they act in."""
        records, found = self.planned(truth, plan), []
        if Mechanism.FORESEEN_ALLOCATION in conduct.mechanisms:
            steered, listed = self._records(truth, plan, conduct), None
            if conduct.of(Mechanism.FORESEEN_ALLOCATION).list is not AllocationListKind.PROTOCOL:
                never = conduct.at(Mechanism.FORESEEN_ALLOCATION, sys.float_info.min)
                listed = self._records(truth, plan, never)
            found.append(Step(Mechanism.FORESEEN_ALLOCATION, records, steered, listed))
            records = steered
        own, drawn = replace(plan, conduct=conduct), self.batch(truth, plan, conduct)
        under = self._job.truths[truth]
        for mechanism, after in carried_out(drawn, records, own, under, self._luck):
            found.append(Step(mechanism, records, after))
            records = after
        return found

    def batch(self, truth: int, plan: AnalysisPlan, conduct: Conduct) -> Any:
        """Return what happens to patients in the arms of trials with these flaws."""
        _, batches = self.drawn(conduct)
        return yes_or_no(batches[truth][plan.endpoint], plan)

    def _records(self, truth: int, plan: AnalysisPlan, conduct: Conduct) -> Records:
        key = (truth, plan, _foresight_of(conduct))
        if key not in self._written:
            drawn = self.batch(truth, plan, conduct)
            self._written[key] = _records(drawn, plan, self._job.truths[truth])
        return self._written[key]


def _foresight_of(conduct: Conduct) -> ForeseenAllocation | None:
    flaw = conduct.foreseen_allocation
    return flaw if flaw and flaw.acts else None


def reached(records: Records, results: LookResults) -> Bools:
    """Return who is in the analysis a trial reports, shape (n_patients, n_reps).

    Of those included the first in order of arrival, as many as the result says it read.
    """
    number = np.cumsum(records.included, axis=0)
    return np.asarray(records.included & ~(number > results.information[:, -1]))


def prognosis(candidates: Candidates, better: Better) -> Floats | None:
    """Return each patient's prognosis in SDs of the trial, larger is better; None where all alike.

    The log odds of the outcome that severity and factors add, less their mean, over their SD among
    the patients of the trial.

    Returns
    -------
    ndarray of float, shape (n_patients, n_reps), or None
    """
    score = candidates.prognostic_score
    if isinstance(score, float):
        return None
    merit = -score if better is Better.LOWER else score
    sd = merit.std(axis=0, ddof=1)
    return np.asarray((merit - merit.mean(axis=0)) / sd) if (sd > 0).all() else None


def imbalance(prognoses: Floats, treated: Bools, who: Bools) -> Floats:
    """Return mean prognosis of the treated less that of controls, shape (n_reps,).

    Parameters
    ----------
    prognoses, treated, who : ndarray, shape (n_patients, n_reps)
        `who` is analysed. NaN where an arm is empty.
    """
    means = []
    for arm in (who & treated, who & ~treated):
        n = arm.sum(axis=0)
        total = np.where(arm, prognoses, 0.0).sum(axis=0)
        means.append(np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0))
    return np.asarray(means[0] - means[1])


@dataclass(frozen=True)
class FlawedTrial:
    """One trial as it was planned and as it is reported.

    Attributes
    ----------
    truth : Truth
    replicate : int
        From 1.
    conduct : Conduct
        Its flaws.
    planned, reported : LookResults
        What the trial finds without flaws and with them; arrays of shape (1, 1).
    counts_planned, counts_reported : Counts or None
        Their 2 x 2 tables; None where an outcome is no yes or no.
    counts_are_reported : bool
        Whether the records give the estimate reported; not where that is chosen among several.
    imbalance_planned, imbalance_reported : float or None
        Prognosis of the treated less that of controls, in SDs, among those analysed.
    touched : mapping of Mechanism to ndarray of str, shape (n_patients,)
        What each flaw did to whom; empty where nothing.
    patients : dict of str to ndarray, shape (n_patients,)
        In order of arrival.
    published : bool or None
        None where nothing is filtered.
    guessed_right : float or None
        Share of its list guessed right from past assignments, where these are foreseen.
    """

    truth: Truth
    replicate: int
    conduct: Conduct
    planned: LookResults
    reported: LookResults
    counts_planned: Counts | None
    counts_reported: Counts | None
    counts_are_reported: bool
    imbalance_planned: float | None
    imbalance_reported: float | None
    touched: Mapping[Mechanism, NDArray[np.str_]]
    patients: dict[str, NDArray[Any]]
    published: bool | None = None
    guessed_right: float | None = None


def flawed_trial(
    job: Job,
    truth: Truth,
    conduct: Conduct,
    seed: int,
    replicate: int,
    results: tuple[LookResults, LookResults],
) -> FlawedTrial:
    """Return one trial of a study of flaws, patient by patient.

    Parameters
    ----------
    job : Job
        Of the study.
    truth : Truth
        One of its truths.
    conduct : Conduct
        The flaws it is carried out with.
    seed : int
    replicate : int
        From 1.
    results : (planned, reported)
        Its rows of the study, arrays of shape (1, n_looks).
    """
    number, column = divmod(replicate - 1, job.block_width)
    plan, protocol = job.plans[0], job.protocol
    alone = replace(job, truths=(truth,))
    block = FlawedBlock(alone, seed, number)
    levels = frozenset(factor.id for factor in truth.factors)
    candidates, (batches,) = FlawedBlock(alone, seed, number, levels).drawn()
    first = block.planned(0, plan)
    steps = block.steps(0, plan, conduct)
    before, after = _one(first, column), _one(steps[-1].after if steps else first, column)
    recruited = np.arange(len(before.treated)) < plan.n_total
    counts: tuple[Counts | None, Counts | None] = (None, None)
    values: dict[str, NDArray[Any]] = {}
    if before.worse_by is None:
        planned_in = reached(_wide(before), results[0])[:, 0]
        reported_in = reached(_wide(after), results[1])[:, 0]
        counts_reported = Counts.of(_wide(after), reported_in[:, None], plan.better)
        are_reported = bool(counts_reported.gives(results[1], plan)[0])
        if not are_reported:  # how many the chosen result read says nothing of the declared one
            reported_in = after.included & recruited
            counts_reported = Counts.of(_wide(after), reported_in[:, None], plan.better)
        counts = (Counts.of(_wide(before), planned_in[:, None], plan.better), counts_reported)
    else:
        seen = [
            recorded_values(block, records, replace(plan, conduct=own), column, result)
            for records, own, result in (
                (first, RIGOROUS, results[0]),
                (steps[-1].after if steps else first, conduct, results[1]),
            )
        ]
        planned_in, reported_in = (one.analysed for one in seen)
        are_reported = seen[1].gives
        late = any("why_not_seen" in one.columns for one in seen)
        for one in seen:  # no flaw touches the baseline; an extension adds patients
            if (own_base := one.columns.pop("baseline", None)) is not None:
                kept_base = values.get("baseline", own_base)
                values["baseline"] = np.where(np.isfinite(own_base), own_base, kept_base)
        for when, one in zip(("planned", "reported"), seen, strict=True):
            if late:
                one.columns.setdefault("why_not_seen", np.full(len(planned_in), ""))
            values |= {f"{name}_{when}": value for name, value in one.columns.items()}
    arms = (protocol.control.id, protocol.experimental.id)
    touched = {step.mechanism: step.told(column, arms, plan.better) for step in steps}
    if Mechanism.UNDECLARED_LOOKS in conduct.mechanisms:
        missed = after.included & ~reported_in & recruited
        touched[Mechanism.UNDECLARED_LOOKS] = np.where(missed, "not reached", "")
    patients = _baseline(
        protocol, truth, candidates, batches[plan.endpoint], column, before.treated
    )
    for name in ("arm", "planned_doses"):
        patients.pop(name, None)
    scale = prognosis(candidates, plan.better)
    own = None if scale is None else scale[:, column]
    if own is not None:
        patients["prognosis_sd"] = own
    patients |= _seen("planned", before, planned_in, arms, plan.better)
    patients |= _seen("reported", after, reported_in, arms, plan.better)
    patients |= values
    patients |= {mechanism.key: told for mechanism, told in touched.items()}
    patients["touched_by"] = _joined(touched, len(before.treated))
    apart = [
        None if own is None else _imbalance_of_one(own, records, who)
        for records, who in ((before, planned_in), (after, reported_in))
    ]
    there = slice(int(np.flatnonzero(recruited | reported_in)[-1]) + 1)
    return FlawedTrial(
        truth=truth,
        replicate=replicate,
        conduct=conduct,
        planned=results[0],
        reported=results[1],
        counts_planned=counts[0],
        counts_reported=counts[1],
        counts_are_reported=are_reported,
        imbalance_planned=apart[0],
        imbalance_reported=apart[1],
        touched={mechanism: told[there] for mechanism, told in touched.items()},
        patients={name: values[there] for name, values in patients.items()},
        guessed_right=_guessed_right(job, seed, replicate, conduct, candidates, first),
    )


def _guessed_right(
    job: Job, seed: int, replicate: int, conduct: Conduct, candidates: Candidates, planned: Records
) -> float | None:
    flaw = conduct.foreseen_allocation
    if not (flaw and flaw.acts and flaw.knows is Foresight.PAST_ASSIGNMENTS):
        return None
    number, column = divmod(replicate - 1, job.block_width)
    streams = Streams(seed, job.unit)
    lists = allocation_list(job.protocol, candidates, planned.treated, flaw, streams, number)
    return float(guessed_right(lists.of_trial(column))[0])


def _imbalance_of_one(prognoses: Floats, records: Records, who: Bools) -> float:
    wide = (prognoses[:, None], records.treated[:, None], who[:, None])
    return float(imbalance(*wide)[0])


def _seen(
    when: str, records: Records, who: Bools, arms: tuple[str, str], better: Better
) -> dict[str, NDArray[Any]]:
    event = records.unfavourable if better is Better.LOWER else ~records.unfavourable
    name, outcome = ("event", event)
    if records.worse_by is not None:
        name, outcome = "unfavourable", records.unfavourable
    return {
        f"arm_{when}": np.array(arms)[records.treated.astype(int)],
        f"{name}_{when}": outcome,
        f"analysed_{when}": who,
    }


def _joined(touched: Mapping[Mechanism, NDArray[np.str_]], n: int) -> NDArray[np.str_]:
    return np.array(
        ["; ".join(str(m) for m, told in touched.items() if told[i]) for i in range(n)], dtype=str
    )


def first_trials(records: Records, n: int) -> Records:
    """Return the records of the first n trials of a block."""
    return _picked(records, (slice(None), slice(n)))


def _one(records: Records, column: int) -> Records:
    """Return one trial's records, arrays of shape (n_patients,)."""
    return _picked(records, (slice(None), column))


def _wide(records: Records) -> Records:
    """Return the records of one trial as those of many, arrays of shape (n_patients, 1)."""
    return _picked(records, (slice(None), None))


def _picked(records: Records, where: tuple[Any, ...]) -> Records:
    every = {name: getattr(records, name) for name in _BY_PATIENT}
    parts: dict[str, Any] = {n: a if a is None else a[where] for n, a in every.items()}
    return replace(records, **parts)


_BY_PATIENT = ("treated", "unfavourable", "included", "event_days", "worse_by", "value")
