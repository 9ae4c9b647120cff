"""The live tokens of a session, and A9, why a cut is exact: a small causal transformer with rotary positions, in float64,
stands for the engine.

What both ways of a session rely on: keys and values in front of a cut stay, and the tokens behind it are encoded again at
their new positions. Keeping their states and only rotating the keys is another computation; the last test says how.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.llm.sequence import LiveTokens

Array = NDArray[np.float64]
WORDS, WIDTH, LAYERS = 50, 16, 3
A, B, C = range(0, 7), range(7, 20), range(20, 26)


class Cache(NamedTuple):
    """Keys (rotated) and values, by layer: (layers, tokens, width)."""

    keys: Array
    values: Array

    def between(self, start: int, end: int | None) -> Cache:
        return Cache(self.keys[:, start:end], self.values[:, start:end])


NOTHING = Cache(np.zeros((LAYERS, 0, WIDTH)), np.zeros((LAYERS, 0, WIDTH)))


def rotated(vectors: Array, by: NDArray[np.floating]) -> Array:
    """Rotary positions: each pair of a vector turned by its frequency times the position."""
    angles = by[:, None] * 10_000.0 ** (-np.arange(0, WIDTH, 2) / WIDTH)
    turned = (vectors[:, ::2] + 1j * vectors[:, 1::2]) * np.exp(1j * angles)
    return np.stack([turned.real, turned.imag], axis=-1).reshape(vectors.shape)


class Model:
    """Weights drawn once."""

    def __init__(self) -> None:
        random = np.random.default_rng(9)
        self.words = random.normal(size=(WORDS, WIDTH))
        self.layers = random.normal(size=(LAYERS, 5, WIDTH, WIDTH)) / np.sqrt(WIDTH)

    def encode(self, ids: list[int], behind: Cache = NOTHING, *, unseen: range = range(0)) -> tuple[Array, Cache]:
        """The logits and states of tokens behind those of a cache; `unseen`: places of the cache that they do not attend
        to and that take no position."""
        before = behind.keys.shape[1]
        positions = np.arange(len(ids), dtype=np.float64) + (before - len(unseen))
        allowed = np.tril(np.ones((len(ids), before + len(ids)), dtype=bool), k=before)
        allowed[:, unseen.start : unseen.stop] = False
        hidden, keys, values = self.words[ids], [], []
        for (query, key, value, up, down), old_keys, old_values in zip(self.layers, *behind, strict=True):
            keys.append(rotated(hidden @ key, positions))
            values.append(hidden @ value)
            scores = rotated(hidden @ query, positions) @ np.vstack([old_keys, keys[-1]]).T / np.sqrt(WIDTH)
            weights = np.exp(np.where(allowed, scores, -np.inf))
            hidden = hidden + weights / weights.sum(1, keepdims=True) @ np.vstack([old_values, values[-1]])
            hidden = hidden + np.tanh(hidden @ up) @ down
        return hidden @ self.words.T, Cache(np.stack(keys), np.stack(values))


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


def ids(places: range) -> list[int]:
    return [(7 * place + 3) % WORDS for place in places]


def test_a9_what_is_left_of_a_cut_is_computed_as_if_it_had_never_been_there(model: Model) -> None:
    live = LiveTokens(ids(A))
    cut = live.append(ids(B))
    live.append(ids(C))
    _, cache = model.encode([*live.ids])
    live.cut(cut)
    again = [*live.ids][len(live.ids) - live.counts.reencoded :]
    assert again == ids(C)
    logits, _ = model.encode(again, cache.between(0, cut.start))
    fresh, _ = model.encode([*live.ids])
    np.testing.assert_allclose(logits, fresh[cut.start :], atol=1e-9)


def test_a9_a_span_that_the_tail_never_attended_to_can_be_dropped(model: Model) -> None:
    _, cache = model.encode([*ids(A), *ids(B)])
    logits, tail = model.encode(ids(C), cache, unseen=B)
    fresh, states = model.encode([*ids(A), *ids(C)])
    np.testing.assert_allclose(logits, fresh[len(A) :], atol=1e-9)
    np.testing.assert_allclose(tail.keys, states.between(len(A), None).keys, atol=1e-9)


@pytest.mark.parametrize("by", [1, 13, 200])
def test_a9_a_key_that_is_rotated_back_is_that_of_the_earlier_position(by: int) -> None:
    keys = np.random.default_rng(by).normal(size=(6, WIDTH))
    at = np.arange(6.0) + 300
    np.testing.assert_allclose(rotated(rotated(keys, at), np.full(6, -float(by))), rotated(keys, at - by), atol=1e-9)


def test_a9_a_tail_that_did_attend_to_it_is_not_mended_by_a_rotation(model: Model) -> None:
    _, cache = model.encode([*ids(A), *ids(B), *ids(C)])
    _, states = model.encode([*ids(A), *ids(C)])
    tail = cache.between(len(A) + len(B), None)
    moved = np.stack([rotated(keys, np.full(len(C), -float(len(B)))) for keys in tail.keys])
    # The first layer knows no context, so its keys are right; the others carry traces of what was cut.
    np.testing.assert_allclose(moved[0], states.between(len(A), None).keys[0], atol=1e-9)
    assert np.abs(moved[1:] - states.between(len(A), None).keys[1:]).max() > 0.01
