"""The tree of a run as it grows, whoever asks for its pieces; read it from `run` downwards.

A list asks for its next task (OPEN); the task concludes, calls one tool, or goes down into a list of its own; behind its
tool and behind its list it is asked again (AFTER_TOOL, AFTER_LIST); at the end stands the answer (ANSWER). There are two
ways to ask: one chat call for each of the four (executor.py), or one document written in place (streaming.py). Everything
here follows from the outputs of steps, so a run picked up again ends the same. Source: tim §3.1, §3.5, §5.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import ClassVar, Final, Self

import anyio.to_thread
from pydantic import JsonValue

from agents.base import Answer, Step
from agents.graphs import Work
from agents.remembering import Units
from agents.tim.calls import Calls
from agents.tim.config import TimConfig
from agents.tim.forgetting import missing
from agents.tim.guards import NOTICE, Verdict
from agents.tim.offering import Places
from agents.tim.parallel import Branch, side_by_side
from agents.tim.recalling import RECALL, recalled
from agents.tim.rendering import compact, head
from agents.tim.repairing import UNPARSABLE
from agents.tim.schemas import Can, Conclude, Concluded, Descend, UseTool, fits
from agents.tim.tree import ANSWER, cut_event, detail_of, figures
from agents.tooling.base import ToolAnswer, Tools
from runtime.errors import BudgetExhausted
from runtime.events import (
    AnyPayload,
    CheckFailed,
    ReasoningDelta,
    StepCompleted,
    TaskClosed,
    TextDelta,
    ToolCalled,
    ToolResult,
)
from runtime.llm.base import SupportsWindow
from runtime.llm.estimate import estimate_prompt, estimate_tokens
from runtime.metrics import metrics
from runtime.prompts import PromptFile
from runtime.thread_document import record_id, value_of
from runtime.threads import ThreadTree
from runtime.types import JsonObject
from runtime.working_memory import Cut

UNIT: Final = "answer"
PARAMETER_TOKENS: Final = 2_048


class Grower(ABC):
    """Grows the tree of one run. `rules`: the prompt that says how."""

    rules: ClassVar[PromptFile]

    def __init__(self, work: Work, config: TimConfig, units: Units, tools: Tools) -> None:
        self._work = work
        self._ctx = work.ctx
        self._config = config
        self._units = units
        self._tools = tools
        self._places = Places(config, tools.specs)
        self._first = head(units.placed(UNIT, work.task.messages()), self._places.specs, rules=self.rules)
        self._calls = Calls(work.ctx, config, self._first)
        self._branch = Branch(
            ThreadTree(
                prompt_tokens=estimate_prompt(self._first),
                k=config.k,
                prune_at=config.prune_at,
                policy=config.policy,
                prune=config.prune,
            ),
            tools_left=config.max_tool_calls,
            output_left=config.max_total_output,
        )
        self._wanted = config.answer_schema or _format_of(work.ctx.spec.sampling)
        self._kept: dict[str, JsonValue] = {}
        self._tool_seconds = 0.0
        self._last = ""

    @classmethod
    async def open(cls, work: Work, config: TimConfig) -> Self:
        """Find memories and tools. Raises `InvalidInput` for a tool that there is not, `UnknownName` for a vault."""
        if config.max_live is None and isinstance(llm := work.ctx.llm, SupportsWindow):

            async def ask(step: Step) -> JsonValue:
                return await llm.window()

            # A step, so that a run that goes on keeps to the same limit.
            window = await work.ctx.step("window", ask)
            config = config.within(window if isinstance(window, int) else None)
        units = await work.ctx.memories(work.task, [UNIT])
        tools = await work.ctx.tools(config.tools, result_tokens=config.tool_result_max_tokens)
        return cls(work, config, units, tools)

    async def run(self) -> JsonObject:
        """The answer as JSON. Raises `ContextOverflow`, and `BudgetExhausted` with the conclusions so far on offer."""
        try:
            await self._list(self._branch, None)
            return await self._answer(self._branch)
        except BudgetExhausted:
            self._offer()
            raise

    # -- lists and tasks -----------------------------------------------------------------------------------------------

    async def _list(self, branch: Branch, owner: str | None) -> None:
        """Ask for one task after the other until the list is finished."""
        number, more = 0, True
        while more:
            number += 1
            more = await self._task(branch, owner, number)

    async def _task(self, branch: Branch, owner: str | None, number: int, *, title: str | None = None) -> bool:
        """One task from its opening to its conclusion; says whether its list goes on. `title`: it is one of several that
        stand side by side, in a branch of its own."""
        path = str(number) if owner is None else f"{owner}.{number}"
        action = await self._open(branch, path, title)
        if isinstance(action, UseTool):
            await self._tool(branch, path, action)
            action = await self._after_tool(branch, path, alone=title is not None)
        if isinstance(action, Descend):
            await self._below(branch, path, action.parallel)
            return await self._after_list(branch, path, alone=title is not None)
        return action

    async def _below(self, branch: Branch, path: str, titles: list[str]) -> None:
        """The subtasks of a task: one after the other, or, where the model named them as independent, side by side."""
        titles = titles[: self._config.max_children]
        if len(titles) < 2:
            await self._list(branch, path)
            return
        branches = branch.split(path, len(titles))

        async def grow(place: int) -> None:
            await self._task(branches[place], path, place + 1, title=titles[place])

        await side_by_side([partial(grow, place) for place in range(len(titles))])
        cuts = branch.join(branches)
        cuts += self._list_ended(branch, path)
        branch.waiting += [cut_event(branch.tree, each) for each in cuts]

    # -- what a way of asking has to say -------------------------------------------------------------------------------

    @abstractmethod
    async def _open(self, branch: Branch, path: str, title: str | None) -> UseTool | Descend | bool:
        """OPEN: title, thought and action of a new task; True and False: it has concluded, its list goes on or not."""

    @abstractmethod
    async def _after_tool(self, branch: Branch, path: str, *, alone: bool) -> Descend | bool:
        """AFTER_TOOL: what follows from the result. `alone`: the task stands beside others, its list needs no more."""

    @abstractmethod
    async def _after_list(self, branch: Branch, path: str, *, alone: bool) -> bool:
        """AFTER_LIST: the conclusion of a task from its subtasks; completed once when it would lose something."""

    @abstractmethod
    async def _answer(self, branch: Branch) -> JsonObject:
        """ANSWER: the final answer, from what the top list concluded."""

    @abstractmethod
    async def _placed(self, path: str, result: JsonValue) -> int:
        """Put the result of a tool where the model sees it; gives its tokens."""

    # -- tools ---------------------------------------------------------------------------------------------------------

    async def _tool(self, branch: Branch, path: str, use: UseTool) -> None:
        """Call the tool of a task, once in the life of the run, and put the result in its place."""
        branch.tools_left -= 1
        recalls = use.tool_name == RECALL
        asked = ToolCalled(call_id=path, name=use.tool_name, arguments=compact(use.parameters))

        async def do(step: Step) -> JsonValue:
            await step.emit(asked)
            if recalls:
                return None  # it is read from the tree, which is the same when the run goes on
            seconds = self._config.tool_timeout_s
            answer = await self._tools.call(use.tool_name, use.parameters, timeout_s=seconds, step=step)
            return answer.to_json()

        async def then(raw: JsonValue) -> list[AnyPayload]:
            events: list[AnyPayload] = []
            if recalls:
                answer, events = recalled(branch.tree, use.parameters, self._config.tool_result_max_tokens)
                shown = answer
            else:
                assert isinstance(raw, dict)
                answer = ToolAnswer.from_json(raw)
                shown = await self._tools.shown(use.tool_name, answer)
            self._tool_seconds += answer.elapsed_s
            text, kept = compact(shown.result()), compact(answer.result())
            if kept != text:
                self._kept[path] = answer.result()
            branch.tree.write(path, "result", text, await self._placed(path, shown.result()))
            truncated = answer.truncated or shown.truncated
            return [ToolResult(call_id=path, result=kept, ok=answer.ok, truncated=truncated), *events]

        await self._calls.step(branch, f"{path}.tool", do, then)

    # -- what a step brings about --------------------------------------------------------------------------------------

    def _concluded(
        self,
        branch: Branch,
        path: str,
        can: Can,
        said: Conclude | Concluded | None,
        tokens: int,
        *,
        alone: bool,
        done: list[UseTool | Descend | bool],
    ) -> list[AnyPayload]:
        """Write a conclusion and close the task; where it was the last of its list, close that too."""
        tree = branch.tree
        more = (can.more is not False) if said is None else can.goes_on(said)
        text = UNPARSABLE if said is None else text_of(said.conclusion)
        as_json = said is not None and can.conclusion_schema is not None and not isinstance(said.conclusion, str)
        tree.write(path, "conclusion", text, tokens or estimate_tokens(text), as_json=as_json)
        cuts = tree.close(path)
        owner = path.rpartition(".")[0]
        if not more and owner and not alone:
            cuts += self._list_ended(branch, owner)
        if said is not None:
            self._last = text
        done.append(more)
        detail: JsonObject = {"tokens": tokens or estimate_tokens(text), **figures(tree)}
        if as_json:
            detail["as_json"] = True
        return [
            TaskClosed(path=path, conclusion=text, detail=detail),
            ReasoningDelta(text=f"[{path}] → {text}\n"),
            *(cut_event(tree, each) for each in cuts),
        ]

    def _answered(
        self, branch: Branch, value: JsonValue, tokens: int, *, cut: bool, end: list[Answer]
    ) -> list[AnyPayload]:
        """Write the answer, which ends the tree."""
        plain = isinstance(value, str) and self._wanted is None
        text = value if isinstance(value, str) else compact(value)
        branch.tree.answer(text if plain else compact(value), tokens, as_json=not plain)
        end.append(Answer(text, (), "length" if cut else "stop", self._detail()))
        events: list[AnyPayload] = [TextDelta(text=text)]
        if not fits(value, self._wanted):
            events.append(CheckFailed(name=ANSWER, detail="the answer is not of the form that was asked for"))
        metrics.working_memory_peak.observe(branch.tree.memory.peak_tokens)
        return [*events, StepCompleted(name=ANSWER, detail={ANSWER: value, **figures(branch.tree)})]

    def _list_ended(self, branch: Branch, owner: str) -> tuple[Cut, ...]:
        if branch.ending == owner:
            branch.ending = None
        return branch.tree.close_list(owner)

    def _heed(self, branch: Branch, path: str, verdict: Verdict) -> None:
        """Act on a guard: a notice in the next prompt, or the end of the list that goes in circles."""
        if verdict != "ok" and NOTICE not in branch.notes:
            branch.notes.append(NOTICE)
        if verdict == "conclude":
            branch.ending = path.rpartition(".")[0]

    async def _lost(self, branch: Branch, path: str, conclusion: str) -> tuple[str, ...]:
        """What a conclusion would lose of what its list found; long results take longer to read than the event loop may
        wait."""
        if not (self._config.verify_forgetting and self._config.prune and branch.tree.nodes[path].children):
            return ()
        found = _found_below(branch.tree, path)
        return await anyio.to_thread.run_sync(missing, found, conclusion)

    def _detail(self) -> JsonObject:
        return detail_of(self._branch.tree, self._kept, self._tool_seconds)

    def _offer(self) -> None:
        """What the answer would be if the run ended here: the conclusions of the top list, or the last one at all."""
        tree = self._branch.tree
        top = [
            record.text
            for record in tree.memory.live.values()
            if record.id == record_id(record.owner, "conclusion") and "." not in record.owner
        ]
        text = "\n\n".join(top) or self._last
        if text:
            self._ctx.offer(Answer(text, detail=self._detail()))

    async def _report(self, answer: Answer) -> None:
        """Say what the memories of the run were worth, where a verifier knows."""
        if not self._units.measured:
            return

        async def judge(step: Step) -> JsonValue:
            verdict = await self._ctx.verifiers.verify(self._work.task, answer.text)
            if verdict is not None:
                await self._units.report(step, UNIT, verdict.score, "verifier", verdict.detail)
            return None

        await self._ctx.step("verdict", judge)


def _found_below(tree: ThreadTree, path: str) -> list[str]:
    """What the tasks of a list found: the results of their tools and their conclusions, each as JSON."""
    texts = {**tree.memory.archived, **tree.memory.live}
    found: list[str] = []
    for child in tree.nodes[path].children:
        result, conclusion = texts.get(record_id(child, "result")), texts.get(record_id(child, "conclusion"))
        task: JsonObject = {} if result is None else {"tool_result": value_of(result)}
        found.append(compact({**task, "conclusion": value_of(conclusion) if conclusion is not None else ""}))
    return found


def _format_of(sampling: JsonObject) -> JsonObject | None:
    """The schema that a chat request asks for as its `response_format`."""
    asked = sampling.get("response_format")
    named = asked.get("json_schema") if isinstance(asked, dict) else None
    schema = named.get("schema") if isinstance(named, dict) else None
    return schema if isinstance(schema, dict) else None


def text_of(conclusion: JsonValue) -> str:
    return conclusion if isinstance(conclusion, str) else compact(conclusion)
