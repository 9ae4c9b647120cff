"""What a helper's text says of its function; the file that reads it stands alone."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.arc_memo.helpers import READER
from agents.arc_memo.signature import MAX_DOC, signature


def test_name_parameters_result_and_first_sentence_are_told() -> None:
    doc = '"""Cells and\n    around.\n\n    More.\n    """'
    source = f"def grow(cells: list, by: int = 1, *, wrap=False) -> list:\n    {doc}"
    assert signature(source) == {
        "name": "grow",
        "signature": "grow(cells: list, by: int=1, *, wrap=False) -> list",
        "doc": "Cells and around.",
    }
    assert signature("def grow(): return 1")["doc"] == ""


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def f(x)\n  return", "it is not Python"),
        ("def f(x): ...\ndef g(x): ...", "expected one function"),
        ("import os", "expected one function"),
        ("", "expected one function"),
        ("async def f(x): ...", "expected one function"),
        ("f = lambda x: x", "expected one function"),
        ("@cache\ndef f(x): ...", "expected a function without decorators"),
        ("def len(x): ...", "'len' has a meaning"),
        ("def match(x): ...", "'match' has a meaning"),
        ("def f(x=" + "(" * 500 + "): ...", "it is not Python"),
    ],
)
def test_what_is_not_one_plain_function_is_no_helper(source: str, why: str) -> None:
    assert signature(source)["why"].startswith(why)


@given(st.text(max_size=60))
def test_every_text_is_answered(text: str) -> None:
    found = signature(text)
    assert found.keys() in ({"why"}, {"name", "signature", "doc"})
    assert all(len(said) <= MAX_DOC for said in found.values())


def test_the_reader_imports_only_what_the_sandbox_has() -> None:
    imports = [node for node in ast.walk(ast.parse(READER)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports]
    assert names == ["__future__", "ast", "builtins", "keyword"]
