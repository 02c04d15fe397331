"""The order of the Markov chain that predicts journeys best: chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.attribution.parameters import MAX_ORDER, Parameters
from core.attribution.paths import Floats, Integers, Paths, under_direct_rule
from core.attribution.transitions import Transitions, count_transitions, merge
from core.context import Purpose
from core.streams import Stream

FOLDS = 5
_PRIOR = 1.0
"""Steps that a state borrows from the state of one channel fewer: it smooths rare states."""
_SEED = 1
_MOST_WALKS = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChoice:
    """The order that was chosen, and the figures behind it.

    scores: for each order from 1, the mean log-likelihood of a held-out journey. errors: the
    standard error, over the folds, of its difference from the best one's; 0 for the best.
    """

    order: int
    scores: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def said(self) -> str:
        """The choice in one sentence."""
        shown = ", ".join(f"{score:.4f}" for score in self.scores)
        return (
            f"--order auto chooses {self.order}: the lowest order within one standard error of the "
            f"best log-likelihood of held-out journeys ({shown} for orders 1 to {len(self.scores)})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the choice as JSON data."""
        return {"order": self.order, "scores": list(self.scores), "errors": list(self.errors)}


def fold_counts(
    paths: Paths, parameters: Parameters, *, with_nulls: bool = True, part: int = 0
) -> list[Transitions]:
    """Return the transitions of order 3 of each of FOLDS folds of the journeys of *paths*.

    Every journey falls into one fold; a row that stands for many is split at random. part: the
    number of *paths* among the parts of one set, which draw other numbers.
    """
    paths = under_direct_rule(paths, parameters.direct)
    generator = Stream(_SEED, Purpose.FOLDS, replication=part).generator()
    conversions = _dealt(np.maximum(paths.conversions, 0.0), generator)
    nulls = _dealt(paths.nulls if with_nulls else np.zeros(len(paths)), generator)
    nothing = np.zeros(len(paths))
    return [
        count_transitions(paths, MAX_ORDER, amounts=(converted, lost, nothing))
        for converted, lost in zip(conversions, nulls, strict=True)
    ]


def _dealt(amounts: Floats, generator: np.random.Generator) -> list[Floats]:
    """Return *amounts* dealt out to the folds: whole journeys at random, fractions evenly."""
    whole = np.minimum(np.floor(amounts), _MOST_WALKS).astype(np.int64)
    rest = amounts - whole
    dealt: list[Floats] = []
    single = whole == 1
    fold = generator.integers(0, FOLDS, len(amounts))
    left = np.where(single, 0, whole)
    for number in range(FOLDS):
        share = left.copy()
        if number < FOLDS - 1:
            many = np.flatnonzero(left)
            share[many] = generator.binomial(left[many], 1.0 / (FOLDS - number))
        left = left - share
        dealt.append(share + (single & (fold == number)) + rest / FOLDS)
    return dealt


def chosen_order(parts: Iterable[Sequence[Transitions]]) -> OrderChoice:
    """Return the order for journeys whose `fold_counts` are *parts*.

    A chain of each order is counted on all folds but one, and the journeys of that one are
    scored by the log-likelihood of their steps and ends. A state's distribution is smoothed
    with that of the state of one channel fewer, if that one was seen elsewhere, too. The lowest
    order within one standard error of the best is chosen: a higher one has to show that it
    predicts better.
    """
    folds: list[Transitions] = []
    for part in parts:  # merged one by one, so the memory is bounded
        folds = [merge(pair) for pair in zip(folds, part, strict=True)] if folds else list(part)
    base = len(folds[0].channels) + 1
    sources, outcomes, counts = _steps(folds, base)
    journeys = np.array([fold.paths for fold in folds])
    total = counts.sum(axis=1)
    likely: dict[int, Floats] = {}
    for number in range(len(folds)):
        train = np.maximum(total - counts[:, number], 0.0)
        likely[number] = _log_likelihoods(sources, outcomes, train, counts[:, number], base)
    used = np.flatnonzero(journeys > 0)
    if not used.size:
        return OrderChoice(order=1, scores=(0.0,) * MAX_ORDER, errors=(0.0,) * MAX_ORDER)
    means = np.array([likely[number] / journeys[number] for number in used.tolist()])
    scores = means.mean(axis=0)
    best = int(np.argmax(scores))
    behind = means[:, [best]] - means
    errors = behind.std(axis=0, ddof=1) / np.sqrt(len(used)) if len(used) > 1 else np.zeros(3)
    within = behind.mean(axis=0) <= errors
    return OrderChoice(
        order=int(np.argmax(within)) + 1,
        scores=tuple(scores.tolist()),
        errors=tuple(errors.tolist()),
    )


def order_of(
    paths: Paths, parameters: Parameters, *, with_nulls: bool = True
) -> tuple[Parameters, OrderChoice]:
    """Return *parameters* with the order that `chosen_order` finds for *paths*, and the choice."""
    choice = chosen_order([fold_counts(paths, parameters, with_nulls=with_nulls)])
    return replace(parameters, order=choice.order), choice


def _steps(folds: Sequence[Transitions], base: int) -> tuple[Integers, Integers, Floats]:
    """Return each state and outcome once, with its count in each fold.

    An outcome is the digit of the next channel, 0 for an end without a conversion, *base* for one
    with it.
    """
    names = folds[0].channels
    sources, outcomes, counts, owners = [], [], [], []
    for number, fold in enumerate(folds):
        if fold.channels != names:
            raise ValueError("the folds of one set of journeys have the same channels")
        for states, ends, amounts in (
            (fold.states[fold.sources], fold.states[fold.targets] % base, fold.counts),
            (fold.states, np.zeros(len(fold.states), dtype=np.int64), fold.lost),
            (fold.states, np.full(len(fold.states), base), fold.converted),
        ):
            some = amounts > 0
            sources.append(states[some])
            outcomes.append(ends[some])
            counts.append(amounts[some])
            owners.append(np.full(int(some.sum()), number))
    source, outcome = np.concatenate(sources), np.concatenate(outcomes)
    known, rank = np.unique(source, return_inverse=True)
    pairs, place = np.unique(rank * (base + 1) + outcome, return_inverse=True)
    table = np.zeros((len(pairs), len(folds)))
    np.add.at(table, (place, np.concatenate(owners)), np.concatenate(counts))
    return known[pairs // (base + 1)], pairs % (base + 1), table


def _log_likelihoods(
    sources: Integers, outcomes: Integers, train: Floats, test: Floats, base: int
) -> Floats:
    """Return the log-likelihood of the steps *test* under the chain of *train*, for each order."""
    found = np.zeros(MAX_ORDER)
    seen = np.bincount(outcomes, weights=train, minlength=base + 1)
    chances = ((seen + _PRIOR / (base + 1)) / (seen.sum() + _PRIOR))[outcomes]
    shorter = np.full(len(sources), seen.sum())
    scored = np.flatnonzero(test > 0)
    for order in range(1, MAX_ORDER + 1):
        states = sources % base**order
        known, state = np.unique(states, return_inverse=True)
        pairs, pair = np.unique(state * (base + 1) + outcomes, return_inverse=True)
        left = np.bincount(state, weights=train, minlength=len(known))[state]
        took = np.bincount(pair, weights=train, minlength=len(pairs))[pair]
        # A state that is all of a shorter one says nothing new; its counts smooth nothing twice.
        is_split = shorter - left > 1e-9 * shorter
        chances = np.where(is_split, (took + _PRIOR * chances) / (left + _PRIOR), chances)
        shorter = left
        found[order - 1] = float(test[scored] @ np.log(chances[scored]))
    return found
