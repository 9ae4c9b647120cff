"""Fewer numbers: vectors projected on the directions in which a sample of the corpus differs most, then any format.

A basis is data. It is kept with the codec, has a digest, and is never fitted again in place: a new fit is a new codec.
Source: embedding_storage §3; Huerga-Pérez et al. 2025.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory.codecs import arrays
from memory.codecs.base import Codec, Codes, Vectors, checked
from runtime.errors import InvalidInput, StorageError

LARGEST_SAMPLE = 250_000
SEED = 42
# Vectors that each direction needs to be told from noise.
PER_DIRECTION = 10
BLOCK = 8192
# Directions are rounded to this grid, coarser than what the order of additions changes and finer than what matters
# (the angle moves by less than 1e-4), so that two machines get the same bytes.
GRID = 2.0**-17


@dataclass(frozen=True, slots=True)
class Axes:
    """Directions of a sample, most important first: mean (d,), components (d, d) in rows, variance along each (d,)."""

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    variance: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Basis:
    """The first directions of a sample: `mean` (d,), `components` (k, d), `explained` (k,) shares of the variance."""

    mean: Vectors
    components: Vectors
    explained: Vectors

    def project(self, vectors: Vectors) -> Vectors:
        """Unit rows, float32 (n, k)."""
        # In float64 the order of additions, which differs between machines, changes nothing that a codec still sees.
        mean, components = self.mean.astype(np.float64), self.components.astype(np.float64)
        out = np.empty((len(vectors), len(components)), np.float32)
        rows = checked(vectors, len(mean))
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            z = (rows[part] - mean) @ components.T
            length = np.sqrt((z * z).sum(axis=1, keepdims=True))
            out[part] = np.divide(z, length, out=np.zeros_like(z), where=length > 0)
        return out


def directions(keep: float, dim: int) -> int:
    """How many of `dim` dimensions the share `keep` is."""
    return round(keep * dim)


def axes_of(sample: NDArray[np.floating]) -> Axes:
    """Principal axes of the rows, each with its largest component positive."""
    x = sample.astype(np.float64)
    mean = x.mean(axis=0)
    total = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK] - mean
        total += part.T @ part
    variance, columns = np.linalg.eigh(total / max(1, len(x) - 1))
    components = columns.T[::-1]
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(len(components)), largest])[:, None]
    return Axes(mean, components, np.clip(variance[::-1], 0, None))


def fit(sample: Vectors, keep: float, *, centred: bool = False, seed: int = SEED) -> Basis:
    """The basis that keeps the share `keep` of the dimensions, from at most 250,000 rows of the sample.

    `centred` takes the mean away before projecting. Off by default: cosines are then those of the vectors themselves.
    Raises `InvalidInput` for fewer rows than ten for each direction, or a number that is not finite.
    """
    dim = sample.shape[1]
    kept = directions(keep, dim)
    checked(sample, dim)
    if not 1 <= kept <= dim:
        raise InvalidInput(f"keep {keep!r}: {kept} of {dim} dimensions; expected a share between 0 and 1", param="keep")
    if len(sample) < PER_DIRECTION * kept:
        raise InvalidInput(
            f"sample of {len(sample)} vectors: too few for {kept} directions; expected at least {PER_DIRECTION * kept}, "
            "or a codec without PCA",
            param="sample",
        )
    if len(sample) > LARGEST_SAMPLE:
        chosen = np.random.default_rng(seed).choice(len(sample), LARGEST_SAMPLE, replace=False)
        sample = sample[np.sort(chosen)]
    axes = axes_of(sample)
    mean = axes.mean if centred else np.zeros(dim)
    return Basis(
        mean=_on_grid(mean),
        components=_on_grid(axes.components[:kept]),
        explained=_on_grid(axes.variance[:kept] / max(axes.variance.sum(), np.finfo(np.float64).tiny)),
    )


class Reduced:
    """A basis and a format of the numbers that are left. See `Codec`."""

    def __init__(self, name: str, basis: Basis, inner: Codec) -> None:
        """`inner` takes vectors of as many numbers as the basis has directions."""
        self.name = name
        self.basis = basis
        self._inner = inner
        self.dim = len(basis.mean)
        self.out_dim = inner.out_dim
        self.bytes_per_vector = inner.bytes_per_vector

    def encode(self, vectors: Vectors) -> Codes:
        """See `Codec`."""
        return self._inner.encode(self.basis.project(vectors))

    def decode(self, codes: Codes) -> Vectors:
        """See `Codec`."""
        return self._inner.decode(codes)

    def project(self, queries: Vectors) -> Vectors:
        """See `Codec`."""
        return self.basis.project(queries)

    def scores(self, query: Vectors, codes: Codes) -> Vectors:
        """See `Codec`."""
        return self._inner.scores(query, codes)

    def params(self) -> bytes:
        """See `Codec`."""
        own = {"mean": self.basis.mean, "components": self.basis.components, "explained": self.basis.explained}
        return arrays.pack(own | {f"inner.{name}": array for name, array in _inner_arrays(self._inner).items()})


def restore_basis(params: bytes) -> tuple[Basis, bytes]:
    """The basis of `Reduced.params()`, and the parameters of the format in it. Raises `StorageError`."""
    kept = arrays.unpack(params)
    mean, components, explained = (arrays.named(kept, name) for name in ("mean", "components", "explained"))
    if components.ndim != 2 or mean.shape != components.shape[1:] or explained.shape != components.shape[:1]:
        raise StorageError("codec parameters: their shapes do not make a basis; they are of another codec")
    inner = {name.removeprefix("inner."): array for name, array in kept.items() if name.startswith("inner.")}
    return Basis(mean, components, explained), arrays.pack(inner) if inner else b""


def _inner_arrays(inner: Codec) -> dict[str, Vectors]:
    params = inner.params()
    return arrays.unpack(params) if params else {}


def _on_grid(values: NDArray[np.float64]) -> Vectors:
    return (np.rint(values / GRID) * GRID).astype(np.float32)
