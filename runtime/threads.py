"""A tree of tasks over one working memory, in which finished lists of subtasks are forgotten.

The tree is written in the order of its JSON document: a task is opened, its fields are written, perhaps a list of
subtasks is opened, filled and closed, the conclusion follows, the task is closed. One task is open at a time
(`open_path`), and only it can be written to; independent siblings are written side by side in forks and joined. Every
field is one record of `memory`. When a list is ready, the rule of `pruning.py` decides which waiting lists leave the
live memory: the whole interior goes to the archive, and an empty list stays in the live document. The whole document
never depends on that. What may follow what is in `thread_outline.py`, how the document looks in `thread_document.py`.
No model, no tool and no clock is known here. Source: tim §2, §3.2; forks, cost rule and checkpoint are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from runtime.errors import Conflict, InvalidInput
from runtime.pruning import Policy, PruneAt, PruneRule, PruneStack
from runtime.thread_document import (
    ANSWER,
    ORDER,
    Field,
    document_json,
    is_json,
    kind_of,
    live_values,
    must_fit,
    original_values,
    parsed,
    record_id,
    task_json,
)
from runtime.thread_outline import Node, NodeState, Outline, walk
from runtime.types import JsonObject
from runtime.working_memory import Cut, Record, WorkingMemory

__all__ = ["FORMAT_VERSION", "Field", "Metrics", "Node", "NodeState", "ThreadTree"]

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a tree has cost so far, in tokens. `max_cache_output` is the peak without the prompt; `kv_pruned_pct` is
    100 × (1 − max_cache_output / output_tokens), where the output is everything written, tool results among it."""

    prompt_tokens: int
    output_tokens: int
    live: int
    max_live: int
    max_cache_output: int
    kv_pruned_pct: float
    reencoded_tokens: int
    prunes: int
    recalls: int
    recalled_tokens: int
    tool_calls: int
    tasks: int
    depth_max: int


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    format_version: int
    rule: PruneRule
    remaining_steps: float | None
    outline: Outline
    waiting: tuple[str, ...]
    memory: JsonObject


_CHECKPOINT = TypeAdapter(_Checkpoint)


