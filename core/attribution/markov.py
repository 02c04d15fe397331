"""Markov chains over channels: exact removal effects from counted transitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.attribution.paths import Floats
from core.attribution.transitions import Transitions
from core.errors import InputError

Bools = NDArray[np.bool_]

MAX_STATES = 200_000
"""The most states of a chain: every channel takes one solution of that size."""
MAX_CHANNELS = 4_000
"""The most channels of a chain of order 1: its inverse is a square of that size."""
_DENSE_STATES = 128  # beyond, sparse sums are faster than a solution that several threads share
_TOLERANCE = 1e-17  # of what sums leave out, relative to the largest reward
_MOST_SUMS = 20_000
_MOST_PRODUCTS = 100_000_000
"""Of the sums of a chain; with more, as long journeys need, the sums are extrapolated."""
_BLOCK = 8  # channels whose solutions are summed together
_LOOK = 4  # terms between two looks at whether a sum can be extrapolated
_MOST_TERMS = 200  # of a sum that is extrapolated; what needs more is solved by GMRES


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Removal:
    """The loss without each channel, as a share of the mean conversions and value of a path.

    conversions, value: the removal effect of each channel; conversion_rate: the probability that
    a path converts; value_rate: the mean value of a path.
    """

    channels: tuple[str, ...]
    conversions: Floats
    value: Floats
    conversion_rate: float
    value_rate: float


def is_too_large(transitions: Transitions) -> bool:
    """Return whether `removal_effects` refuses *transitions*."""
    return len(transitions.states) > _most_states(transitions.order)


def _most_states(order: int) -> int:
    return MAX_CHANNELS if order == 1 else MAX_STATES


def removal_effects(transitions: Transitions) -> Removal:
    """Return the exact removal effect of every channel.

    With Q the transitions between states and r_i the probability to convert from state i,
    N = (I - Q)^-1 and b = N r. For order 1 one inverse gives every effect,
    RE_k = N[s,k] b_k / (N[k,k] b_s) with s the start; beyond, all states that hold the channel
    are deleted and the rest is solved again. For values r_i is the mean value that leaving state
    i brings. A channel whose removal loses nothing has effect 0, and so has every channel where
    nothing converts. Source: Anderl et al., IJRM 33(3), 2016. Raise InputError beyond MAX_STATES
    or MAX_CHANNELS.
    """
    size = len(transitions.states)
    if is_too_large(transitions):
        raise InputError(
            f"order {transitions.order} has {size:,} states, more than "
            f"{_most_states(transitions.order):,}; merge rare channels into one"
        )
    leaving = transitions.converted + transitions.lost
    np.add.at(leaving, transitions.sources, transitions.counts)
    leaving[leaving == 0] = 1.0  # only an empty chain has such a state: its start
    rewards = np.stack([transitions.converted, transitions.value], axis=1) / leaving[:, None]
    chances = transitions.counts / leaving[transitions.sources]
    effects = (_by_one_inverse if transitions.order == 1 else _by_deletion)(
        transitions, chances, rewards
    )
    shares, start = effects
    return Removal(
        channels=transitions.channels,
        conversions=shares[:, 0],
        value=shares[:, 1],
        conversion_rate=float(start[0]),
        value_rate=float(start[1]),
    )


def _by_one_inverse(
    transitions: Transitions, chances: Floats, rewards: Floats
) -> tuple[Floats, Floats]:
    size = len(transitions.states)
    matrix = np.eye(size)
    matrix[transitions.sources, transitions.targets] -= chances
    visits = np.linalg.inv(matrix)
    brings = visits @ rewards
    start = brings[0]
    # The digit of a state is its channel; a channel that never occurs has no state.
    lost = (visits[0] / np.diagonal(visits))[1:, None] * brings[1:]
    effects = np.zeros((len(transitions.channels), 2))
    effects[transitions.states[1:] - 1] = _shares(lost, start)
    return effects, start


def _by_deletion(
    transitions: Transitions, chances: Floats, rewards: Floats
) -> tuple[Floats, Floats]:
    size, base = len(transitions.states), len(transitions.channels) + 1
    holds = np.zeros((size, base), dtype=np.bool_)
    for back in range(transitions.order):
        holds[np.arange(size), transitions.states // base**back % base] = True
    stays = ~holds
    stays[:, 0] = True  # no channel has the digit 0: this is the case without a deletion
    brought = (_solved if size <= _DENSE_STATES else _summed)(transitions, chances, rewards, stays)
    start = brought[0]
    return _shares(start - brought[1:], start), start


def _shares(lost: Floats, start: Floats) -> Floats:
    """Return *lost*, a row per channel, as a share of the start's reward; 0 if that is 0."""
    shares = np.divide(lost, start, out=np.zeros_like(lost), where=start != 0)
    # Rounding may leave a loss of 0 a little below 0.
    shares[np.abs(shares) < 1e-14] = 0.0
    return shares


def _solved(transitions: Transitions, chances: Floats, rewards: Floats, stays: Bools) -> Floats:
    """Return the mean rewards of a path that is lost when it meets a state that does not stay.

    stays: shape (states, cases); the answer has shape (cases, rewards).
    """
    size, cases = stays.shape
    matrix = np.eye(size)
    matrix[transitions.sources, transitions.targets] -= chances
    found = np.empty((cases, rewards.shape[1]))
    for case in range(cases):
        kept = np.flatnonzero(stays[:, case])
        found[case] = np.linalg.solve(matrix[np.ix_(kept, kept)], rewards[kept])[0]
    return found


