"""The working memory of one run: an ordered ledger of records, of which some are live and the others archived.

A record is a piece of text with its length in tokens and the name of who owns it. The live records, in order, are what
the model sees behind its prompt; so a record's position is the number of live tokens before it, and taking records out
moves up everything behind them: that tail must be encoded again. Records are never changed and never deleted: what is
pruned, folded or replaced goes to the archive under its id, and `recall` reads it there. Ids are given once for ever.
This module knows no tree, no tool and no policy; which records go is decided by its callers. Source: tim §2.2, §3.3; ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from runtime.errors import Conflict, InvalidInput, UnknownName
from runtime.types import JsonObject

SHOWN = 20  # ids named in an error


@dataclass(frozen=True, slots=True)
class Record:
    """One piece of working memory. `evidence` are the ids of the records that it stands for or was taken from."""

    id: str
    owner: str
    kind: str
    text: str
    tokens: int
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """Records that left the live memory, in their order. `tokens`: theirs. `tail`: the live tokens that stood behind the
    first of them and stay; they move up and are encoded again. A record put in their place counts in neither."""

    ids: tuple[str, ...]
    tokens: int
    tail: int
    why: str


@dataclass(frozen=True, slots=True)
class _Saved:
    prompt_tokens: int
    peak_tokens: int
    reencoded: int
    prunes: int
    recalled: int
    recalls: int
    live: tuple[Record, ...]
    archived: tuple[Record, ...]


_SAVED = TypeAdapter(_Saved)


class WorkingMemory:
    """Live and archived records. `live_tokens` counts the prompt too.

    Counters: `reencoded` tokens of all tails, `prunes` cuts made, `recalls` and `recalled` tokens read from the archive.
    """

    def __init__(self, *, prompt_tokens: int = 0) -> None:
        if prompt_tokens < 0:
            raise InvalidInput(f"prompt of {prompt_tokens} tokens: expected 0 or more", param="prompt_tokens")
        self.prompt_tokens = prompt_tokens
        self.live_tokens = prompt_tokens
        self.peak_tokens = prompt_tokens
        self.reencoded = 0
        self.prunes = 0
        self.recalled = 0
        self.recalls = 0
        self._live: dict[str, Record] = {}
        self._archived: dict[str, Record] = {}

    @property
    def live(self) -> Mapping[str, Record]:
        """Id to record, in the order in which the model reads them."""
        return MappingProxyType(self._live)

    @property
    def archived(self) -> Mapping[str, Record]:
        """Id to record, in the order in which they left the live memory."""
        return MappingProxyType(self._archived)

    @property
    def pruned(self) -> int:
        """Tokens of everything in the archive."""
        return sum(record.tokens for record in self._archived.values())

    @property
    def appended(self) -> int:
        """Tokens of everything that was ever put in, without the prompt."""
        return self.live_tokens - self.prompt_tokens + self.pruned

    def position(self, record_id: str, /) -> int:
        """The position of the record's first token: the live tokens before it, the prompt's among them."""
        self._must_be_live([record_id])
        before = self.prompt_tokens
        for other in self._live.values():
            if other.id == record_id:
                break
            before += other.tokens
        return before

    def append(self, record: Record) -> int:
        """Put a record at the end; returns the position of its first token. Raises `Conflict` for an id that was given."""
        self._must_be_new(record)
        position = self.live_tokens
        self._live[record.id] = record
        self._grow(record.tokens)
        return position

    def weigh(self, ids: Iterable[str], *, why: str) -> Cut:
        """What `prune` would do, without doing it. The records are named in the order in which they stand."""
        wanted = self._must_be_live(ids)
        first = next(index for index, each in enumerate(self._live) if each in wanted)
        behind = list(self._live.values())[first:]
        gone = tuple(record.id for record in behind if record.id in wanted)
        tail = sum(record.tokens for record in behind if record.id not in wanted)
        return Cut(gone, sum(self._live[each].tokens for each in gone), tail, why)

    def prune(self, ids: Iterable[str], *, why: str) -> Cut:
        """Move live records to the archive. Raises `InvalidInput` for none, `UnknownName` for one that is not live."""
        cut = self.weigh(ids, why=why)
        for each in cut.ids:
            self._archived[each] = self._live.pop(each)
        self.live_tokens -= cut.tokens
        self.reencoded += cut.tail
        self.prunes += 1
        return cut

    def fold(self, ids: Iterable[str], record: Record, *, why: str) -> Cut:
        """Put one record in the place of several, where the first of them stood; its evidence begins with their ids."""
        self._must_be_new(record)
        planned = self.weigh(ids, why=why)
        more = tuple(each for each in record.evidence if each not in planned.ids)
        before = list(self._live).index(planned.ids[0])
        cut = self.prune(planned.ids, why=why)
        records = list(self._live.values())
        records.insert(before, replace(record, evidence=cut.ids + more))
        self._live = {each.id: each for each in records}
        self._grow(record.tokens)
        return cut

    def replace(self, record_id: str, record: Record, /, *, why: str) -> Cut:
        """Put a record in the place of one: a shorter or better form of it, under a new id."""
        return self.fold([record_id], record, why=why)

    def recall(self, ids: Iterable[str]) -> tuple[Record, ...]:
        """Read archived records, in the order asked for; counted. Nothing becomes live by it: what the model shall see
        again is appended as a new record with these ids as its evidence. Raises `UnknownName` for one not archived."""
        wanted = tuple(dict.fromkeys(ids))
        missing = [each for each in wanted if each not in self._archived]
        if missing or not wanted:
            raise UnknownName(f"archived records {missing!r}: expected some of {_some(self._archived)}", param="ids")
        records = tuple(self._archived[each] for each in wanted)
        self.recalls += 1
        self.recalled += sum(record.tokens for record in records)
        return records

    def fork(self) -> WorkingMemory:
        """A copy to go on with apart. Its counters begin at 0 and its peak at what is live."""
        copy = WorkingMemory(prompt_tokens=self.prompt_tokens)
        copy._live = dict(self._live)
        copy._archived = dict(self._archived)
        copy.live_tokens = copy.peak_tokens = self.live_tokens
        return copy

    def absorb(self, branch: WorkingMemory, ids: Collection[str], *, moved: bool) -> None:
        """Take over those records of a fork: its live ones at the end, its archived ones into the archive, and its
        counters. `moved`: they stand elsewhere than in the fork, so the live ones are encoded again."""
        for record in (*branch._live.values(), *branch._archived.values()):
            if record.id in ids:
                self._must_be_new(record)
        live = {each: record for each, record in branch._live.items() if each in ids}
        self._live |= live
        self._archived |= {each: record for each, record in branch._archived.items() if each in ids}
        self.peak_tokens = max(self.peak_tokens, branch.peak_tokens)
        tokens = sum(record.tokens for record in live.values())
        self._grow(tokens)
        self.reencoded += branch.reencoded + (tokens if moved else 0)
        self.prunes += branch.prunes
        self.recalled += branch.recalled
        self.recalls += branch.recalls

    def to_json(self) -> JsonObject:
        """Everything, so that `from_json` goes on identically."""
        saved = _Saved(
            self.prompt_tokens,
            self.peak_tokens,
            self.reencoded,
            self.prunes,
            self.recalled,
            self.recalls,
            tuple(self._live.values()),
            tuple(self._archived.values()),
        )
        json: JsonObject = _SAVED.dump_python(saved, mode="json")
        return json

    @classmethod
    def from_json(cls, saved: JsonObject) -> WorkingMemory:
        """What `to_json` wrote. Raises `InvalidInput` for anything else."""
        try:
            read = _SAVED.validate_python(saved)
        except ValidationError as error:
            raise InvalidInput(f"saved working memory: expected what to_json writes: {error}") from error
        memory = cls(prompt_tokens=read.prompt_tokens)
        for record in (*read.live, *read.archived):
            memory.append(record)
        for record in read.archived:
            memory._archived[record.id] = memory._live.pop(record.id)
        memory.live_tokens = read.prompt_tokens + sum(record.tokens for record in read.live)
        memory.peak_tokens = read.peak_tokens
        memory.reencoded, memory.prunes = read.reencoded, read.prunes
        memory.recalled, memory.recalls = read.recalled, read.recalls
        return memory

    def _grow(self, tokens: int) -> None:
        self.live_tokens += tokens
        self.peak_tokens = max(self.peak_tokens, self.live_tokens)

    def _must_be_new(self, record: Record) -> None:
        if record.id in self._live or record.id in self._archived:
            raise Conflict(f"record {record.id!r}: expected an id that was not given before", param="id")
        if record.tokens < 0:
            raise InvalidInput(f"record {record.id!r} of {record.tokens} tokens: expected 0 or more", param="tokens")

    def _must_be_live(self, ids: Iterable[str]) -> set[str]:
        wanted = list(ids)
        missing = [each for each in wanted if each not in self._live]
        if missing:
            raise UnknownName(f"live records {missing!r}: expected some of {_some(self._live)}", param="ids")
        if not wanted:
            raise InvalidInput("no record named: expected at least one live id", param="ids")
        return set(wanted)


def _some(records: Mapping[str, Record]) -> str:
    named = list(records)
    return repr(named[-SHOWN:]) + (f" (the last of {len(named)})" if len(named) > SHOWN else "")
