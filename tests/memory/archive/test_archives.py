"""An archive says what it is, and one that is not as it was written is refused with the file and the line."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from memory import rows
from memory.archive import archive_lines, archive_records, archives
from memory.archive.archive_lines import Header, Manifest, ProfileEntry, VaultEntry
from memory.archive.archive_writer import Writer, pack
from memory.archive.archives import Unpacked, unpack
from memory.archive.seals import Seal
from runtime.errors import InvalidInput, StorageError

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
VAULT = VaultEntry(id="vlt_1", name="default", kind="private", default_ttl_s=None, default_sensitivity=[])
PROFILE = ProfileEntry(slug="hashing-4", model="hashing", revision="1", dim=4)
COUNT = 250


def header(**fields: Any) -> dict[str, Any]:
    texts = dict.fromkeys(("subject", "attribute", "title", "speaker", "watermark", "session_id", "position"))
    times = dict.fromkeys(rows.TIMES)
    told: dict[str, Any] = {
        "state": "activated",
        "semantic_type": "fact",
        "kind": "plaintext",
        "origin": "user_input",
        "data": {},
    }
    told |= {"entities": [], "tags": [], "sensitivity": [], "confidence": 1.0, "priority": 0, "pinned": False}
    return {**told, **texts, **times, **fields}


def memory(number: int, **fields: Any) -> dict[str, Any]:
    told = {
        "id": f"mem_{number:032x}",
        "version": 2,
        "content": f"memory {number}",
        "header": header(),
        "placed": False,
    }
    return {**told, "created_by": "usr_ann", "uses": 0, "last_used_at": None, **fields}


def version(number: int, place: int, **fields: Any) -> dict[str, Any]:
    times = [f"2029-01-0{day}T00:00:00+00:00" for day in (1, 2)]
    past = place == 1
    told = {
        "memory": f"mem_{number:032x}",
        "version": place,
        "change": "create" if past else "edit",
        "actor": "usr_ann",
    }
    told |= {"content": f"before {number}" if past else None, "header": header() if past else None, "reason": ""}
    told |= {"sys_from": times[place - 1], "sys_to": times[1] if past else None, "hash": "0" * 64, "redacted": False}
    return {**told, **fields}


def source(number: int, **fields: Any) -> dict[str, Any]:
    told = dict.fromkeys(("uri", "message_id", "role", "span_start", "span_end", "quote", "occurred_at", "model"))
    return {"memory": f"mem_{number:032x}", "version": 1, "kind": "document", **told, **fields}


def edge(src: int, dst: int, **fields: Any) -> dict[str, Any]:
    told = {"type": "RELATES", "weight": 1.0, "at": "2029-01-01T00:00:00+00:00"}
    return {"src": f"mem_{src:032x}", "dst": f"mem_{dst:032x}", **told, **fields}


def write(folder: Path, count: int = COUNT, change: Callable[[Writer], None] | None = None) -> Manifest:
    """An archive of `count` memories, every second one with a vector; `change` writes what should not be in it."""
    folder.mkdir()
    with Writer(folder) as writer:
        for number in range(count):
            writer.write(archive_lines.MEMORIES, memory(number))
            for place in (1, 2):
                writer.write(archive_lines.VERSIONS, version(number, place))
            writer.write(archive_lines.SOURCES, source(number))
            if number % 2 == 0:
                writer.vector(np.eye(4, dtype="<f2")[number % 4].tobytes())
        if count > 1:
            writer.write(archive_lines.EDGES, edge(0, 1))
        if change is not None:
            change(writer)
        return writer.close(vault=VAULT, profile=PROFILE, made_at=NOW, sign=lambda digest: "1" * 64)


def read(path: Path, into: Path) -> Unpacked:
    """Verify everything of it, as an import does."""
    into.mkdir()
    unpacked = unpack(path, into)
    archive_records.check_links(unpacked, {stored.memory.id for stored in archive_records.stored(unpacked)})
    return unpacked


@pytest.fixture(params=["folder", "zip"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write(tmp_path / "archive")
    if request.param == "folder":
        return tmp_path / "archive"
    pack(tmp_path / "archive", tmp_path / "archive.zip")
    return tmp_path / "archive.zip"


def refused(path: Path, into: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(path, into)
    return caught.value.message


def test_what_was_written_is_read_again(path: Path, tmp_path: Path) -> None:
    unpacked = read(path, tmp_path / "in")
    found = list(archive_records.stored(unpacked))
    assert [stored.memory.content for stored in found] == [f"memory {n}" for n in range(COUNT)]
    assert [v.content for v in found[7].versions] == ["before 7", "memory 7"]
    assert [v.header for v in found[7].versions] == [header(), header()]
    assert found[7].vector is None
    vector = found[6].vector
    assert vector is not None
    assert vector.tolist() == [0, 0, 1, 0]
    assert [(e.src, e.dst) for e in archive_records.edges(unpacked)] == [(f"mem_{0:032x}", f"mem_{1:032x}")]
    counts = {"memories": 250, "versions": 500, "sources": 250, "edges": 1, "grants": 0, "artifacts": 0, "vectors": 125}
    assert unpacked.manifest.counts == counts


def test_the_vectors_are_a_safetensors_file(tmp_path: Path) -> None:
    write(tmp_path / "archive")
    arrays = load_file(tmp_path / "archive" / archive_lines.VECTORS)
    assert arrays["vectors"].dtype == np.float16
    assert arrays["vectors"].shape == (125, 4)
    assert arrays["lines"].tolist() == list(range(0, COUNT, 2))


def test_equal_facts_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name)
        pack(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_header_of_a_line_is_that_of_a_version_row() -> None:
    assert tuple(Header.model_fields) == rows.HEADER


def test_a_flipped_byte_names_the_file_and_the_lines(tmp_path: Path) -> None:
    write(tmp_path / "archive")
    file = tmp_path / "archive" / archive_lines.MEMORIES
    data = bytearray(file.read_bytes())
    at = data.index(b"memory 123")
    data[at] ^= 1
    file.write_bytes(data)
    message = refused(tmp_path / "archive", tmp_path / "in")
    assert message.startswith("archive: memories.jsonl: lines 101 to 200 were changed, its digest is another")
    assert message.endswith("nothing was imported")


def test_a_truncated_line_is_named(tmp_path: Path) -> None:
    write(tmp_path / "archive")
    file = tmp_path / "archive" / archive_lines.VERSIONS
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:42])[:-20])
    assert "versions.jsonl: line 42 is broken, has fewer bytes" in refused(tmp_path / "archive", tmp_path / "in")
    file.write_bytes(b"".join(lines[:42]))
    assert "versions.jsonl: line 43 is missing, has fewer bytes" in refused(tmp_path / "archive", tmp_path / "in2")


def test_a_line_too_many_and_a_missing_or_strange_file_are_named(tmp_path: Path) -> None:
    write(tmp_path / "archive")
    file = tmp_path / "archive" / archive_lines.GRANTS
    file.write_bytes(b"{}\n")
    assert "grants.jsonl: has more bytes" in refused(tmp_path / "archive", tmp_path / "in")
    file.unlink()
    assert "grants.jsonl: the file is missing" in refused(tmp_path / "archive", tmp_path / "in2")
    file.write_bytes(b"")
    (tmp_path / "archive" / "extra.pkl").write_bytes(b"x")
    assert "'extra.pkl' is no file of an archive" in refused(tmp_path / "archive", tmp_path / "in3")


def with_vector(writer: Writer) -> None:
    writer.write(archive_lines.MEMORIES, memory(9))
    writer.vector(bytes(8))


BAD: list[tuple[str, Callable[[Writer], None]]] = [
    ("memories.jsonl: line 4: version: Input should", lambda w: w.write("memories.jsonl", memory(9, version="2"))),
    (
        "memories.jsonl: line 4: header.state",
        lambda w: w.write("memories.jsonl", memory(9, header=header(state="lost"))),
    ),
    (
        "memories.jsonl: line 4: header.valid_to",
        lambda w: w.write("memories.jsonl", memory(9, header=header(valid_to=1))),
    ),
    (
        "line 4: header.expires_at",
        lambda w: w.write("memories.jsonl", memory(9, header=header(expires_at="2030-01-01"))),
    ),
    (
        "memories.jsonl: line 4: a deleted memory",
        lambda w: w.write("memories.jsonl", memory(9, header=header(state="deleted"))),
    ),
    ("memories.jsonl: line 4: extra: Extra", lambda w: w.write("memories.jsonl", memory(9, extra=1))),
    ("memories.jsonl: line 4 holds a NUL", lambda w: w.write("memories.jsonl", memory(9, content="a\0b"))),
    (f"line 4: 'mem_{1:032x}' is there twice", lambda w: w.write("memories.jsonl", memory(1))),
    ("versions.jsonl: 'mem_", lambda w: w.write("memories.jsonl", memory(9))),
    ("versions.jsonl: line 7: 'mem_", lambda w: w.write("versions.jsonl", version(9, 1))),
    ("sources.jsonl: line 4: 'mem_", lambda w: w.write("sources.jsonl", source(1))),
    ("sources.jsonl: line 4: ", lambda w: w.write("sources.jsonl", source(2, version=3))),
    ("edges.jsonl: line 2: leads from", lambda w: w.write("edges.jsonl", edge(1, 9))),
    ("edges.jsonl: line 2: leads from", lambda w: w.write("edges.jsonl", edge(1, 1))),
    ("edges.jsonl: line 2: type", lambda w: w.write("edges.jsonl", edge(1, 2, type="KNOWS"))),
    ("grants.jsonl: line 1: user", lambda w: w.write("grants.jsonl", {})),
    ("artifacts.jsonl: line 1: id", lambda w: w.write("artifacts.jsonl", {"id": "../x"})),
    ("vectors.safetensors: row 2 is no unit vector", with_vector),
]


@pytest.mark.parametrize(("message", "change"), BAD, ids=[message for message, _ in BAD])
def test_a_bad_line_is_named_although_its_digest_is_right(
    message: str, change: Callable[[Writer], None], tmp_path: Path
) -> None:
    write(tmp_path / "archive", 3, change)
    assert message in refused(tmp_path / "archive", tmp_path / "in")


HISTORIES: list[tuple[str, list[dict[str, Any]]]] = [
    ("line 1: versions of 'mem_", [version(0, 2)]),
    ("line 1: versions of 'mem_", [version(0, 1), version(0, 2), version(0, 2, version=3)]),
    ("line 1: text and header are there", [version(0, 1, content=None), version(0, 2)]),
    ("line 1: text and header are there", [version(0, 1, redacted=True), version(0, 2)]),
    ("line 1: does not end when version 2 begins", [version(0, 1, sys_to=None), version(0, 2)]),
    ("line 2: is the current version", [version(0, 1), version(0, 2, content="other", header=header())]),
    ("line 2: is the current version", [version(0, 1), version(0, 2, redacted=True)]),
]


@pytest.mark.parametrize(("message", "history"), HISTORIES)
def test_a_history_that_does_not_hang_together_is_refused(
    message: str, history: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    with Writer(folder) as writer:
        writer.write(archive_lines.MEMORIES, memory(0))
        for line in history:
            writer.write(archive_lines.VERSIONS, line)
        writer.close(vault=VAULT, profile=None, made_at=NOW, sign=lambda digest: "1" * 64)
    assert f"versions.jsonl: {message}" in refused(folder, tmp_path / "in")


def test_a_redacted_version_is_no_text_and_no_fault(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    with Writer(folder) as writer:
        writer.write(archive_lines.MEMORIES, memory(0))
        writer.write(archive_lines.VERSIONS, version(0, 1, content=None, header=None, redacted=True))
        writer.write(archive_lines.VERSIONS, version(0, 2))
        writer.close(vault=VAULT, profile=None, made_at=NOW, sign=lambda digest: "1" * 64)
    (stored,) = archive_records.stored(read(folder, tmp_path / "in"))
    assert [(v.content, v.header, v.redacted) for v in stored.versions] == [
        ("", {}, True),
        ("memory 0", header(), False),
    ]


def edit_manifest(folder: Path, **fields: Any) -> None:
    file = folder / archive_lines.MANIFEST
    file.write_bytes(orjson.dumps({**json.loads(file.read_bytes()), **fields}))


def test_the_manifest_is_covered_by_its_digest(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"counts": {}}, "manifest.json: its digest is not that of what it says"),
        ({"vault": {"id": "vlt_2"}}, "manifest.json: vault.name: Field required"),
        ({"version": 2}, "manifest.json: format version 2 is newer than this release"),
        ({"format": "zip"}, "manifest.json: format:"),
    ]
    for number, (fields, message) in enumerate(cases):
        folder = tmp_path / f"archive{number}"
        write(folder, 2)
        edit_manifest(folder, **fields)
        assert message in refused(folder, tmp_path / f"in{number}")
    (folder / archive_lines.MANIFEST).write_bytes(b"{\n x")
    assert "manifest.json: line 2 is not JSON" in refused(folder, tmp_path / "last")


def test_the_time_is_the_only_thing_that_may_differ(tmp_path: Path) -> None:
    write(tmp_path / "archive", 2)
    edit_manifest(tmp_path / "archive", made_at="2031-01-01T00:00:00+00:00")
    assert read(tmp_path / "archive", tmp_path / "in").manifest.made_at.year == 2031


def test_a_packed_archive_that_is_no_such_thing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK\x03\x04 and nothing more")
    assert "expected a zip that `mneme memory export` wrote" in refused(path, tmp_path / "in")
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("../../etc/passwd", "x")
    assert "'../../etc/passwd' is no file of an archive" in refused(path, tmp_path / "in2")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(archive_lines.MEMORIES, bytes(archives.SMALL + 1))
    assert "text shrinks less than that" in refused(path, tmp_path / "in3")
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(archive_lines.MEMORIES, "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            packed.writestr(archive_lines.MEMORIES, "2")
    assert "holds a file twice" in refused(path, tmp_path / "in4")
    with pytest.raises(InvalidInput, match=r"'gone\.zip': No such file"):
        unpack(tmp_path / "gone.zip", tmp_path)


@given(place=st.integers(0, 10**9), bit=st.integers(0, 7), cut=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_to_a_packed_archive_goes_unseen(place: int, bit: int, cut: bool, tmp_path: Path) -> None:
    """Whatever bit is flipped or wherever the file ends: it is refused, or gives exactly what was written."""
    original = tmp_path / "archive.zip"
    if not original.exists():
        write(tmp_path / "archive", 5)
        pack(tmp_path / "archive", original)
    data = bytearray(original.read_bytes())
    place %= len(data)
    if cut:
        del data[place:]
    else:
        data[place] ^= 1 << bit
    (tmp_path / "damaged.zip").write_bytes(data)
    into = tmp_path / "in"
    try:
        unpacked = read(tmp_path / "damaged.zip", into)
        for name in unpacked.manifest.files:
            assert (into / name).read_bytes() == (tmp_path / "archive" / name).read_bytes()
    except InvalidInput as error:
        assert error.message  # noqa: PT017 - either outcome is right, silence about damage is not
    finally:
        shutil.rmtree(into, ignore_errors=True)


def test_a_seal_is_known_again_and_not_to_others(tmp_path: Path) -> None:
    seal, again, other = Seal(tmp_path / "a"), Seal(tmp_path / "a"), Seal(tmp_path / "b")
    assert not seal.is_ours("d" * 64, "0" * 64)
    signature = seal.sign("d" * 64)
    assert again.is_ours("d" * 64, signature)
    assert not again.is_ours("e" * 64, signature)
    assert not other.is_ours("d" * 64, signature)
    assert (tmp_path / "a" / "archive.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["archive.key"]
    (tmp_path / "a" / "archive.key").write_bytes(b"short")
    with pytest.raises(StorageError, match="5 bytes, expected 32"):
        seal.sign("d" * 64)