def _summed(transitions: Transitions, chances: Floats, rewards: Floats, stays: Bools) -> Floats:
    """Return the same as `_solved`, from (I - Q)^-1 r = r + Q r + Q^2 r + ...

    Terms are added until the rest is below the rounding of floats: u = Q^t 1 bounds every later
    term. A chain that needs too many terms is solved case by case.
    """
    from scipy.sparse import csr_matrix

    size, cases = stays.shape
    matrix = csr_matrix((chances, (transitions.sources, transitions.targets)), shape=(size, size))
    most = _MOST_PRODUCTS // max(1, len(chances) * rewards.shape[1] * cases)
    terms = _terms(matrix, min(most, _MOST_SUMS))
    found = np.empty((cases, rewards.shape[1]))
    if terms is None:
        return _of_long_journeys(matrix, rewards, stays)
    for first in range(0, cases, _BLOCK):
        mask = np.repeat(stays[:, first : first + _BLOCK], rewards.shape[1], axis=1)
        reward = np.tile(rewards, mask.shape[1] // rewards.shape[1]) * mask
        total = reward
        for _ in range(terms):
            total = (matrix @ total) * mask + reward
        found[first : first + _BLOCK] = total[0].reshape(-1, rewards.shape[1])
    return found


def _of_long_journeys(matrix: Any, rewards: Floats, stays: Bools) -> Floats:
    """Return the same as `_summed`: the mean visits of each state, times its rewards."""
    turned = matrix.T.tocsr()
    cases = stays.shape[1]
    found = np.empty((cases, rewards.shape[1]))
    for first in range(0, cases, _BLOCK):
        kept = stays[:, first : first + _BLOCK].astype(np.float64)
        start = np.zeros_like(kept)
        start[0] = 1.0
        visits = np.zeros_like(kept)
        for precision in (1e-13, 1e-6):  # the second solves what the first leaves
            rest = start - (visits - (turned @ visits) * kept)
            visits += _extrapolated(turned, kept, rest, precision)
        rest = start - (visits - (turned @ visits) * kept)
        is_exact = np.abs(rest).sum(axis=0) <= 1e-13 * np.maximum(1.0, np.abs(visits).sum(axis=0))
        found[first : first + _BLOCK] = visits.T @ rewards
        for case in first + np.flatnonzero(~is_exact):
            some = np.flatnonzero(stays[:, case])
            found[case] = _visits(matrix[some][:, some]) @ rewards[some]
    return found


def _extrapolated(turned: Any, kept: Floats, start: Floats, precision: float) -> Floats:
    """Return start + Q start + Q^2 start + ..., a column per case, about to *precision*.

    Long journeys slow the sum down, because one eigenvalue of Q is close to 1. Once only its
    vector is left, the terms are a geometric series, whose sum is known. Where that does not
    happen, as where channels take turns, the result is the sum of _MOST_TERMS terms.
    """
    term, total = start, start.copy()
    for number in range(1, _MOST_TERMS + 1):
        following = turned @ term
        following *= kept
        if number % _LOOK == 0:
            squares = np.einsum("ij,ij->j", term, term)
            ratio = np.divide(
                np.einsum("ij,ij->j", term, following), squares,
                out=np.zeros_like(squares), where=squares > 0,
            )  # fmt: skip
            ratio = np.minimum(ratio, 1 - 1e-12)
            rest: Floats = following / (1 - ratio)
            apart = np.abs(following - ratio * term).sum(axis=0)
            if (apart <= precision * (1 - ratio) * np.abs(total + rest).sum(axis=0)).all():
                extrapolated: Floats = total + rest
                return extrapolated
        total += following
        term = following
    return total


def _visits(matrix: Any) -> Floats:
    """Return the mean visits of each state from the first on: u with u = e + u Q.

    GMRES takes any number of eigenvalues close to 1 out of the way. A second solution, of what the
    first leaves, brings the error down to rounding. Where that fails the system is solved by
    elimination.
    """
    from scipy.sparse import identity
    from scipy.sparse.linalg import LinearOperator, gmres, splu

    turned = matrix.T.tocsr()
    size = matrix.shape[0]
    start = np.zeros(size)
    start[0] = 1.0
    system = LinearOperator(
        (size, size), matvec=lambda visits: visits - turned @ visits, dtype=np.float64
    )
    visits = np.zeros(size)
    for tolerance in (1e-13, 1e-6):
        rest = start - (visits - turned @ visits)
        found, _ = gmres(system, rest, rtol=tolerance, atol=0.0, restart=80, maxiter=10)
        visits = visits + found
    rest = start - (visits - turned @ visits)
    if np.abs(rest).sum() <= 1e-13 * max(1.0, np.abs(visits).sum()):
        return visits
    solved: Floats = splu((identity(size) - turned).tocsc()).solve(start)
    return solved


def _terms(matrix: Any, most: int) -> int | None:
    """Return the number of terms that leave a rest below the tolerance, None beyond *most*."""
    alive = np.ones(matrix.shape[0])  # the probability not to have ended after t steps
    steps = np.zeros(matrix.shape[0])
    for term in range(1, most):
        steps += alive
        alive = matrix @ alive
        longest = float(alive.max())
        if longest < 1 and longest * float(steps.max()) / (1 - longest) <= _TOLERANCE:
            return term
    return None
