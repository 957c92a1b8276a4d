"""The survival kernels compiled (numba, extra ``[fast]``): the reference's numbers, faster.

Every patient is one 64-bit integer: the bits of the snapped time, and in the twenty low ones that
`snapped` clears stratum, event and arm. Sorting these integers sorts the patients, and nothing has
to be looked up afterwards. At a look they are cut and sorted again: numpy's vectorised sort takes
less time than merging an earlier one with the patients still followed (docs/performance.md).

Whether an event is seen is decided by ``calendar <= cut`` alone: comparing follow-up with
``cut - entry`` instead would round differently.

Sums over event times may be taken in any order (`reassoc`), by the same instructions in the same
order on every run of one machine type.
"""

# Compiled functions take arrays only; their callers, annotated, are the module's face.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import math
import threading
from functools import lru_cache, partial
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from trialsim.kernels.hazards import Hazard
from trialsim.kernels.survival import (
    LOW_BITS,
    MAX_NEWTON_STEPS,
    NEWTON_TOLERANCE,
    CutRule,
    FollowUp,
    LookNumbers,
    Reading,
    Ties,
)

__all__ = ["permuted_blocks", "read_looks"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LOW = (1 << LOW_BITS) - 1
_HALF = 1 << (LOW_BITS - 1)
_ARM, _EVENT, _STRATUM_SHIFT = 1, 2, 2
_BATCH = 64  # trials whose arrays stay in cache together
_NEVER = 0x7FF0000000000000  # infinity, sorts last: has not entered

_compiled: Any = nb.njit(cache=True, error_model="numpy", nogil=True)
_summing: Any = nb.njit(
    cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "nsz", "contract"}
)


def read_looks(trials: FollowUp, cut_rule: CutRule, reading: Reading) -> LookNumbers:
    """Follow patients, and read every look as if nothing later had happened.

    The reference's numbers to 1e-10: see `trialsim.kernels.survival.read_looks`.

    Parameters
    ----------
    trials : FollowUp
        Strata below 2**18.
    cut_rule : callable
        Says when the looks are, of a batch of trials.
    reading : Reading
    """
    n, n_reps = trials.latent.shape
    curves, forms = _as_arrays(trials.hazards)
    weights = np.array([weight.code for weight in reading.weights]).reshape(-1, 3)
    n_strata = 1 if trials.stratum is None else int(trials.stratum.max(initial=0)) + 1
    entry = np.ascontiguousarray(trials.entry.T)
    plain = trials.level is None and bool((forms[0] == (1.0, 0.0)).all())
    only_log_rank = weights.tolist() == [[0.0, 0.0, 0.0]] and reading.cox is None and n_strata == 1
    only_log_rank &= math.isnan(reading.milestone_day) and math.isnan(reading.mean_until)
    inverse = 1 / np.arange(n, 0, -1)  # of those at risk, in order of time
    level = trials.level
    if level is None and not plain:
        level = np.zeros(trials.latent.shape, dtype=np.int64)
    ends = None
    if trials.loss is not None or math.isfinite(trials.most_days):
        ends = np.minimum(math.inf if trials.loss is None else trials.loss, trials.most_days)
        ends = np.ascontiguousarray(np.broadcast_to(ends, trials.latent.shape))
    found: LookNumbers | None = None
    width = min(_BATCH, n_reps)
    packed, keys, cut_keys, event_calendar = _scratch(n, width)
    for first in range(0, n_reps, width):
        here = slice(first, min(first + width, n_reps))
        size = here.stop - first
        own_entry = entry if len(entry) == 1 else entry[here]
        if plain:
            _pack(trials.latent, trials.treated, curves[0], first, size, packed)
        else:
            _pack_any(trials.latent, trials.treated, level, curves, forms, first, size, packed)
        if ends is not None:
            _censor(ends, first, size, packed)
        if trials.stratum is not None:
            packed[:, :size] |= trials.stratum[:, here] << _STRATUM_SHIFT
        _transpose(packed, size, own_entry, keys, event_calendar)
        last_day = partial(_last_days, keys[:size], own_entry)
        cuts = cut_rule(event_calendar[:size], own_entry, last_day)
        if found is None:
            found = LookNumbers.empty(n_reps, cuts.shape[1], len(weights))
        found.cut[here] = cuts
        for look in range(cuts.shape[1]):
            _cut(keys[:size], own_entry, cuts[:, look], cut_keys)
            _leave_out(cut_keys[:size], trials.included, here)
            cut_keys[:size].view(np.float64).sort(axis=1)  # as floats: the same order, faster
            own = [column[here, look] for column in found[1:]]
            if only_log_rank:
                _log_rank(cut_keys[:size], inverse, *own[:3])
            else:
                _read(
                    cut_keys[:size], weights, n_strata, reading.cox is not None,
                    reading.cox is Ties.BRESLOW, reading.milestone_day, reading.mean_until, *own,
                )  # fmt: skip
    assert found is not None  # a block has trials
    return found


