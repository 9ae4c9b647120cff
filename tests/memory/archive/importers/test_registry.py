"""Formats are told apart by what is in the file."""

from __future__ import annotations

import json

import pytest

from memory.archive.importers import registry
from memory.archive.importers.registry import BUILTIN, builtin, format_named, format_of, read
from memory.types import Draft
from runtime.errors import InvalidInput, UnknownName


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (b"PK\x03\x04rest", "archive"),
        (b'[{"id": "1", "memory": "x"}]', "mem0"),
        (b'{"results": []}', "mem0"),
        (json.dumps({"relations": [], "results": [{"memory": "x"}]}, indent=2).encode(), "mem0"),
        (b'{"type":"entity","name":"a","entityType":"b","observations":[]}\n', "mcp"),
        (b'\xef\xbb\xbf{"type":"relation","from":"a","to":"b","relationType":"c"}', "mcp"),
        (b'{"entities": [{"name": "a", "memory": "x"}]}', "mcp"),
        (b"# Title\n\nText", "text"),
        (b"[link](there) and so on", "text"),
        (b"", "text"),
    ],
)
def test_the_content_tells_the_format(data: bytes, format_: str) -> None:
    assert format_of(data) == format_


def test_json_of_nobody_is_not_taken_for_text() -> None:
    with pytest.raises(InvalidInput, match="of no program that is known"):
        format_of(b'{"a": 1}')


def test_a_format_is_named_from_a_list() -> None:
    assert format_named("mcp") == "mcp"
    with pytest.raises(InvalidInput, match="expected one of archive, mem0, mcp, text"):
        format_named("builtin")


def test_an_error_names_the_file() -> None:
    with pytest.raises(InvalidInput, match=r"old\.json: line 1: .*; nothing was imported"):
        read("mem0", b"{", "old.json")


def test_a_collection_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILTIN, "few", lambda: [Draft("one of few")])
    assert [draft.content for draft in builtin("builtin:few")] == ["one of few"]
    with pytest.raises(UnknownName, match="'builtin:many': not found; there is arc-concepts, few"):
        builtin("builtin:many")
    with pytest.raises(InvalidInput, match="expected builtin:NAME"):
        builtin("few")
    assert registry.PREFIX == "builtin:"