class ThreadTree:
    """Every call that does not fit the state of the tree raises `Conflict`, a path that does not exist `UnknownName`, and
    changes nothing.
    """

    def __init__(
        self,
        *,
        prompt_tokens: int = 0,
        k: int = 1,
        prune_at: PruneAt = "parent_conclusion",
        policy: Policy = "stack",
        prune: bool = True,
        remaining_steps: float | None = None,
    ) -> None:
        rule = PruneRule(k=k, prune_at=prune_at, policy=policy, prune=prune)
        self._set_up(PruneStack(rule, Outline(), WorkingMemory(prompt_tokens=prompt_tokens), remaining_steps))

    def _set_up(self, stack: PruneStack) -> None:
        self._stack = stack
        self._outline = stack.outline
        self.memory = stack.memory

    @property
    def rule(self) -> PruneRule:
        """What is forgotten when."""
        return self._stack.rule

    @property
    def remaining_steps(self) -> float:
        """How many more steps are expected; the cost rule uses it. An estimate from the tree (`expected_steps`), until it
        is set, which may be at any time."""
        return self._stack.remaining_steps

    @remaining_steps.setter
    def remaining_steps(self, steps: float) -> None:
        self._stack.told_steps = steps

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Path to node, in the order in which they were opened."""
        return MappingProxyType(self._outline.nodes)

    @property
    def open_path(self) -> str | None:
        """The task that is open; None when the next is one of the top list, or the answer."""
        return self._outline.open_path

    @property
    def branch(self) -> str | None:
        """The task that this fork is for; None in a tree that is no fork."""
        return self._outline.branch

    @property
    def forked(self) -> tuple[str, ...]:
        """The tasks of the forks that are not joined yet, in order."""
        return self._outline.forked

    @property
    def queue(self) -> tuple[str, ...]:
        """The owners of closed lists that are still live and wait for their turn to go, oldest first."""
        return tuple(self._stack.waiting)

    @property
    def answered(self) -> bool:
        """Whether the answer was written; nothing follows it."""
        return ANSWER in self.memory.live or ANSWER in self.memory.archived

    @property
    def recallable(self) -> tuple[str, ...]:
        """The paths that the live document shows with an emptied list, in its order: what `recall` is best offered."""
        tasks = walk(self.nodes, self._outline.top)
        return tuple(task.path for task in tasks if task.list_pruned and not self._outline.hidden(task.path))

    # -- writing -------------------------------------------------------------------------------------------------------

    def open(self, parent: str | None) -> str:
        """Open the next task of the open list of `parent` (None: the top list); returns its path, like "1.2"."""
        self._must_be_unanswered()
        self._outline.must_take_tasks(parent)
        return self._outline.add(parent)

    def write(self, path: str, field: Field, text: str, tokens: int, *, as_json: bool = False) -> int:
        """Write a field of the open task; returns the position of its first token.

        Fields come in the order title, thought, parameters, result, conclusion, each at most once. `parameters` (after
        `tool`) and `result` are JSON text, and so is a conclusion `as_json`: the document has its value. Raises
        `InvalidInput` for text that is not JSON there.
        """
        node = self._outline.opened(path)
        if field not in ORDER:
            raise InvalidInput(
                f"field {field!r}: expected one of {ORDER!r}; the answer has a call of its own", param="field"
            )
        must_fit(node, field, self._written(path))
        kind = kind_of(field, as_json=as_json and field == "conclusion")
        _must_be_json(path, kind, text)
        position = self.memory.append(Record(record_id(path, field), path, kind, text, tokens))
        if field == "title":
            self._outline.change(path, title=text)
        elif field == "parameters":
            self._outline.change(path, state="tool_wait")
        elif field == "result":
            self._outline.change(path, state="open")
        return position

    def tool(self, path: str, name: str) -> None:
        """Name the one tool that the open task calls; its parameters come next."""
        node = self._outline.opened(path)
        if node.tool is not None or node.has_list or "conclusion" in self._written(path):
            raise Conflict(f"tool {name!r} of task {path!r}: expected a task with no tool, subtasks or conclusion yet")
        self._outline.change(path, tool=name)

    def shorten(self, path: str, field: Field, text: str, tokens: int, *, why: str) -> Cut:
        """Put a shorter form in the place of a live field. The live document shows it, the whole one the original."""
        self._outline.at(path)
        now = [r for r in self.memory.live.values() if r.owner == path and r.kind == field]
        if not now:
            raise Conflict(f"shorten {field!r} of task {path!r}: expected a field that is written and live")
        _must_be_json(path, field, text)
        nth = 2 + sum(r.owner == path and r.kind == field for r in self.memory.archived.values())
        record = Record(f"{record_id(path, field)}~{nth}", path, field, text, tokens)
        return self.memory.replace(now[0].id, record, why=why)

    def open_list(self, path: str | None) -> None:
        """Begin the subtasks of the open task. The top list (None) is open from the start."""
        if path is None:
            return self._outline.must_take_tasks(None)
        node = self._outline.opened(path)
        written = self._written(path)
        if node.has_list or "conclusion" in written or (node.tool is not None and "result" not in written):
            raise Conflict(
                f"subtasks of task {path!r}: expected a task with no open tool call, no subtasks, no conclusion"
            )
        self._outline.change(path, state="in_subtasks", has_list=True)
        return None

    def close_list(self, path: str | None) -> tuple[Cut, ...]:
        """End the subtasks of a task; it is the open task again. Returns what went out of the live memory by it.

        The top list (None) can be closed for symmetry; it is never pruned, because the answer needs its conclusions.
        """
        self._outline.must_take_tasks(path)
        if path is None:
            return ()
        self._outline.change(path, state="open", list_closed=True)
        return self._stack.push([path]) if self.rule.prune_at == "list_close" else ()

    def close(self, path: str) -> tuple[Cut, ...]:
        """End the open task, whose conclusion was written. Returns what went out of the live memory by it."""
        node = self._outline.opened(path)
        if "conclusion" not in self._written(path):
            raise Conflict(f"close task {path!r}: expected its conclusion to be written before")
        self._outline.close(path)
        return self._stack.push([path]) if node.has_list and self.rule.prune_at == "parent_conclusion" else ()

    def answer(self, text: str, tokens: int, *, as_json: bool = False) -> int:
        """Write the answer, when every task is closed; returns its position. `as_json`: the text is a JSON value that
        becomes the answer itself; otherwise the text is the answer."""
        self._must_be_unanswered()
        self._outline.must_take_tasks(None)
        kind = kind_of("answer", as_json=as_json)
        _must_be_json("the tree", kind, text)
        return self.memory.append(Record(ANSWER, "", kind, text, tokens))

    # -- forgetting and remembering ------------------------------------------------------------------------------------

    def prune_all(self, why: str) -> tuple[Cut, ...]:
        """Prune every list that waits, oldest first, whatever `k` and the policy say: the window is near."""
        return self._stack.prune_all(why)

    def recall(self, path: str, *, full: bool = True) -> list[JsonObject]:
        """What was pruned at a path, from the archive; counted in the memory and at the node.

        Of a task whose list was pruned: the tasks of that list. Of a task that itself went with a list: that task.
        `full`: the tasks as in the whole document; otherwise the chain of conclusions, `{path, title?, conclusion}` of
        each task in order. Raises `UnknownName` for no such path, `Conflict` for one of which nothing was pruned.
        """
        node = self._outline.at(path)
        if node.list_pruned:
            roots: tuple[str, ...] = node.children
        elif not self._outline.hidden(path):
            raise Conflict(f"recall of {path!r}: nothing was pruned there; expected one of {self.recallable!r}")
        else:
            roots = (path,)
        fields = ORDER if full else ("title", "conclusion")
        tasks = tuple(walk(self.nodes, roots))
        ids = [record_id(task.path, field) for task in tasks for field in fields if field in self._written(task.path)]
        if not ids:
            raise Conflict(f"recall of {path!r}: nothing was written there; expected one of {self.recallable!r}")
        values = original_values(self.memory.recall(ids))
        self._outline.change(path, recalled=node.recalled + 1)
        if full:
            return [task_json(self.nodes, root, values, live=False) for root in roots]
        return [
            {"path": task.path, **{field: values[at] for field in fields if (at := (task.path, field)) in values}}
            for task in tasks
        ]

    # -- siblings side by side -----------------------------------------------------------------------------------------

    def fork(self, path: str | None) -> ThreadTree:
        """A copy of the tree in which the next task of the list of `path` (None: the top list) is open.

        Called once for each sibling: the first gets the next free number, the second the one after it, and so on. A
        fork sees what was there at the fork, not its siblings; only its own task (`branch`) can be written. Until `join`
        this tree takes no other task. Counters of a fork begin at 0.
        """
        self._must_be_unanswered()
        self._outline.must_take_tasks(path, beside_forks=True)
        fork = ThreadTree()
        outline, memory = self._outline.fork(path), self.memory.fork()
        fork._set_up(PruneStack(self.rule, outline, memory, self._stack.told_steps, list(self.queue)))
        return fork

    def join(self, forks: Sequence[ThreadTree]) -> tuple[Cut, ...]:
        """Take over the tasks of all forks, whose tasks are closed, in the order in which they were forked.

        The stack rule applies after each, as if they had been written one after another. The peak is the highest of
        this tree and the forks. Tasks of the second fork and later stand behind their siblings now, so their live tokens
        count as encoded again.
        """
        self._outline.must_be_all([fork._outline for fork in forks])
        return tuple(cut for nth, fork in enumerate(forks) for cut in self._take(fork, moved=nth > 0))

    def _take(self, fork: ThreadTree, *, moved: bool) -> tuple[Cut, ...]:
        paths = self._outline.take(fork._outline)
        records = (*fork.memory.live.values(), *fork.memory.archived.values())
        self.memory.absorb(fork.memory, {record.id for record in records if record.owner in paths}, moved=moved)
        return self._stack.push([owner for owner in fork.queue if owner in paths])

    # -- reading -------------------------------------------------------------------------------------------------------

    def document(self, *, live: bool) -> JsonObject:
        """`{"reasoning": [tasks], "answer"}` as far as it is written, always plain JSON.

        `live`: what is in the working memory, pruned lists empty, fields in their shortened form. Otherwise the whole
        tree as it was written, from live memory and archive.
        """
        live_records = self.memory.live.values()
        archived = self.memory.archived.values()
        values = live_values(live_records) if live else original_values((*archived, *live_records))
        return document_json(self.nodes, self._outline.top, values, live=live)

    def metrics(self) -> Metrics:
        """The sheet's figures; in a fork the counters are those of the fork alone."""
        memory = self.memory
        output, cache = memory.appended, memory.peak_tokens - memory.prompt_tokens
        return Metrics(
            prompt_tokens=memory.prompt_tokens,
            output_tokens=output,
            live=memory.live_tokens,
            max_live=memory.peak_tokens,
            max_cache_output=cache,
            kv_pruned_pct=100 * (1 - cache / output) if output else 0.0,
            reencoded_tokens=memory.reencoded,
            prunes=memory.prunes,
            recalls=memory.recalls,
            recalled_tokens=memory.recalled,
            tool_calls=sum("result" in self._written(path) for path in self.nodes),
            tasks=len(self.nodes),
            depth_max=max((node.depth for node in self.nodes.values()), default=0),
        )

    def to_json(self) -> JsonObject:
        """A checkpoint; the tree read back from it goes on identically. Forks are saved by themselves."""
        checkpoint = _Checkpoint(
            FORMAT_VERSION,
            self.rule,
            self._stack.told_steps,
            self._outline,
            self.queue,
            self.memory.to_json(),
        )
        saved: JsonObject = _CHECKPOINT.dump_python(checkpoint, mode="json")
        return saved

    @classmethod
    def from_json(cls, saved: JsonObject) -> ThreadTree:
        """What `to_json` wrote. Raises `InvalidInput` for another format version or anything else."""
        if saved.get("format_version") != FORMAT_VERSION:
            version = saved.get("format_version")
            raise InvalidInput(
                f"checkpoint of format {version!r}: this version reads format {FORMAT_VERSION}; start anew"
            )
        try:
            read = _CHECKPOINT.validate_python(saved)
        except ValidationError as error:
            raise InvalidInput(f"checkpoint of a thread tree: expected what to_json writes: {error}") from error
        memory = WorkingMemory.from_json(read.memory)
        tree = cls()
        tree._set_up(PruneStack(read.rule, read.outline, memory, read.remaining_steps, list(read.waiting)))
        return tree

    # -- what fits -----------------------------------------------------------------------------------------------------

    def _written(self, path: str) -> list[Field]:
        names = ((field, record_id(path, field)) for field in ORDER)
        return [field for field, name in names if name in self.memory.live or name in self.memory.archived]

    def _must_be_unanswered(self) -> None:
        if self.answered:
            raise Conflict("the answer was written: expected nothing behind it")


def _must_be_json(path: str, field: str, text: str) -> None:
    try:
        if is_json(field):
            parsed(text)
    except ValueError as error:
        raise InvalidInput(f"{field!r} of {path!r}: expected JSON text: {error}", param=field) from error