def _leave_out(keys: Any, included: Any, here: slice) -> None:
    """Let those who are not analysed never have entered."""
    if included is not None:
        keys[~included[:, here].T] = _NEVER


class _Scratch(threading.local):
    """One batch of work space per thread: fresh memory costs more than the work done in it."""

    shape = 0, 0
    arrays: tuple[Any, ...] = ()


_kept = _Scratch()


def _scratch(n: int, width: int) -> tuple[Any, ...]:
    if _kept.shape != (n, width):
        shape = width, n
        _kept.arrays = (
            np.empty((n, width), dtype=np.int64),
            *np.empty((2, *shape), dtype=np.int64),
            np.empty(shape),
        )
        _kept.shape = n, width
    return _kept.arrays


@lru_cache(maxsize=64)
def _as_arrays(hazards: tuple[tuple[Hazard, Hazard], ...]) -> tuple[Floats, Floats]:
    """Pieces (starts, days per hazard, cumulative hazards); shape, cured: per level and arm."""
    most_pieces = max(len(h.rates) for pair in hazards for h in pair)
    curves = np.zeros((len(hazards), 2, 3, most_pieces))
    curves[:, :, 1:] = np.inf  # a piece that is none is never reached, and nothing happens in it
    forms = np.zeros((len(hazards), 2, 2))
    for index, pair in enumerate(hazards):
        for arm, hazard in enumerate(pair):
            for row, column in enumerate(hazard.clock):
                curves[index, arm, row, : len(column)] = column
            forms[index, arm] = hazard.shape, hazard.cured
    return curves, forms


@_compiled
def _pack(latent, treated, curves, first, size, keys):
    """Event times of piecewise exponentials; loops a compiler can turn into vectors."""
    days = np.empty(size)
    for i in range(len(latent)):
        luck, arms = latent[i, first : first + size], treated[i, first : first + size]
        slope0, slope1 = curves[0, 1, 0], curves[1, 1, 0]
        for r in range(size):
            slope = slope1 if arms[r] else slope0
            days[r] = luck[r] * slope if slope < math.inf else math.inf
        for p in range(1, curves.shape[2]):
            start0, slope0, at0 = curves[0, 0, p], curves[0, 1, p], curves[0, 2, p]
            start1, slope1, at1 = curves[1, 0, p], curves[1, 1, p], curves[1, 2, p]
            for r in range(size):
                slope = slope1 if arms[r] else slope0
                at = at1 if arms[r] else at0
                start = start1 if arms[r] else start0
                later = start + (luck[r] - at) * slope if slope < math.inf else math.inf
                days[r] = later if luck[r] >= at else days[r]
        for r in range(size):
            bits = (np.float64(days[r]).view(np.int64) + _HALF) & ~_LOW
            event = _EVENT if days[r] < math.inf else 0
            keys[i, r] = bits | event | (_ARM if arms[r] else 0)


