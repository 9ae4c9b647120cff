"""What wants into a vault, in one shape: memories of an archive, or drafts that were read from another program's file.

An archive that this installation made of a vault of the same owner is trusted: its memories come back in their state, with
their history, authors and times. So is one that an admin vouches for. Any other file may have been written by anybody, so
what is in it is of origin `import`, starts a history of its own, keeps the older texts among its sources, and passes
the rules of admission. An id says which memory is meant: it is computed from the vault and from the old id (or from the
file and the place in it), so the same thing imported twice is the same memory. Source: memos §3.11; ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from memory import rows
from memory.archive import archive_lines, archive_records
from memory.archive.archive_lines import ArtifactLine, EdgeLine
from memory.archive.archive_records import Stored
from memory.archive.archives import Unpacked
from memory.archive.importers.base import Found
from memory.archive.importers.registry import Format
from memory.changes import admissible
from memory.store import Past
from memory.types import LIVE, Draft, Source, Vault, Version
from memory.versions import TICK
from runtime.errors import InvalidInput

HEADER: Final = frozenset(rows.HEADER)
DRAFT: Final = tuple(item.name for item in fields(Draft))


@dataclass(frozen=True, slots=True)
class Record:
    """One memory that wants in. `id` is the one it gets, `old_id` the one it had in its archive; `mark` is the source that
    says from where it came, by which it is known again."""

    place: str
    id: str
    old_id: str | None
    mark: str
    draft: Draft
    past: Past | None = None
    vector: NDArray[np.float32] | None = None
    uses: int = 0
    last_used_at: datetime | None = None

    @property
    def placed(self) -> bool:
        """Whether its position is part of what it is (memory/store.py: `words_hash`)."""
        if self.past is not None:
            return self.past.placed
        return self.draft.session_id is not None and self.draft.position is not None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A whole file. `records` may be asked for again, and gives the same; it raises `InvalidInput` naming file and line."""

    format: Format
    digest: str
    records: Callable[[], Iterator[Record]]
    archive: Unpacked | None = None
    trusted: bool = False

    def check(self) -> int:
        """Read all of it without keeping anything; the number of records. Raises `InvalidInput`."""
        if self.archive is None:
            return sum(1 for _ in self.records())
        ids = {record.old_id for record in self.records() if record.old_id is not None}
        archive_records.check_links(self.archive, ids)
        return len(ids)

    def edges(self) -> Iterator[EdgeLine]:
        """Links between the memories, by their old ids."""
        return iter(()) if self.archive is None else archive_records.edges(self.archive)

    def artifacts(self) -> Iterator[tuple[ArtifactLine, Path]]:
        """Files made from the memories, of a trusted archive: nobody else's tensors are let near a model."""
        if self.archive is None or not self.trusted:
            return
        for line in archive_records.artifacts(self.archive):
            yield line, self.archive.folder / "artifacts" / f"{line.id}.safetensors"


def of_archive(archive: Unpacked, home: Vault, now: datetime, *, user_id: str, trusted: bool) -> Incoming:
    """The memories of an archive, as they may be stored in the vault `home`."""

    def records() -> Iterator[Record]:
        for stored in archive_records.stored(archive):
            place = f"{archive_lines.MEMORIES} line {stored.line}"
            if trusted:
                yield _own(place, stored, archive, home, now, user_id)
            else:
                yield _foreign(place, stored, archive, home, now)

    return Incoming("archive", archive.manifest.digest, records, archive, trusted)


def of_drafts(format_: Format, name: str, found: Sequence[Found], digest: str, home: Vault, now: datetime) -> Incoming:
    """Drafts that an importer read from the file `name`, as they may be stored in the vault `home`.

    Raises `InvalidInput` that names the line.
    """
    made: list[Record] = []
    for number, (line, draft) in enumerate(found):
        place = f"{name} line {line}"
        mark = f"import:{digest}#{number}"
        told = draft if draft.sources else replace(draft, sources=(Source("document", uri=mark),))
        made.append(Record(place, id_in(home, mark), None, mark, _admissible(place, told, home, now)))
    return Incoming(format_, digest, lambda: iter(made))


def id_in(home: Vault, key: str, kind: str = "mem") -> str:
    """The id that an import into this vault gives to what has this key; always the same."""
    digest = hashlib.sha256(f"{home.id} {key}".encode()).hexdigest()
    return f"{kind}_{digest[:32]}"


def _own(place: str, stored: Stored, archive: Unpacked, home: Vault, now: datetime, user_id: str) -> Record:
    """A memory as it was: the draft is its last version, to which one more is added where the vault asks for something."""
    line = stored.memory
    mark = _mark(archive, line.id)
    draft = Draft(content=line.content, **_of_draft(line.header), sources=(Source("document", uri=mark),))
    draft = _admissible(place, draft, home, now)
    versions = list(stored.versions)
    told = versions[-1].header
    header = {**told, **_header_of(draft)}
    if header != told:
        moment = max(now, versions[-1].sys_from + TICK)
        versions[-1] = replace(versions[-1], sys_to=moment)
        reason = "imported; as its vault asks"
        versions.append(
            Version(
                line.id,
                line.version + 1,
                line.content,
                header,
                "edit",
                user_id,
                reason,
                moment,
                None,
                "",
                "",
                redacted=False,
            )
        )
    past = Past(tuple(versions), stored.sources, line.created_by, line.placed)
    return Record(place, id_in(home, line.id), line.id, mark, draft, past, stored.vector, line.uses, line.last_used_at)


def _foreign(place: str, stored: Stored, archive: Unpacked, home: Vault, now: datetime) -> Record:
    """A memory of which only the text is taken for what it is."""
    line = stored.memory
    mark = _mark(archive, line.id)
    sources = [source for version, source in stored.sources if version == line.version]
    sources += [
        Source("document", uri=f"{mark}@{version.version}", quote=version.content, occurred_at=version.sys_from)
        for version in stored.versions
        if version.content and version.content != line.content
    ]
    told = _of_draft(line.header) | {"origin": "import"}
    draft = Draft(content=line.content, **told, sources=(*sources, Source("document", uri=mark)))
    draft = _admissible(place, draft, home, now)
    return Record(place, id_in(home, line.id), line.id, mark, draft)


def _admissible(place: str, draft: Draft, home: Vault, now: datetime) -> Draft:
    # A new memory begins live; one that comes from elsewhere may be past that.
    live = draft.state in LIVE
    try:
        begun = admissible(draft if live else replace(draft, state="activated"), home, now)
        return begun if live else replace(begun, state=draft.state)
    except InvalidInput as error:
        raise InvalidInput(f"{place}: {error.message}; nothing was imported", param=error.param) from error


def _mark(archive: Unpacked, old_id: str) -> str:
    return f"mneme:{archive.manifest.digest}#{old_id}"


def _of_draft(header: archive_lines.Header) -> dict[str, Any]:
    told = {name: getattr(header, name) for name in DRAFT if name in HEADER}
    return {name: tuple(value) if name in rows.LISTS else value for name, value in told.items()}


def _header_of(draft: Draft) -> dict[str, JsonValue]:
    """What a version row keeps of the draft."""
    told: dict[str, Any] = {name: getattr(draft, name) for name in DRAFT if name in HEADER}
    for name, value in told.items():
        if name in rows.LISTS:
            told[name] = list(value)
        elif name in rows.TIMES and value is not None:
            told[name] = value.isoformat()
        elif name == "data":
            told[name] = dict(value)
    return told
