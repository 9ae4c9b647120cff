"""Typed trees: what is refused, and what may follow."""

from __future__ import annotations

from typing import Any

import pytest

from agents.tim.typed import TypedTree, embedded
from runtime.errors import InvalidInput
from runtime.types import JsonObject

NUMBER: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TREE: JsonObject = {
    "root": {"tuple": ["search", "report"]},
    "kinds": {
        "search": {"tools": ["web"], "hint": "Which sources are needed?", "subtasks": {"list": "read"}},
        "read": {"conclusion": NUMBER, "subtasks": None},
        "report": {"subtasks": {"union": ["read", "check"]}},
        "check": {"tools": ["add"]},
    },
}
CYCLE: JsonObject = {
    "root": {"list": "split"},
    "kinds": {"split": {"subtasks": {"union": ["split", "work"]}}, "work": {}},
    "max_depth": 3,
}


def changed(data: JsonObject, path: str, value: Any) -> JsonObject:
    """`data` with one key set, by its dotted path."""
    key, _, rest = path.partition(".")
    inner = data.get(key, {})
    return {**data, key: changed(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


def test_a_typed_tree_says_what_may_come_next() -> None:
    tree = TypedTree.parse(TREE)
    assert [tree.next_kinds(None, at) for at in range(3)] == [("search",), ("report",), ()]
    assert [tree.must_close(None, count) for count in range(3)] == [False, False, True]
    assert [tree.may_close(None, count) for count in range(3)] == [False, False, True]
    assert [tree.next_kinds("search", at) for at in (0, 7)] == [("read",), ("read",)]
    assert [tree.may_close("search", count) for count in range(2)] == [False, True]
    assert tree.next_kinds("report", 3) == ("read", "check")
    assert not tree.must_close("report", 3)
    assert tree.next_kinds("read", 0) == ()
    assert tree.must_close("read", 0)
    assert [tree.descends(kind) for kind in tree.kinds] == [True, False, True, False]
    assert (tree.tools_of("search"), tree.tools_of("read")) == (("web",), ())
    assert (tree.hint_of("search"), tree.hint_of("read")) == ("Which sources are needed?", "")
    assert (tree.conclusion_schema("read"), tree.conclusion_schema("check")) == (NUMBER, None)
    with pytest.raises(InvalidInput, match="no kind 'nobody'; known: search, read"):
        tree.tools_of("nobody")


@pytest.mark.parametrize(
    ("path", "value", "param", "says"),
    [
        ("root", {"list": "nobody"}, "tree", "root names the kind 'nobody'.*known: search, read"),
        ("kinds.check.subtasks", {"list": "nobody"}, "tree", "kinds.check.subtasks names the kind 'nobody'"),
        ("kinds.alone", {}, "tree", r"\['alone'\] can never come up"),
        ("kinds.check.subtasks", {"list": "report"}, "tree", r"\['report', 'check'\].*set 'max_depth'"),
        ("kinds.check.subtasks", {"list": "read", "union": ["read"]}, "tree.kinds.check.subtasks", "exactly one"),
        ("kinds.check.subtasks", {}, "tree.kinds.check.subtasks", "exactly one"),
        ("root", {"tuple": []}, "tree.root.tuple", "at least 1"),
        ("root", None, "tree.root", "Shape"),
        ("kinds.check.tool", "web", "tree.kinds.check.tool", "not permitted"),
        ("kinds.read.conclusion", "text", "tree.kinds.read.conclusion", "dictionary"),
        ("max_depth", 0, "tree.max_depth", "greater than or equal to 1"),
        ("depth", 3, "tree.depth", "not permitted"),
    ],
)
def test_a_wrong_typed_tree_is_refused_by_the_key_at_fault(path: str, value: Any, param: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as error:
        TypedTree.parse(changed(TREE, path, value))
    assert error.value.param == param


def test_a_kind_within_itself_needs_a_depth() -> None:
    assert TypedTree.parse(CYCLE).levels(5) == [("split",), ("split", "work"), ("split", "work")]
    with pytest.raises(InvalidInput, match=r"\['split'\] can come up within themselves"):
        TypedTree.parse({key: value for key, value in CYCLE.items() if key != "max_depth"})


def test_a_schema_moves_with_its_definitions_and_may_not_point_elsewhere() -> None:
    defs: JsonObject = {}
    own: JsonObject = {
        "$schema": "x",
        "$ref": "#/definitions/A",
        "definitions": {"A": {"items": {"$ref": "#/definitions/A"}}},
    }
    assert embedded(own, "p", defs) == {"$ref": "#/$defs/p.A"}
    assert defs == {"p.A": {"items": {"$ref": "#/$defs/p.A"}}}
    for to in ("#", "#/properties/a", "#/$defs/B", "https://example.org/A"):
        with pytest.raises(InvalidInput, match="refers to"):
            embedded({"properties": {"a": {"$ref": to}}, "$defs": {"A": {}}}, "p", {})


@pytest.mark.parametrize("wrong", [{"type": "thing"}, {"$ref": "https://example.org/x"}, {"$ref": "#/$defs/gone"}])
def test_a_conclusion_that_no_schema_describes_is_refused(wrong: JsonObject) -> None:
    with pytest.raises(InvalidInput, match=r"kinds\.read\.conclusion"):
        TypedTree.parse(changed(TREE, "kinds.read.conclusion", wrong))