@_compiled
def _pack_any(latent, treated, level, curves, forms, first, size, keys):
    pieces = curves.shape[3]
    for i in range(len(latent)):
        for r in range(size):
            at = first + r
            s, a, wanted = level[i, at], int(treated[i, at]), latent[i, at]
            shape, cured = forms[s, a, 0], forms[s, a, 1]
            if cured > 0:
                uncured = (math.exp(-wanted) - cured) / (1 - cured)
                wanted = -math.log(uncured) if uncured > 0 else math.inf
            p = 0
            while p + 1 < pieces and curves[s, a, 2, p + 1] <= wanted:
                p += 1
            slope, day = curves[s, a, 1, p], math.inf
            if slope < math.inf:
                day = curves[s, a, 0, p] + (wanted - curves[s, a, 2, p]) * slope
            if shape != 1:
                day = day ** (1 / shape)
            bits = (np.float64(day).view(np.int64) + _HALF) & ~_LOW
            keys[i, r] = bits | (_EVENT if day < math.inf else 0) | a


@_compiled
def _censor(ends, first, size, keys):
    for i in range(len(ends)):
        for r in range(size):
            key = keys[i, r]
            bits = (np.float64(ends[i, first + r]).view(np.int64) + _HALF) & ~_LOW
            keys[i, r] = bits | (key & _ARM) if bits < (key & ~_LOW) else key


@_compiled
def _transpose(columns, size, entry, rows, event_calendar):
    """Turn patients by trials into trials by patients, and tell the days of their events."""
    n, tile = len(columns), 8  # one cache line
    whole_n = n - n % tile
    for r0 in range(0, size, tile):
        if r0 + tile <= size:
            for i0 in range(0, whole_n, tile):
                for r in range(tile):
                    for i in range(tile):
                        rows[r0 + r, i0 + i] = columns[i0 + i, r0 + r]
        for r in range(r0, min(r0 + tile, size)):
            for i in range(whole_n if r0 + tile <= size else 0, n):
                rows[r, i] = columns[i, r]
            own = entry[0] if len(entry) == 1 else entry[r]
            for i in range(n):
                day = own[i] + np.int64(rows[r, i] & ~_LOW).view(np.float64)
                event_calendar[r, i] = day if rows[r, i] & _EVENT else math.inf


@_compiled
def _last_days(keys, entry):
    """Return the day of each trial after which nothing can happen."""
    last = np.zeros(len(keys))
    for r in range(len(keys)):
        own = entry[0] if len(entry) == 1 else entry[r]
        for i in range(keys.shape[1]):
            day = own[i] + np.int64(keys[r, i] & ~_LOW).view(np.float64)
            last[r] = max(last[r], day if day < math.inf else own[i])
    return last


@_compiled
def _cut(keys, entry, cuts, found):
    n_reps, n = keys.shape
    for r in range(n_reps):
        own, cut = entry[0] if len(entry) == 1 else entry[r], cuts[r]
        for i in range(n):
            followed = cut - own[i]
            bits = (np.float64(followed).view(np.int64) + _HALF) & ~_LOW
            bits |= keys[r, i] & _LOW & ~_EVENT
            calendar = own[i] + np.int64(keys[r, i] & ~_LOW).view(np.float64)
            key = keys[r, i] if calendar <= cut else bits
            found[r, i] = key if followed > 0 else _NEVER


@_compiled
def _log_rank(keys, inverse, events, score, covariance):
    """Fill in the log-rank test alone, without a table where no times are tied."""
    n = keys.shape[1]
    rows, treated = np.empty((5, n)), np.empty(n, dtype=np.int64)
    for r in range(len(keys)):
        m, n1, d, d1, tied = _counted(keys[r])
        events[r] = d
        if tied:
            n_rows = _tabulate(keys[r], m, n1, rows)
            score[r, 0], covariance[r, 0, 0] = _log_rank_of(rows, n_rows)
            continue
        now = n1
        for q in range(m):
            treated[q] = now if keys[r, q] & _EVENT else 0
            now -= keys[r, q] & _ARM
        expected, squares = _shares(treated[:m], inverse[n - m :])
        score[r, 0], covariance[r, 0, 0] = d1 - expected, expected - squares


