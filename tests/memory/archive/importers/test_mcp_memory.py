"""The file of the MCP memory server: observations and relations become facts with their entities."""

from __future__ import annotations

import json

import pytest

from memory.archive.importers.mcp_memory import drafts
from runtime.errors import InvalidInput

ENTITY = {
    "type": "entity",
    "name": "Ana Silva",
    "entityType": "person",
    "observations": ["Speaks fluent Spanish", "ana silva was born in Faro"],
}
OTHER = {"type": "entity", "name": "Acme", "entityType": "company", "observations": []}
RELATION = {"type": "relation", "from": "Ana Silva", "to": "Acme", "relationType": "works_at"}


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_observations_and_relations_become_facts_that_name_what_they_are_about() -> None:
    found = list(drafts(lines(ENTITY, OTHER, RELATION), name="x"))
    assert [(line, draft.content) for line, draft in found] == [
        (1, "Ana Silva: Speaks fluent Spanish"),
        (1, "ana silva was born in Faro"),
        (3, "Ana Silva works at Acme"),
    ]
    assert [draft.entities for _, draft in found] == [("Ana Silva",), ("Ana Silva",), ("Ana Silva", "Acme")]
    assert found[0].draft.tags == ("person",)
    assert {draft.origin for _, draft in found} == {"import"}
    assert all(draft.attribute is None for _, draft in found)


def test_an_entity_of_which_nothing_else_is_known_is_kept() -> None:
    assert [draft.content for _, draft in drafts(lines(OTHER), name="x")] == ["Acme is a company"]


def test_the_graph_as_one_document_gives_the_same() -> None:
    graph = {"entities": [ENTITY, OTHER], "relations": [RELATION]}
    as_lines = [draft for _, draft in drafts(lines(ENTITY, OTHER, RELATION), name="x")]
    assert [draft for _, draft in drafts(json.dumps(graph, indent=2).encode(), name="x")] == as_lines
    assert [draft for _, draft in drafts(json.dumps(graph).encode(), name="x")] == as_lines


def test_empty_lines_and_a_byte_order_mark_are_no_trouble() -> None:
    data = b"\xef\xbb\xbf" + lines(ENTITY) + b"\n\n" + lines(RELATION)
    assert [line for line, _ in drafts(data, name="x")] == [1, 1, 4]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lines(ENTITY) + b'{"type": "entity", "na', "line 2: is not JSON"),
        (lines(ENTITY, {"type": "thing"}), "line 2: 'type' is 'thing'; expected 'entity' or 'relation'"),
        (lines(ENTITY, {"type": "entity"}), "line 2: has no 'name'"),
        (lines(ENTITY | {"observations": "one"}), "line 1: 'observations' is text; expected a list of texts"),
        (lines(RELATION | {"to": ""}), "line 1: has no 'to'"),
        (lines(ENTITY, [1]), "line 2: holds a list; expected an object"),
        (lines(ENTITY) + b'{"type": "entity", "name": "\xff"}', "line 2: is not JSON"),
    ],
)
def test_what_cannot_be_read_names_its_line(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        list(drafts(data, name="x"))
    assert message in caught.value.message
