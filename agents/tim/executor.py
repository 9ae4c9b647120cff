"""The tree, grown by one chat call for each step. What the model sees is the live tree only.

Tokens of fields: what the server counts for a reply, shared out over its fields; tool results are estimated. What decides
about the window is the larger of that ledger and the estimate of the prompt as it is sent. Source: tim §3.5, §5, §8.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import JsonValue

from agents.base import Answer
from agents.thinking import visible
from agents.tim.calls import OVERHEAD_TOKENS, Asked, Said
from agents.tim.config import REPLY_TOKENS
from agents.tim.forgetting import question
from agents.tim.growing import PARAMETER_TOKENS, Grower, text_of
from agents.tim.guards import min_conclusion
from agents.tim.parallel import Branch
from agents.tim.rendering import (
    SYSTEM,
    after_list_words,
    after_tool_words,
    answer_words,
    compact,
    complete_words,
    open_words,
    shares,
)
from agents.tim.repairing import NO_THOUGHT
from agents.tim.schemas import (
    AfterTool,
    Answered,
    Can,
    Conclude,
    Concluded,
    Descend,
    Lengths,
    Opened,
    StepReply,
    UseTool,
    after_list_schema,
    after_tool_schema,
    answer_schema,
    open_schema,
)
from agents.tim.tree import ANSWER, figures
from runtime.events import AnyPayload, CheckFailed, ReasoningDelta, TaskOpened
from runtime.llm.estimate import estimate_tokens
from runtime.prompts import PromptFile
from runtime.types import JsonObject

LAST_THOUGHT_TOKENS: Final = 128


class Executor(Grower):
    """Asks for one small reply after the other."""

    rules: ClassVar[PromptFile] = SYSTEM

    # -- the four calls ------------------------------------------------------------------------------------------------

    async def _open(self, branch: Branch, path: str, title: str | None) -> UseTool | Descend | bool:
        """OPEN: title, thought and action of a new task."""
        done: list[UseTool | Descend | bool] = []
        alone = title is not None

        def make(ending: bool) -> Asked[Opened]:
            cans = self._places.opening(branch, path, alone=alone, ending=ending)
            hints = [self._places.hint(can.kind) for can in cans]
            notes = [*(hint for hint in hints if hint), *branch.notes]
            lengths = self._lengths(ending=ending)
            room = lengths.thought + lengths.conclusion + (PARAMETER_TOKENS if any(can.tools for can in cans) else 0)
            words = open_words(path, cans, title=title, notes=notes)
            return Asked("tim.open", words, open_schema(cans, lengths), Opened, cans, room + OVERHEAD_TOKENS)

        async def then(said: Said[Opened]) -> list[AnyPayload]:
            tree, reply = branch.tree, said.reply
            opened = path if tree.branch == path else tree.open(path.rpartition(".")[0] or None)
            assert opened == path
            if reply is None:
                return self._unread(branch, path, title or "", alone=alone, ending=said.ending, done=done)
            can = self._places.can(branch, path, reply.task_kind, alone=alone, ending=said.ending)
            name = self._places.named(path, reply.task_kind, reply.title or title or "")
            action = reply.action
            rest = _written(action)
            counts = shares([name, reply.thought, rest], said.tokens)
            if name:
                tree.write(path, "title", name, counts[0])
            tree.write(path, "thought", reply.thought, counts[1])
            tokens = counts[0] + counts[1]
            if isinstance(action, UseTool):
                tree.tool(path, action.tool_name)
                tree.write(path, "parameters", rest, counts[2])
                tokens += counts[2]
            kind: JsonObject = {"kind": reply.task_kind} if can.kind else {}
            detail: JsonObject = {"thought": reply.thought, "tokens": tokens, **kind, **figures(tree)}
            heading = f"[{path} {name}]" if name else f"[{path}]"
            events: list[AnyPayload] = [
                TaskOpened(path=path, title=name, detail=detail),
                ReasoningDelta(text=f"{heading} {reply.thought}\n"),
            ]
            self._heed(branch, path, branch.guards.note_thought(reply.thought))
            if isinstance(action, Conclude):
                return events + self._concluded(branch, path, can, action, counts[2], alone=alone, done=done)
            if isinstance(action, UseTool):
                owner = path.rpartition(".")[0]
                self._heed(branch, path, branch.guards.note_tool(owner, action.tool_name, action.parameters))
            else:
                tree.open_list(path)
            done.append(action)
            return events

        await self._calls.say(branch, f"{path}.open", make, then)
        return done[0]

    async def _after_tool(self, branch: Branch, path: str, *, alone: bool) -> Descend | bool:
        """AFTER_TOOL: what follows from the result."""
        done: list[UseTool | Descend | bool] = []

        def can(ending: bool) -> Can:
            return self._places.after_tool(branch, path, alone=alone, ending=ending)

        def make(ending: bool) -> Asked[AfterTool]:
            lengths = self._lengths(results=True)
            words = after_tool_words(path, can(ending), notes=branch.notes)
            schema = after_tool_schema(can(ending), lengths)
            return Asked(
                "tim.after_tool", words, schema, AfterTool, [can(ending)], lengths.conclusion + OVERHEAD_TOKENS
            )

        async def then(said: Said[AfterTool]) -> list[AnyPayload]:
            action = said.reply.action if said.reply is not None else None
            if isinstance(action, Descend):
                branch.tree.open_list(path)
                done.append(action)
                return []
            assert action is None or isinstance(action, Conclude)
            (tokens,) = shares([_written(action)], said.tokens)
            return self._concluded(branch, path, can(said.ending), action, tokens, alone=alone, done=done)

        await self._calls.say(branch, f"{path}.after_tool", make, then)
        action = done[0]
        assert not isinstance(action, UseTool)
        return action

    async def _after_list(self, branch: Branch, path: str, *, alone: bool) -> bool:
        """AFTER_LIST: the conclusion of a task from its subtasks; asked for a second time when it would lose something."""
        done: list[UseTool | Descend | bool] = []
        lost: tuple[str, ...] = ()
        draft: Concluded | None = None

        def can(ending: bool) -> Can:
            return self._places.after_list(branch, path, alone=alone, ending=ending)

        def make(ending: bool) -> Asked[Concluded]:
            lengths = self._lengths(
                results=any(branch.tree.nodes[each].tool for each in branch.tree.nodes[path].children)
            )
            words = after_list_words(path, can(ending), notes=branch.notes)
            if draft is not None:
                words += "\n\n" + complete_words(text_of(draft.conclusion), question(lost))
            schema = after_list_schema(can(ending), lengths)
            return Asked(
                "tim.after_list", words, schema, Concluded, [can(ending)], lengths.conclusion + OVERHEAD_TOKENS
            )

        async def then(said: Said[Concluded]) -> list[AnyPayload]:
            nonlocal lost, draft
            reply = said.reply
            if reply is not None and draft is None:
                lost = await self._lost(branch, path, text_of(reply.conclusion))
                if lost:
                    draft = reply
                    return [CheckFailed(name=f"{path}.conclusion", detail=compact({"missing": [*lost]}))]
            if reply is None or (lost and len(await self._lost(branch, path, text_of(reply.conclusion))) > len(lost)):
                reply = draft  # the second try said less than the first
            (tokens,) = shares([_written(reply)], said.tokens)
            return self._concluded(branch, path, can(said.ending), reply, tokens, alone=alone, done=done)

        await self._calls.say(branch, f"{path}.after_list", make, then)
        if not done:
            await self._calls.say(branch, f"{path}.complete", make, then)
        assert isinstance(done[0], bool)
        return done[0]

    async def _answer(self, branch: Branch) -> JsonObject:
        """ANSWER: the final answer, from what the top list concluded."""
        wanted = self._wanted
        limit = self._ctx.spec.sampling.get("max_tokens")
        room = limit if isinstance(limit, int) else REPLY_TOKENS
        end: list[Answer] = []

        def make(ending: bool) -> Asked[Answered]:
            words = answer_words(notes=branch.notes)
            schema = answer_schema(wanted, room)
            return Asked("tim.answer", words, schema, Answered, (), room + OVERHEAD_TOKENS, plain=wanted is None)

        async def then(said: Said[Answered]) -> list[AnyPayload]:
            value: JsonValue = visible(said.text) or self._last if said.reply is None else said.reply.answer
            (tokens,) = shares([value if isinstance(value, str) else compact(value)], said.tokens)
            return self._answered(branch, value, tokens, cut=said.cut, end=end)

        await self._calls.say(branch, ANSWER, make, then)
        answer = end[0]
        await self._report(answer)
        return answer.to_json()

    def _detail(self) -> JsonObject:
        calls, detail = self._calls, super()._detail()
        counted: JsonObject = {"tokens": calls.cached, "by": "server"}
        estimated: JsonObject = {"tokens": calls.repeated, "by": "common prefix"}
        return {**detail, "cached": counted if calls.cached else estimated}

    def _lengths(self, *, results: bool = False, ending: bool = False) -> Lengths:
        thought = min(LAST_THOUGHT_TOKENS, self._config.thought_tokens) if ending else self._config.thought_tokens
        return Lengths(thought, self._config.conclusion_tokens, min_conclusion(results))

    async def _placed(self, path: str, result: JsonValue) -> int:
        """Put the result of a tool where the model sees it; gives its tokens."""
        return estimate_tokens(compact(result))

    def _unread(
        self,
        branch: Branch,
        path: str,
        title: str,
        *,
        alone: bool,
        ending: bool,
        done: list[UseTool | Descend | bool],
    ) -> list[AnyPayload]:
        """Close a task that could not be read, or go down where its kind must: the document stays one of its schema."""
        can = self._places.opening(branch, path, alone=alone, ending=ending)[0]
        name = self._places.named(path, can.kind, title)
        if name:
            branch.tree.write(path, "title", name, estimate_tokens(name))
        tokens = estimate_tokens(NO_THOUGHT)
        branch.tree.write(path, "thought", NO_THOUGHT, tokens)
        detail: JsonObject = {"thought": NO_THOUGHT, "tokens": tokens, **figures(branch.tree)}
        opened = TaskOpened(path=path, title=name, detail=detail)
        if can.descend and not can.conclude:
            branch.tree.open_list(path)
            done.append(Descend(kind="descend"))
            return [opened]
        return [opened, *self._concluded(branch, path, can, None, 0, alone=alone, done=done)]


def _written(action: StepReply | None) -> str:
    """The part of a reply that counts as one field."""
    match action:
        case UseTool():
            return compact(action.parameters)
        case Conclude() | Concluded():
            return text_of(action.conclusion)
        case _:
            return ""