@_compiled
def _counted(keys):
    """Entered, of them treated, events, of them treated, and whether any times are tied."""
    m, tied = np.int64(keys[-1] != _NEVER), 0
    n1, d, d1 = keys[-1] & _ARM, (keys[-1] & _EVENT) >> 1, (keys[-1] & (keys[-1] >> 1)) & _ARM
    for q in range(len(keys) - 1):
        key = keys[q]
        m += key != _NEVER
        n1 += key & _ARM
        d += (key & _EVENT) >> 1
        d1 += key & (key >> 1) & _ARM
        tied += (key ^ keys[q + 1]) <= _LOW
    absent = len(keys) - m  # they agree with one another, and are no tie
    return m, n1, d, d1, tied > (absent - 1 if absent else 0)


@_summing
def _shares(treated_at_events, inverse_at_risk):
    """Sum the shares of the treated among those at risk, and their squares."""
    total, squares = 0.0, 0.0
    for q in range(len(treated_at_events)):
        p = np.float64(treated_at_events[q]) * inverse_at_risk[q]
        total += p
        squares += p * p
    return total, squares


@_compiled
def _tabulate(keys, m, n_treated, rows):
    """Fill the rows (time, at risk, of them treated, events, of them treated); return how many."""
    n_rows, q, n1 = 0, 0, float(n_treated)
    while q < m:
        first, at_risk, treated, d, d1 = q, float(m - q), n1, 0, 0
        while q < m and (keys[q] ^ keys[first]) <= _LOW:
            event, arm = (keys[q] & _EVENT) >> 1, keys[q] & _ARM
            d += event
            d1 += event & arm
            n1 -= arm
            q += 1
        rows[0, n_rows] = np.int64(keys[first] & ~_LOW).view(np.float64)
        rows[1, n_rows], rows[2, n_rows] = at_risk, treated
        rows[3, n_rows], rows[4, n_rows] = d, d1
        n_rows += d > 0
    return n_rows


@_compiled
def _tabulate_strata(keys, m, n_strata, rows, row_stratum):
    """Fill the rows of all strata, in order of time."""
    at_risk = np.zeros((2, n_strata))
    for q in range(m):
        at_risk[keys[q] & _ARM, (keys[q] & _LOW) >> _STRATUM_SHIFT] += 1
    n_rows = q = 0
    while q < m:  # within a tie, strata stand together
        first, s, d, d1 = q, (keys[q] & _LOW) >> _STRATUM_SHIFT, 0, 0
        n0, n1 = at_risk[0, s], at_risk[1, s]
        while q < m and (keys[q] ^ keys[first]) < (1 << _STRATUM_SHIFT):
            event, arm = (keys[q] & _EVENT) >> 1, keys[q] & _ARM
            d += event
            d1 += event & arm
            at_risk[arm, s] -= 1
            q += 1
        rows[0, n_rows] = np.int64(keys[first] & ~_LOW).view(np.float64)
        rows[1, n_rows], rows[2, n_rows], rows[3, n_rows], rows[4, n_rows] = n0 + n1, n1, d, d1
        row_stratum[n_rows] = s
        n_rows += d > 0
    return n_rows


@_compiled
def _read(
    keys, weights, n_strata, fit_cox, breslow, milestone_day, mean_until,
    events, score, covariance, cox, milestone, restricted_mean,
):  # fmt: skip
    n_reps, n = keys.shape
    k = len(weights)
    unweighted = k == 1 and not weights.any()
    rows, row_stratum = np.empty((5, n)), np.zeros(n, dtype=np.int64)
    survival, drawn, surplus, variance = np.empty(n), np.empty((k, n)), np.empty(n), np.empty(n)
    for r in range(n_reps):
        m, n1 = _counted(keys[r])[:2]
        if n_strata > 1:
            n_rows = _tabulate_strata(keys[r], m, n_strata, rows, row_stratum)
        else:
            n_rows = _tabulate(keys[r], m, n1, rows)
        events[r] = rows[3, :n_rows].sum()
        if unweighted:
            score[r, 0], covariance[r, 0, 0] = _log_rank_of(rows, n_rows)
        elif k > 0:
            _survival_before(rows, n_rows, row_stratum, n_strata, survival)
            _terms(rows, n_rows, surplus, variance)
            for w in range(k):
                _weigh(rows, n_rows, row_stratum, n_strata, survival, weights[w], drawn[w])
            _scores(drawn, surplus, variance, n_rows, score[r], covariance[r])
        if fit_cox:
            cox[r, 0], cox[r, 1] = _cox(rows, n_rows, breslow)
        if n_strata > 1:  # curves are of all patients together
            n_rows = _tabulate(keys[r], m, n1, rows)
        _curves(
            keys[r], m, rows, n_rows, milestone_day, mean_until, milestone[r], restricted_mean[r]
        )


