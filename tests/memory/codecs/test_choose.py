from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from memory.codecs.choose import Option, choose, front

MILLION = 1_000_000
MB = 1_000_000
KEEP = (1.0, 0.9, 0.75, 0.5, 0.25)
BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "e4m3": 8, "e5m2": 8, "int8": 8, "binary": 1}
# nDCG@10 of embedding_storage §6, by share of the dimensions.
BGE = {
    "float32": (0.595, 0.589, 0.583, 0.565, 0.513),
    "float16": (0.595, 0.589, 0.584, 0.565, 0.513),
    "bfloat16": (0.595, 0.589, 0.583, 0.575, 0.513),
    "e4m3": (0.594, 0.589, 0.583, 0.565, 0.512),
    "e5m2": (0.593, 0.589, 0.583, 0.574, 0.512),
    "int8": (0.574, 0.541, 0.540, 0.527, 0.487),
    "binary": (0.526, 0.525, 0.510, 0.484, 0.348),
}
NOMIC = {
    "float32": (0.593, 0.591, 0.591, 0.589, 0.555),
    "float16": (0.594, 0.589, 0.589, 0.589, 0.555),
    "bfloat16": (0.592, 0.589, 0.589, 0.589, 0.555),
    "e4m3": (0.594, 0.589, 0.589, 0.584, 0.555),
    "e5m2": (0.592, 0.589, 0.589, 0.588, 0.554),
    "int8": (0.584, 0.555, 0.554, 0.550, 0.518),
    "binary": (0.549, 0.540, 0.535, 0.527, 0.491),
}


def published(figures: Mapping[str, Sequence[float]], dim: int) -> list[Option]:
    return [
        Option(f"{name} {keep:.0%}", math.ceil(round(keep * dim) * BITS[name] / 8), quality)
        for name, row in figures.items()
        for keep, quality in zip(KEEP, row, strict=True)
    ]


def chosen(options: list[Option], limit_mb: float) -> tuple[str, float] | None:
    found = choose(options, vectors=MILLION, limit_bytes=round(limit_mb * MB)).chosen
    return None if found is None else (found.name, found.quality)


def test_sizes_of_a_million_vectors_of_768_numbers() -> None:
    size = {option.name: option.bytes_per_vector * MILLION for option in published(NOMIC, 768)}
    assert size["float32 100%"] == 3072 * MB
    assert size["e4m3 50%"] == 384 * MB
    assert size["binary 100%"] == 96 * MB


def test_what_is_chosen_under_each_limit_from_the_published_figures() -> None:
    options = published(NOMIC, 768)
    assert chosen(options, 800) == ("e4m3 100%", 0.594)
    assert chosen(options, 400) == ("e5m2 50%", 0.588)
    assert chosen(options, 300) == ("e4m3 25%", 0.555)
    assert chosen(options, 100) == ("binary 100%", 0.549)
    assert chosen(options, 50) == ("binary 50%", 0.527)
    assert chosen(options, 20) is None


def test_a_quarter_of_the_dimensions_is_never_chosen_where_one_bit_is_better() -> None:
    options = published(BGE, 384)
    assert not [option.name for option in front(options) if option.name.endswith("25%") and "binary" not in option.name]
    for limit_mb in range(13, 1600):
        found = chosen(options, limit_mb)
        assert found is not None
        assert not found[0].endswith("25%") or found[0].startswith("binary")


def test_nothing_fits_and_the_front_is_still_shown() -> None:
    options = published(NOMIC, 768)
    found = choose(options, vectors=MILLION, limit_bytes=10 * MB)
    assert found.chosen is None
    assert found.front == front(options)


def test_a_quality_that_none_reaches_within_the_limit_chooses_none() -> None:
    options = published(NOMIC, 768)
    assert choose(options, vectors=MILLION, limit_bytes=400 * MB, least_quality=0.59).chosen is None
    assert choose(options, vectors=MILLION, limit_bytes=800 * MB, least_quality=0.59).chosen is not None


OPTIONS = st.lists(
    st.builds(Option, st.text("abc", min_size=1, max_size=2), st.integers(1, 9), st.integers(0, 5).map(float)),
    max_size=12,
)


@given(OPTIONS, st.integers(0, 100), st.integers(1, 10))
def test_the_choice_is_the_best_that_fits_and_of_equals_the_smallest(
    options: list[Option], limit: int, vectors: int
) -> None:
    found = choose(options, vectors=vectors, limit_bytes=limit).chosen
    fitting = [option for option in options if option.bytes_per_vector * vectors <= limit]
    if found is None:
        assert not fitting
        return
    assert found in fitting
    for option in fitting:
        assert (found.quality, -found.bytes_per_vector) >= (option.quality, -option.bytes_per_vector)


@given(OPTIONS)
def test_the_front_is_what_no_other_beats(options: list[Option]) -> None:
    kept = front(options)
    assert [o.bytes_per_vector for o in kept] == sorted({o.bytes_per_vector for o in kept})
    for option in options:
        better = [k for k in kept if k.bytes_per_vector <= option.bytes_per_vector and k.quality >= option.quality]
        assert better
    for one in kept:
        assert not [o for o in options if o.bytes_per_vector <= one.bytes_per_vector and o.quality > one.quality]
