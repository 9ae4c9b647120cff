"""What counts as the same text, and how far two texts are apart."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from memory.text import content_hash, distance, normalise, simhash, triples, words

TEXTS = st.text(max_size=80)
WORDS = (
    "river",
    "stone",
    "lamp",
    "paper",
    "cloud",
    "train",
    "garden",
    "copper",
    "violin",
    "winter",
    "harbour",
    "ladder",
)


@how(max_examples=60, deadline=None)
@given(TEXTS)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@how(max_examples=60, deadline=None)
@given(st.lists(st.text("aBcÄßé", min_size=1), min_size=1), st.sampled_from([" ", "  ", "\n", "\t ", "\u3000"]))
def test_case_and_spaces_make_no_other_text(parts: list[str], space: str) -> None:
    text, other = " ".join(parts), space.join(parts)
    assert content_hash(text) == content_hash(f" {other.swapcase()}{space}")
    assert simhash(text) == simhash(other.swapcase())


@pytest.mark.parametrize(("a", "b"), [("ﬁne", "fine"), ("Ａｎａ", "ana"), ("x²", "x2"), ("STRASSE", "straße")])
def test_compatibility_forms_are_the_same_text(a: str, b: str) -> None:
    assert content_hash(a) == content_hash(b)


@how(max_examples=60, deadline=None)
@given(TEXTS, TEXTS)
def test_other_words_have_another_hash(a: str, b: str) -> None:
    assert (content_hash(a) == content_hash(b)) == (normalise(a) == normalise(b))


def test_the_kind_keeps_equal_words_apart() -> None:
    assert content_hash("river", "fact") != content_hash("river", "concept") != content_hash("river")


def test_half_a_surrogate_pair_has_a_hash_and_a_fingerprint() -> None:
    assert len(content_hash("\ud800")) == 64
    assert -(2**63) <= simhash("\ud800") < 2**63


@how(max_examples=60, deadline=None)
@given(TEXTS)
def test_a_fingerprint_is_a_signed_number_of_64_bits(text: str) -> None:
    assert -(2**63) <= simhash(text) < 2**63
    assert distance(simhash(text), simhash(text)) == 0


@how(max_examples=60, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_the_distance_is_one(a: int, b: int, c: int) -> None:
    assert 0 <= distance(a, b) == distance(b, a) <= 64
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c)


def test_punctuation_does_not_move_a_fingerprint() -> None:
    assert simhash("Ana lives, as we know, in Porto.") == simhash("ana lives as we know in porto")


def test_near_texts_have_near_fingerprints_and_far_ones_have_not() -> None:
    rng = random.Random(1)
    text = [rng.choice(WORDS) + str(rng.randrange(50)) for _ in range(200)]
    near, far = [*text[:100], "else", *text[101:]], [rng.choice(WORDS) + str(rng.randrange(50)) for _ in range(200)]
    a, b, c = (simhash(" ".join(parts)) for parts in (text, near, far))
    assert distance(a, b) <= 8 < 16 < distance(a, c)


def test_words_are_those_of_the_normalised_text() -> None:
    assert words("Don't stop, Ana’s x_1 CAT!") == ["don't", "stop", "ana’s", "x_1", "cat"]


def test_each_sign_of_a_script_without_spaces_is_a_word() -> None:
    assert words("安娜住在Porto。はい") == ["安", "娜", "住", "在", "porto", "は", "い"]
    assert words("한국어 좋아요") == ["한국어", "좋아요"]


def test_short_texts_are_one_group_of_words() -> None:
    assert triples("") == frozenset()
    assert triples("Ana sings") == {("ana", "sings")}
    assert triples("Ana sings in Porto") == {("ana", "sings", "in"), ("sings", "in", "porto")}