@_compiled
def _curves(keys, m, rows, n_rows, milestone_day, mean_until, milestone, restricted_mean):
    for arm in range(2):
        last = _last(keys, m, arm)
        if not math.isnan(milestone_day):
            _survival_on(rows, n_rows, arm, milestone_day, last, milestone[arm])
        if not math.isnan(mean_until):
            _mean_until(rows, n_rows, arm, mean_until, last, restricted_mean[arm])


@_compiled
def _last(keys, m, arm):
    """Return when follow-up of an arm ends."""
    for q in range(m - 1, -1, -1):
        if keys[q] & _ARM == arm:
            return np.int64(keys[q] & ~_LOW).view(np.float64)
    return 0.0


@_summing
def _log_rank_of(rows, n_rows):
    u, v = 0.0, 0.0
    for q in range(n_rows):
        n, n1, d = rows[1, q], rows[2, q], rows[3, q]
        u += rows[4, q] - d * n1 / n
        v += d * n1 * (n - n1) * (n - d) / (n * n * (n - 1)) if n > 1 else 0.0
    return u, v


@_compiled
def _terms(rows, n_rows, surplus, variance):
    for q in range(n_rows):
        n, n1, d = rows[1, q], rows[2, q], rows[3, q]
        surplus[q] = rows[4, q] - d * n1 / n
        variance[q] = d * n1 * (n - n1) * (n - d) / (n * n * (n - 1)) if n > 1 else 0.0


@_summing
def _product(a, b, n):
    total = 0.0
    for q in range(n):
        total += a[q] * b[q]
    return total


@_summing
def _product3(a, b, c, n):
    total = 0.0
    for q in range(n):
        total += a[q] * b[q] * c[q]
    return total


@_compiled
def _scores(drawn, surplus, variance, n_rows, score, covariance):
    for w in range(len(drawn)):
        score[w] = _product(drawn[w], surplus, n_rows)
        for other in range(w + 1):
            found = _product3(drawn[w], drawn[other], variance, n_rows)
            covariance[w, other] = covariance[other, w] = found


@_compiled
def _survival_before(rows, n_rows, row_stratum, n_strata, survival):
    if n_strata == 1:
        now = 1.0
        for q in range(n_rows):
            survival[q] = now
            now *= 1 - rows[3, q] / rows[1, q]
        return
    each = np.ones(n_strata)
    for q in range(n_rows):
        survival[q] = each[row_stratum[q]]
        each[row_stratum[q]] *= 1 - rows[3, q] / rows[1, q]


@_compiled
def _weigh(rows, n_rows, row_stratum, n_strata, survival, weight, drawn):
    kind, a, b = weight
    if kind == 0 and (a == 0 or a == 1) and (b == 0 or b == 1):
        for q in range(n_rows):
            early = survival[q] if a == 1 else 1.0
            drawn[q] = early * (1 - survival[q]) if b == 1 else early
    elif kind == 0:
        for q in range(n_rows):
            drawn[q] = survival[q] ** a * (1 - survival[q]) ** b
    elif kind == 1:
        floor = np.zeros(n_strata)  # survival at the limit, known at the first event after it
        for q in range(n_rows):
            s = row_stratum[q] if n_strata > 1 else 0
            if rows[0, q] > b and floor[s] == 0:
                floor[s] = survival[q]
            drawn[q] = min(a, 1 / max(survival[q], floor[s], 1e-300))
    else:
        for q in range(n_rows):
            drawn[q] = 1.0 if rows[0, q] >= a else 0.0


