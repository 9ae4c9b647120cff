"""What mem0 gives becomes facts, and whatever cannot be read names its line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.archive.importers.mem0 import drafts
from memory.types import Source
from runtime.errors import InvalidInput

ITEM = {
    "id": "892db2ae",
    "memory": "Likes to play cricket on weekends",
    "hash": "285d07801ae42054",
    "metadata": {"category": "hobbies"},
    "created_at": "2024-07-26T08:30:36.275141-07:00",
    "updated_at": None,
    "user_id": "alex",
    "run_id": "trip",
    "categories": ["sports", "hobbies"],
}


def read(value: Any, **dump: Any) -> list[tuple[int, Any]]:
    return [(line, draft) for line, draft in drafts(json.dumps(value, **dump).encode(), name="x")]


def test_a_memory_keeps_its_times_names_and_metadata() -> None:
    ((line, draft),) = read([ITEM])
    at = datetime(2024, 7, 26, 15, 30, 36, 275141, UTC)
    assert (line, draft.content, draft.semantic_type, draft.origin) == (1, ITEM["memory"], "fact", "import")
    assert draft.occurred_at == at
    assert draft.tags == ("sports", "hobbies")
    assert draft.session_id == "trip"
    assert draft.data["mem0"]["user_id"] == "alex"
    assert draft.data["mem0"]["metadata"] == {"category": "hobbies"}
    assert draft.sources == (Source("document", uri="mem0:892db2ae", occurred_at=at),)


def test_get_all_with_its_graph_gives_memories_and_relations() -> None:
    graph = [{"source": "alex", "relationship": "plays_with", "target": "sam"}]
    found = read({"results": [ITEM, ITEM | {"id": "2", "memory": "Lives in Porto"}], "relations": graph})
    assert [draft.content for _, draft in found] == [ITEM["memory"], "Lives in Porto", "alex plays with sam"]
    assert found[-1][1].entities == ("alex", "sam")


def test_lines_are_those_of_the_file() -> None:
    told = json.dumps([ITEM, ITEM], indent=1).splitlines()
    begins = [number for number, line in enumerate(told, 1) if line == " {"]
    assert [line for line, _ in read([ITEM, ITEM], indent=1)] == begins


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[\n{"memory": "a b"},\n{"memory": 3}\n]', "line 3: 'memory' is a number; expected text"),
        ('[\n{"memory": "a b"},\n{"id": "3"}\n]', "line 3: has no 'memory'"),
        ('[\n{"memory": "a b"},\n\n{"memory": "c"', "line 4: is not JSON"),
        ('[\n{"memory": "a b"},\n7\n]', "line 3: holds a number; expected an object"),
        ('[{"memory": "a",\n"created_at": "soon"}]', "line 1: 'created_at' is 'soon'; expected a date or time"),
        ('{"results": [],\n"x": nope}', "line 2: is not JSON"),
        ('{"results": []} []', "line 1: has more behind the end"),
        ('[{"memory": "a"}\n{"memory": "b"}]', "line 2: is not JSON: expected ',' or ']'"),
        ('[{"memory": "a", "score": NaN}]', "line 1: is not JSON: NaN"),
        ("", "line 1: expected a JSON list or object"),
    ],
)
def test_what_cannot_be_read_names_its_line(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        list(drafts(text.encode(), name="x"))
    assert message in caught.value.message


def test_bytes_that_are_no_text_name_their_line() -> None:
    with pytest.raises(InvalidInput, match="line 2: byte 0xff is not UTF-8"):
        list(drafts(b'[\n"\xff"]', name="x"))


@given(
    st.lists(st.text(min_size=1).filter(str.strip), max_size=5),
    st.sampled_from([None, 0, 1, 4]),
    st.sampled_from(["list", "results", "memories"]),
)
def test_every_text_comes_back_as_it_was(texts: list[str], indent: int | None, shape: str) -> None:
    items = [{"id": str(n), "memory": text} for n, text in enumerate(texts)]
    value: Any = items if shape == "list" else {"page": 1, shape: items, "next": None}
    found = [draft for _, draft in drafts(json.dumps(value, indent=indent).encode(), name="x")]
    assert [draft.content for draft in found] == texts
