"""Codecs by name: `f32`, `f16`, `bf16`, `f8_e4m3`, `f8_e5m2`, `int8`, `int8_range`, `binary`, and `pcaNN_` before any.

`pca50_f8` keeps half of the dimensions as float8. Source: design storage §2; ours.
"""

from __future__ import annotations

import re

import numpy as np

from memory.codecs import pca
from memory.codecs.base import Codec, Vectors
from memory.codecs.floats import FORMATS, Floats
from memory.codecs.integers import Binary, Int8, Int8Range
from runtime.errors import UnknownName

NAME = re.compile(r"(?:pca(?P<keep>[1-9]\d?)_)?(?P<format>\w+)")
SHORT = {"f8": "f8_e4m3"}
FORMAT_NAMES = (*FORMATS, "int8", "int8_range", "binary")


def needs_sample(name: str) -> bool:
    """True when the codec has to see vectors of the corpus first. Raises `UnknownName`."""
    keep, kind = _parsed(name)
    return keep is not None or kind == "int8_range"


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
    """The codec that gave these `params()`. Raises `UnknownName`, `StorageError` for damaged ones."""
    keep, kind = _parsed(name)
    if keep is None:
        return Int8Range.restore(params) if kind == "int8_range" else _format(kind, dim, np.empty((0, dim), np.float32))
    basis, inner = pca.restore_basis(params)
    return pca.Reduced(name, basis, restore(kind, len(basis.components), inner))


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
