"""Assignment of patients to two arms, from uniforms, over many trials at once.

Patients stand in order of arrival down the first axis, trials across the second. Simple
allocation and permuted blocks read only the uniforms of patients up to the current one, so more
patients extend a trial; the random allocation rule is for arm sizes fixed in advance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BIASED_COIN",
    "block_openings",
    "minimisation",
    "permuted_blocks",
    "random_allocation_rule",
    "simple",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

BIASED_COIN = 0.8  # assumed: how often minimisation follows its preference


def simple(uniforms: Floats, ratio: tuple[int, int]) -> Bools:
    """Assign each patient by an independent throw.

    Parameters
    ----------
    uniforms : ndarray, shape (n_patients, n_reps)
    ratio : (treated, control)

    Returns
    -------
    treated : ndarray of bool, shape (n_patients, n_reps)
    """
    return uniforms < ratio[0] / sum(ratio)


def random_allocation_rule(uniforms: Floats, arm_sizes: tuple[int, int]) -> Bools:
    """Assign so that the arms end at exactly these sizes, every such sequence equally likely.

    Parameters
    ----------
    uniforms : ndarray, shape (n_patients, n_reps)
        `n_patients` is the sum of `arm_sizes`.
    arm_sizes : (treated, control)

    Returns
    -------
    treated : ndarray of bool, shape (n_patients, n_reps)

    References
    ----------
    Rosenberger and Lachin (2016), Randomization in Clinical Trials, section 3.3.
    """
    treated = np.empty(uniforms.shape, dtype=bool)
    left_treated = np.full(uniforms.shape[1], arm_sizes[0], dtype=np.int64)
    for patient, left in enumerate(range(sum(arm_sizes), 0, -1)):
        treated[patient] = uniforms[patient] * left < left_treated
        left_treated -= treated[patient]
    return treated


def permuted_blocks(
    uniforms: Floats,
    size_uniforms: Floats,
    strata: NDArray[np.integer],
    n_strata: int,
    ratio: tuple[int, int],
    block_sizes: tuple[int, ...],
) -> Bools:
    """Assign within randomly permuted blocks, separately in each stratum.

    Parameters
    ----------
    uniforms, size_uniforms : ndarray, shape (n_patients, n_reps)
        Decide the arm, and the size of the block where the patient opens one.
    strata : ndarray of int, shape (n_patients, n_reps)
        0 .. `n_strata` - 1.
    ratio : (treated, control)
    block_sizes : tuple of int
        Equally likely; each a multiple of the ratio's sum.

    Returns
    -------
    treated : ndarray of bool, shape (n_patients, n_reps)

    References
    ----------
    Rosenberger and Lachin (2016), Randomization in Clinical Trials, section 3.4. Drawing without
    replacement from the open block gives every permutation of it the same probability.
    """
    n_patients, n_reps = uniforms.shape
    sizes = np.array(block_sizes, dtype=np.int64)
    treated_in_block = sizes // sum(ratio) * ratio[0]
    if n_strata == len(sizes) == 1:
        return _place_by_place(uniforms, int(sizes[0]), int(treated_in_block[0]))
    chosen = (size_uniforms * len(sizes)).astype(np.int64)
    treated = np.empty((n_patients, n_reps), dtype=bool)
    left = np.zeros(n_strata * n_reps, dtype=np.int64)
    left_treated = np.zeros(n_strata * n_reps, dtype=np.int64)
    own_block = strata.astype(np.int64) * n_reps + np.arange(n_reps)
    for patient in range(n_patients):
        at = own_block[patient]
        left_here, left_treated_here = left[at], left_treated[at]
        opens = left_here == 0
        left_here = np.where(opens, sizes[chosen[patient]], left_here)
        left_treated_here = np.where(opens, treated_in_block[chosen[patient]], left_treated_here)
        to_treated = uniforms[patient] * left_here < left_treated_here
        treated[patient] = to_treated
        left[at] = left_here - 1
        left_treated[at] = left_treated_here - to_treated
    return treated


def _place_by_place(uniforms: Floats, size: int, treated_in_block: int) -> Bools:
    """Assign the first patients of all blocks at once, then the second ones, and so on.

    Where all blocks have one size and follow one another, a trial of thousands of patients needs
    as many steps as a block has places.
    """
    n_patients, n_reps = uniforms.shape
    treated = np.empty((n_patients, n_reps), dtype=bool)
    left_treated = np.full((-(-n_patients // size), n_reps), treated_in_block)
    for place in range(min(size, n_patients)):
        here = uniforms[place::size]
        left_here = left_treated[: len(here)]  # the last block may end before this place
        to_treated = here * (size - place) < left_here
        treated[place::size] = to_treated
        left_here -= to_treated
    return treated


def minimisation(uniforms: Floats, levels: tuple[NDArray[np.integer], ...]) -> Bools:
    """Assign 1:1 so that arms stay alike in every factor, each patient by a biased coin.

    The arm is preferred whose choice leaves the smaller sum, over factors, of the difference
    between arms in the patient's own level; it is taken with probability `BIASED_COIN`, and either
    with 1/2 where both leave as much.

    Parameters
    ----------
    uniforms : ndarray, shape (n_patients, n_reps)
    levels : tuple of ndarray of int, each shape (n_patients, n_reps)
        One per factor, from 0.

    Returns
    -------
    treated : ndarray of bool, shape (n_patients, n_reps)

    References
    ----------
    Pocock and Simon (1975), Biometrics 31:103-115, with the range as measure of imbalance.
    """
    n_patients, n_reps = uniforms.shape
    ahead = [np.zeros((int(own.max()) + 1) * n_reps, dtype=np.int64) for own in levels]
    replicate = np.arange(n_reps)
    treated = np.empty((n_patients, n_reps), dtype=bool)
    for patient in range(n_patients):
        at = [own[patient].astype(np.int64) * n_reps + replicate for own in levels]
        excess = np.zeros(n_reps, dtype=np.int64)
        for own, where in zip(ahead, at, strict=True):
            excess += np.sign(own[where])  # |d + 1| - |d - 1| is twice this
        share = np.where(excess > 0, 1 - BIASED_COIN, np.where(excess < 0, BIASED_COIN, 0.5))
        treated[patient] = uniforms[patient] < share
        for own, where in zip(ahead, at, strict=True):
            own[where] += np.where(treated[patient], 1, -1)
    return treated


def block_openings(
    size_uniforms: Floats,
    strata: NDArray[np.integer],
    n_strata: int,
    block_sizes: tuple[int, ...],
) -> Bools:
    """Return which patients open a block, given what `permuted_blocks` was given.

    Returns
    -------
    opens : ndarray of bool, shape (n_patients, n_reps)
    """
    n_patients, n_reps = size_uniforms.shape
    sizes = np.array(block_sizes, dtype=np.int64)
    chosen = (size_uniforms * len(sizes)).astype(np.int64)
    opens = np.empty((n_patients, n_reps), dtype=bool)
    left = np.zeros(n_strata * n_reps, dtype=np.int64)
    own_block = strata.astype(np.int64) * n_reps + np.arange(n_reps)
    for patient in range(n_patients):
        at = own_block[patient]
        here = left[at]
        opens[patient] = here == 0
        left[at] = np.where(opens[patient], sizes[chosen[patient]], here) - 1
    return opens
