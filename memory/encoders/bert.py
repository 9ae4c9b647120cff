"""The forward pass of a BERT encoder in NumPy: token ids in, one mean-pooled vector per text out.

Texts lie one behind the other without padding: the products with the weights, nine tenths of the work, run over all
tokens at once, and attention runs text by text. Source: Devlin et al. 2019 (the architecture); ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memory.encoders.base import Vectors

HEADS = 12
EPSILON = 1e-12


class _Norm(NamedTuple):
    weight: Vectors
    bias: Vectors


class _Dense(NamedTuple):
    weight: Vectors
    bias: Vectors


class _Layer(NamedTuple):
    query: _Dense
    key: _Dense
    value: _Dense
    attended: _Dense
    attended_norm: _Norm
    inner: _Dense
    outer: _Dense
    outer_norm: _Norm


class Bert:
    """Weights of one model and what is done with them. Stateless: several threads may call it."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._words = tensors["embeddings.word_embeddings.weight"]
        # Every text is one segment, so the type's vector is part of the position's.
        kind = tensors["embeddings.token_type_embeddings.weight"][0]
        self._positions = tensors["embeddings.position_embeddings.weight"] + kind
        self._norm = _norm(tensors, "embeddings")
        count = sum(1 for name in tensors if name.endswith(".intermediate.dense.weight"))
        self._layers = [_layer(tensors, f"encoder.layer.{i}") for i in range(count)]
        self.dim = int(self._words.shape[1])

    def __call__(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """Mean over the tokens of each text, float32 (len(texts), dim), not normalised."""
        lengths = [len(ids) for ids in texts]
        ends = np.cumsum([0, *lengths])
        ids = np.fromiter((i for text in texts for i in text), np.int64, count=int(ends[-1]))
        places = np.concatenate([np.arange(n) for n in lengths])
        x = self._words[ids] + self._positions[places]
        _normalise(x, self._norm)
        spans = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        for layer in self._layers:
            x += _linear(_attend(x, layer, spans), layer.attended)
            _normalise(x, layer.attended_norm)
            x += _linear(_gelu(_linear(x, layer.inner)), layer.outer)
            _normalise(x, layer.outer_norm)
        means: Vectors = np.add.reduceat(x, ends[:-1], axis=0)
        means /= np.asarray(lengths, np.float32)[:, None]
        return means


def _layer(tensors: Mapping[str, NDArray[Any]], name: str) -> _Layer:
    return _Layer(
        query=_dense(tensors, f"{name}.attention.self.query"),
        key=_dense(tensors, f"{name}.attention.self.key"),
        value=_dense(tensors, f"{name}.attention.self.value"),
        attended=_dense(tensors, f"{name}.attention.output.dense"),
        attended_norm=_norm(tensors, f"{name}.attention.output"),
        inner=_dense(tensors, f"{name}.intermediate.dense"),
        outer=_dense(tensors, f"{name}.output.dense"),
        outer_norm=_norm(tensors, f"{name}.output"),
    )


def _dense(tensors: Mapping[str, NDArray[Any]], name: str) -> _Dense:
    return _Dense(tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _norm(tensors: Mapping[str, NDArray[Any]], name: str) -> _Norm:
    return _Norm(tensors[f"{name}.LayerNorm.weight"], tensors[f"{name}.LayerNorm.bias"])


def _linear(x: Vectors, dense: _Dense) -> Vectors:
    out: Vectors = x @ dense.weight.T
    out += dense.bias
    return out


def _normalise(x: Vectors, norm: _Norm) -> None:
    """Layer normalisation in place."""
    x -= x.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", x, x)[:, None] / x.shape[1]
    x /= np.sqrt(variance + EPSILON)
    x *= norm.weight
    x += norm.bias


def _attend(x: Vectors, layer: _Layer, spans: Sequence[slice]) -> Vectors:
    dim = x.shape[1]
    width = dim // HEADS
    query = _linear(x, layer.query)
    query *= width**-0.5
    key = _linear(x, layer.key)
    value = _linear(x, layer.value)
    out = np.empty_like(x)
    for span in spans:
        q, k, v = (part[span].reshape(-1, HEADS, width).transpose(1, 0, 2) for part in (query, key, value))
        scores = q @ k.transpose(0, 2, 1)
        scores -= scores.max(axis=2, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=2, keepdims=True)
        out[span] = (scores @ v).transpose(1, 0, 2).reshape(-1, dim)
    return out


def _gelu(x: Vectors) -> Vectors:
    """x·Φ(x), in place. Φ by Abramowitz and Stegun 7.1.26: its error of 1.5e-7 is one step of a float32."""
    z = np.abs(x)
    z *= np.float32(2**-0.5)
    t = np.float32(0.3275911) * z
    t += np.float32(1.0)
    np.reciprocal(t, out=t)
    tail = np.full_like(t, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail *= t
        tail += np.float32(factor)
    tail *= t
    np.multiply(z, z, out=z)
    np.negative(z, out=z)
    tail *= np.exp(z, out=z)
    # `tail` is 1 − erf(|x|/√2): the part of the bell beyond |x|, on both sides.
    tail *= np.float32(0.5)
    np.subtract(np.float32(1.0), tail, out=tail, where=x > 0)
    x *= tail
    return x
