"""The error tree: drawn as it is, each code of its own, and a boundary that is crossed once."""

from __future__ import annotations

import asyncio

import pytest

from runtime import errors
from runtime.errors import BudgetExhausted, Conflict, MnemeError, ModelOverloaded, StorageError, UnknownName, boundary

CLASSES: list[type[MnemeError]] = [
    c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, MnemeError)
]


def drawn() -> dict[str, str]:
    """Each class of the tree in the docstring, with the one it stands below."""
    assert errors.__doc__ is not None
    above: list[str] = []
    parents = {}
    for line in errors.__doc__.splitlines():
        name = line.replace("│", " ").replace("├──", "   ").replace("└──", "   ")
        depth = (len(name) - len(name.lstrip()) - 4) // 4
        words = name.split()
        if not line.startswith("    ") or not words or not words[0].isidentifier():
            continue
        above[depth:] = [words[0]]
        parents[words[0]] = above[depth - 1] if depth else "Exception"
    return parents


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    assert drawn() == {c.__name__: c.__bases__[0].__name__ for c in CLASSES}


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [c.code for c in CLASSES if c is not errors.ModelError]
    assert len(codes) == len(set(codes))
    assert all(code == code.lower() and code.replace("_", "").isalpha() for code in codes)


def test_errors_carry_what_their_readers_need() -> None:
    assert UnknownName("no such run", param="run_id").param == "run_id"
    assert BudgetExhausted("used up", limit="tokens").limit == "tokens"
    overloaded = ModelOverloaded("429", status=429, retry_after_s=2.0)
    assert (overloaded.status, overloaded.retry_after_s, overloaded.retryable) == (429, 2.0, True)
    assert str(overloaded) == overloaded.message == "429"


def test_a_boundary_names_what_was_done_and_keeps_the_cause() -> None:
    with (
        pytest.raises(StorageError, match="reading the file: ValueError: bad") as caught,
        boundary("reading the file", StorageError),
    ):
        raise ValueError("bad")
    assert isinstance(caught.value.__cause__, ValueError)


def test_our_own_errors_pass_a_boundary_unchanged() -> None:
    own = Conflict("as it was")
    with pytest.raises(Conflict) as caught, boundary("outer"), boundary("inner", StorageError):
        raise own
    assert caught.value is own
    with pytest.raises(MnemeError) as plain, boundary("anything"):
        raise KeyError("x")
    assert plain.value.code == "internal_error"


@pytest.mark.parametrize("leaving", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_cancellation_and_exits_pass_a_boundary(leaving: type[BaseException]) -> None:
    with pytest.raises(leaving), boundary("anything"):
        raise leaving