@_compiled
def _cox(rows, n_rows, breslow):
    in_treated = in_control = tied = False
    for q in range(n_rows):
        at_stake = 0 < rows[2, q] < rows[1, q]
        in_treated |= at_stake and rows[4, q] > 0
        in_control |= at_stake and rows[3, q] > rows[4, q]
        tied |= rows[3, q] > 1
    if not (in_treated and in_control):
        return math.nan, math.nan
    beta, step = 0.0, math.inf
    for _ in range(MAX_NEWTON_STEPS + 1):
        if tied:
            score, information = _slopes_tied(rows, n_rows, math.exp(beta), breslow)
        else:
            score, information = _slopes(rows, n_rows, math.exp(beta))
        if abs(step) <= NEWTON_TOLERANCE:
            return beta, 1 / math.sqrt(information)
        if information <= 0:
            break
        step = max(-1.0, min(1.0, score / information))
        beta += step
    return math.nan, math.nan


@_summing
def _slopes(rows, n_rows, ratio):
    score, information = 0.0, 0.0
    for q in range(n_rows):
        treated = rows[2, q] * ratio
        p = treated / (treated + (rows[1, q] - rows[2, q]))
        score += rows[4, q] - p
        information += p * (1 - p)
    return score, information


@_summing
def _slopes_tied(rows, n_rows, ratio, breslow):
    score, information = 0.0, 0.0
    for q in range(n_rows):
        n, n1, d, d1 = rows[1, q], rows[2, q], rows[3, q], rows[4, q]
        score += d1
        for tied in range(int(d)):
            gone = 0.0 if breslow else tied / d
            treated = (n1 - gone * d1) * ratio
            p = treated / (treated + (n - n1) - gone * (d - d1))
            score -= p
            information += p * (1 - p)
    return score, information


@_compiled
def _survival_on(rows, n_rows, arm, day, last, found):
    survival, variance = 1.0, 0.0
    for q in range(n_rows):
        if rows[0, q] > day:
            break
        n = rows[2, q] if arm else rows[1, q] - rows[2, q]
        d = rows[4, q] if arm else rows[3, q] - rows[4, q]
        if d > 0:
            survival *= 1 - d / n
            variance += d / (n * (n - d)) if n > d else 0.0
    if last >= day or survival == 0:
        found[0], found[1] = survival, variance


@_compiled
def _mean_until(rows, n_rows, arm, until, last, found):
    whole, variance, survival = 0.0, 0.0, 1.0
    for sweep in range(2):  # first the whole area, then what lies beyond each event
        area, survival, time = 0.0, 1.0, 0.0
        for q in range(n_rows):
            if rows[0, q] > until:
                break
            n = rows[2, q] if arm else rows[1, q] - rows[2, q]
            d = rows[4, q] if arm else rows[3, q] - rows[4, q]
            if d > 0:
                area += survival * (rows[0, q] - time)
                time = rows[0, q]
                survival *= 1 - d / n
                if sweep and n > d:
                    variance += (whole - area) ** 2 * d / (n * (n - d))
        whole = area + survival * (until - time)
    if last >= until or survival == 0:
        found[0], found[1] = whole, variance


def permuted_blocks(
    uniforms: Floats, size_uniforms: Floats, sizes: Ints, treated_in_block: Ints
) -> NDArray[np.bool_]:
    """Assign within permuted blocks of one stratum: the numpy kernel's draws and its answers."""
    treated = np.empty(uniforms.shape, dtype=np.bool_)
    _permuted_blocks(uniforms, size_uniforms, sizes, treated_in_block, treated)
    return treated


@_compiled
def _permuted_blocks(uniforms, size_uniforms, sizes, treated_in_block, treated):
    n, n_reps = uniforms.shape
    left, left_treated = np.zeros(n_reps), np.zeros(n_reps)
    for i in range(n):
        for r in range(n_reps):
            chosen = int(size_uniforms[i, r] * len(sizes)) if left[r] == 0 else 0
            here = sizes[chosen] if left[r] == 0 else left[r]
            treated_here = treated_in_block[chosen] if left[r] == 0 else left_treated[r]
            to_treated = uniforms[i, r] * here < treated_here
            treated[i, r] = to_treated
            left[r] = here - 1
            left_treated[r] = treated_here - to_treated
