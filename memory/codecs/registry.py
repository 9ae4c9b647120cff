"""Codecs by name: `f32`, `f16`, `bf16`, `f8_e4m3`, `f8_e5m2`, `int8`, `int8_range`, `binary`, and `pcaNN_` before any.

`pca50_f8` keeps half of the dimensions as float8. Source: design storage §2; ours.
"""

from __future__ import annotations

import re

import numpy as np

from memory.codecs import pca
from memory.codecs.base import Codec, Vectors
from memory.codecs.floats import FORMATS, Floats
from memory.codecs.integers import SMALLEST_SAMPLE, Binary, Int8, Int8Range
from runtime.errors import StorageError, UnknownName

NAME = re.compile(r"(?:pca(?P<keep>[1-9]\d?)_)?(?P<format>\w+)")
SHORT = {"f8": "f8_e4m3"}
FORMAT_NAMES = (*FORMATS, "int8", "int8_range", "binary")


def needs_sample(name: str) -> bool:
    """True when the codec has to see vectors of the corpus first. Raises `UnknownName`."""
    keep, kind = _parsed(name)
    return keep is not None or kind == "int8_range"


def sample_size(name: str, dim: int) -> int:
    """How many vectors `make` needs at least. Raises `UnknownName`."""
    keep, kind = _parsed(name)
    directions = 0 if keep is None else pca.PER_DIRECTION * pca.directions(keep, dim)
    return max(directions, SMALLEST_SAMPLE if kind == "int8_range" else 0)


def make(name: str, dim: int, sample: Vectors | None = None) -> Codec:
    """The codec of that name for vectors of `dim` numbers, fitted on `sample` (unit rows of the corpus) if it has to be.

    Raises `UnknownName`, and `InvalidInput` when the sample is missing, too small, or not finite.
    """
    keep, kind = _parsed(name)
    given = sample if sample is not None else np.empty((0, dim), np.float32)
    if keep is None:
        return _format(kind, dim, given)
    basis = pca.fit(given, keep)
    return pca.Reduced(name, basis, _format(kind, len(basis.components), basis.project(given)))


def restore(name: str, dim: int, params: bytes) -> Codec:
    """The codec that gave these `params()`. Raises `UnknownName`, and `StorageError` for parameters that are damaged or
    of another codec: rows must never be decoded with the wrong ones."""
    keep, kind = _parsed(name)
    if keep is None:
        return _restored_format(kind, dim, params)
    basis, inner = pca.restore_basis(params)
    if basis.components.shape != (pca.directions(keep, dim), dim):
        raise StorageError(
            f"codec {name!r}: its parameters keep {len(basis.components)} of {basis.components.shape[1]} dimensions, "
            f"expected {pca.directions(keep, dim)} of {dim}; they are of another codec"
        )
    return pca.Reduced(name, basis, _restored_format(kind, len(basis.components), inner))


def _restored_format(kind: str, dim: int, params: bytes) -> Codec:
    if kind == "int8_range":
        return Int8Range.restore(params, dim)
    if params:
        raise StorageError(
            f"codec {kind!r}: has no parameters, but {len(params)} bytes are kept; they are of another codec"
        )
    return _format(kind, dim, np.empty((0, dim), np.float32))


def _format(kind: str, dim: int, sample: Vectors) -> Codec:
    if kind in FORMATS:
        return Floats(kind, dim)
    if kind == "int8_range":
        return Int8Range.fit(sample)
    return Int8(dim) if kind == "int8" else Binary(dim)


def _parsed(name: str) -> tuple[float | None, str]:
    found = NAME.fullmatch(name)
    kind = SHORT.get(found["format"], found["format"]) if found else ""
    if found is None or kind not in FORMAT_NAMES:
        raise UnknownName(
            f"codec {name!r}: not known; expected one of {', '.join(FORMAT_NAMES)}, or one with pca50_ before it",
            param="embed.codec",
        )
    return (int(found["keep"]) / 100 if found["keep"] else None), kind
