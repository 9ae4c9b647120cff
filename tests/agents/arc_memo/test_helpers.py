"""Which helpers a program gets, and what solvers are told of them."""

from __future__ import annotations

import pytest

from agents.arc_memo.helpers import Helper, apart, called, listed


def helper(concept: str = "reflect grid", name: str = "flip", **more: str) -> Helper:
    return Helper(
        **{
            "concept": concept,
            "name": name,
            "signature": f"{name}(grid)",
            "doc": "Mirrors.",
            "source": f"def {name}(grid): ...",
            **more,
        }
    )


@pytest.mark.parametrize(
    ("program", "named"),
    [
        ("x = flip(g)", True),
        ("use(flip)", True),
        ("np.flip(g)", False),
        ("flips(g)", False),
        ("_flip(g)", False),
        ("", False),
    ],
)
def test_a_program_gets_the_helpers_that_it_names(program: str, named: bool) -> None:
    found = called({"reflect grid": helper()}, program)
    assert found == ({"reflect grid": "def flip(grid): ..."} if named else {})


def test_of_two_functions_of_one_name_there_is_one() -> None:
    a, b, c = helper("b"), helper("a"), helper("c", "turn")
    assert apart([a, b, c]) == {"a": b, "c": c}


def test_solvers_are_told_signatures_and_what_they_do_in_the_order_of_the_concepts() -> None:
    text = listed({"b": helper("b", doc=""), "a": helper("a", "turn")})
    assert text.endswith("<helpers>\n- turn(grid) (a): Mirrors.\n- flip(grid) (b)\n</helpers>")
    assert listed({}) == ""
