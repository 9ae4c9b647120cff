from __future__ import annotations

import numpy as np
import pytest

from memory.codecs.base import Vectors, unit
from memory.codecs.floats import Floats
from memory.codecs.pca import Basis, Reduced
from memory.codecs.registry import FORMAT_NAMES, make, needs_sample, restore, sample_size
from runtime.errors import InvalidInput, StorageError, UnknownName

BYTES_AT_768 = {
    "f32": 3072,
    "f16": 1536,
    "bf16": 1536,
    "f8_e4m3": 768,
    "f8_e5m2": 768,
    "int8": 768,
    "binary": 96,
}


def sample(dim: int, count: int) -> Vectors:
    return unit(np.random.default_rng(3).normal(size=(count, dim)).astype(np.float32))


@pytest.mark.parametrize(("name", "length"), BYTES_AT_768.items())
def test_bytes_for_each_vector_of_768_numbers(name: str, length: int) -> None:
    codec = make(name, 768)
    assert codec.bytes_per_vector == length
    assert codec.encode(sample(768, 2)).shape == (2, length)


def test_half_the_numbers_as_float8_is_384_bytes() -> None:
    basis = Basis(np.zeros(768, np.float32), np.eye(384, 768, dtype=np.float32), np.full(384, 1 / 768, np.float32))
    codec = Reduced("pca50_f8", basis, Floats("f8_e4m3", 384))
    assert codec.bytes_per_vector == 384
    assert codec.encode(sample(768, 2)).nbytes == 768


@pytest.mark.parametrize("name", ["", "int4", "f8_e3m4", "pca_int8", "pca0_int8", "pca100_int8", "pca50_", "float4"])
def test_a_name_that_is_not_known_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(UnknownName, match="expected one of f32"):
        make(name, 8)


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_format_can_be_made_and_restored(name: str) -> None:
    vectors = sample(32, 200)
    codec = make(name, 32, vectors)
    assert codec.name == name
    assert bool(codec.params()) == needs_sample(name)
    assert np.array_equal(restore(name, 32, codec.params()).encode(vectors), codec.encode(vectors))


@pytest.mark.parametrize("name", ["pca50_f8", "int8_range", "pca25_int8_range"])
def test_a_codec_that_is_fitted_says_how_many_vectors_it_needs(name: str) -> None:
    needed = sample_size(name, 64)
    make(name, 64, sample(64, needed))
    with pytest.raises(InvalidInput, match="too few"):
        make(name, 64, sample(64, needed - 1))
    with pytest.raises(InvalidInput, match="too few"):
        make(name, 64)


def test_a_codec_that_is_not_fitted_needs_no_vector() -> None:
    assert not needs_sample("int8")
    assert sample_size("int8", 384) == 0


def test_parameters_of_another_codec_are_refused() -> None:
    params = {name: make(name, 64, sample(64, 700)).params() for name in ("pca50_f8", "pca25_f8", "int8_range", "int8")}
    for name, dim, given in (
        ("pca50_f8", 64, "pca25_f8"),
        ("pca50_f8", 32, "pca50_f8"),
        ("pca50_f8", 64, "int8_range"),
        ("pca50_f8", 64, "int8"),
        ("int8_range", 64, "pca50_f8"),
        ("int8_range", 32, "int8_range"),
        ("pca50_int8_range", 64, "pca50_f8"),
        ("int8", 64, "pca50_f8"),
    ):
        with pytest.raises(StorageError, match="codec"):
            restore(name, dim, params[given])


def test_damaged_parameters_are_refused_wherever_the_damage_is() -> None:
    params = make("pca50_int8_range", 16, sample(16, 200)).params()
    for place in [*range(0, 200), *range(200, len(params), 37), len(params) - 1]:
        damaged = bytearray(params)
        damaged[place] ^= 1
        with pytest.raises(StorageError, match="checksum"):
            restore("pca50_int8_range", 16, bytes(damaged))
    with pytest.raises(StorageError, match="checksum"):
        restore("pca50_int8_range", 16, params[:-4])
