"""The tree written in place, as one document of one session; the calls are pieces of its text.

    {"reasoning":[{"thought":"…","tooluse":{"tool_name":"…","parameters":…,"tool_result":…},"subtasks":[…],
    "conclusion":"…"}],"answer":"…"}

The program writes what has no alternative; the model writes texts, parameters and choices, each bound to an expression
that ends where the program goes on (agents/tim/grammar.py). So a tool result is an encoded value that nothing can break
out of, a cut takes whole tokens, and every field has its exact count. A prompt is never built again: what the model has
written stays as the ids that it chose. Every piece is a step; a run that is picked up again puts the ids back and goes on
behind them.

What differs from the steps: titles are written in typed trees only; subtasks come one after the other; a notice of the
guards stands at the beginning of the next thought; what a conclusion would lose is put behind it. A list stays in view
until its bracket is written. Source: tim §3.1-3.4, §5, §8; ours.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, ClassVar, Final

from pydantic import JsonValue

from agents.base import Answer, Step
from agents.graphs import Work
from agents.tim import grammar
from agents.tim.calls import long_result, overflow, short_form, shortened
from agents.tim.config import REPLY_TOKENS, TimConfig
from agents.tim.growing import PARAMETER_TOKENS, Grower
from agents.tim.guards import min_conclusion, relief
from agents.tim.parallel import Branch
from agents.tim.rendering import STREAM, compact, shown
from agents.tim.repairing import NO_THOUGHT, UNPARSABLE
from agents.tim.schemas import Can, Conclude, Descend, UseTool
from agents.tim.tree import ANSWER, cut_event, figures
from agents.tim.typed import TypedTree
from agents.tim.writing import Document, Piece
from runtime.errors import InvalidInput
from runtime.events import AnyPayload, CheckFailed, ReasoningDelta, TaskOpened
from runtime.llm.base import LLM, CallInfo
from runtime.llm.sessions import SupportsSessions
from runtime.prompts import PromptFile
from runtime.threads import ThreadTree
from runtime.types import JsonObject, Message

CHOICE_TOKENS: Final = 96
Then = Callable[[str, int], Awaitable[list[AnyPayload]]]


async def stream_answer(work: Work) -> JsonObject:
    """Grow the tree in one stream and answer. Raises `InvalidInput` for a model without sessions, and as the executor."""
    config = work.ctx.config
    assert isinstance(config, TimConfig)
    llm = with_sessions(work.ctx.llm)
    stream = await Streamed.open(work, config)
    async with llm.session(stream.prompt, info=CallInfo("tim.open", work.ctx.run_id)) as session:
        stream.use(Document(session, work.ctx.run_id, stream.prompt, retry=work.ctx.retry))
        return await stream.run()


def with_sessions(llm: LLM) -> SupportsSessions:
    """The model as one that has sessions. Raises `InvalidInput` for one that has none."""
    if isinstance(llm, SupportsSessions):
        return llm
    raise InvalidInput(
        f"mode 'stream': the model {llm.ref!r} is served without sessions of token ids; expected our own engine or a "
        "vLLM server named as 'vllm/<model>'. Use mode 'steps'",
        param="config.mode",
    )


class Streamed(Grower):
    """Grows the tree of one run in one document."""

    rules: ClassVar[PromptFile] = STREAM
    _text: Document

    @property
    def prompt(self) -> list[Message]:
        """The messages that the document follows. What the caller says of kinds of tasks stands at the end of the rules:
        there is no later place for it."""
        rules, *request = self._first
        kinds = TypedTree.parse(self._config.tree).kinds if self._config.tree is not None else {}
        hints = [f"- {name}: {kind.hint}" for name, kind in kinds.items() if kind.hint]
        if hints:
            said = "\n".join(["The title of a task is its kind. What a task of a kind is about:", *hints])
            rules = Message("system", f"{rules.text}\n\n{said}")
        return [rules, *request]

    def use(self, text: Document) -> None:
        """Write into this document, which is empty."""
        config, self._text = self._config, text
        self._branch.tree = ThreadTree(
            prompt_tokens=text.live, k=config.k, prune_at=config.prune_at, policy=config.policy, prune=config.prune
        )

    async def run(self) -> JsonObject:
        """See `Grower`."""
        await self._text.put('{"reasoning":[')
        answer = await super().run()
        session = self._text.session
        detail = answer.setdefault("detail", {})
        assert isinstance(detail, dict)
        detail["session"] = {"backend": session.backend, **asdict(session.counts)}
        memory = detail.get("working_memory")
        assert isinstance(memory, dict)
        memory["blocks"] = session.counts.blocks
        return answer

    # -- the four places -----------------------------------------------------------------------------------------------

    async def _open(self, branch: Branch, path: str, title: str | None) -> UseTool | Descend | bool:
        ending = await self._fit(branch)
        cans = self._places.opening(branch, path, alone=False, ending=ending)
        await self._text.put("{")
        kind, title_tokens = await self._kind(branch, path, [can.kind for can in cans])
        name = self._places.named(path, kind, "")
        notice = "".join(f"{note} " for note in branch.notes)
        branch.notes.clear()
        await self._text.put('"thought":"' + _inner(notice))

        async def thought(said: str, tokens: int) -> list[AnyPayload]:
            tree, own = branch.tree, grammar.literal(said)
            text = notice + own
            opened = tree.open(path.rpartition(".")[0] or None)
            assert opened == path
            if name:
                tree.write(path, "title", name, title_tokens)
            tree.write(path, "thought", text, tokens)
            self._heed(branch, path, branch.guards.note_thought(own))
            detail: JsonObject = {"thought": text, "tokens": title_tokens + tokens, **({"kind": kind} if kind else {})}
            heading = f"[{path} {name}]" if name else f"[{path}]"
            return [
                TaskOpened(path=path, title=name, detail={**detail, **figures(tree)}),
                ReasoningDelta(text=f"{heading} {text}\n"),
            ]

        piece = Piece("tim.open", grammar.text(), NO_THOUGHT + '"', string=True)
        await self._piece(branch, f"{path}.thought", piece, self._most(self._config.thought_tokens), thought)
        can = self._places.can(branch, path, kind, alone=False, ending=ending)
        return await self._act(branch, path, "tim.open", can, f"{path}.action")

    async def _after_tool(self, branch: Branch, path: str, *, alone: bool) -> Descend | bool:
        await self._text.put("}")
        ending = await self._fit(branch)
        can = self._places.after_tool(branch, path, alone=False, ending=ending)
        action = await self._act(branch, path, "tim.after_tool", can, f"{path}.after_tool")
        assert not isinstance(action, UseTool)
        return action

    async def _after_list(self, branch: Branch, path: str, *, alone: bool) -> bool:
        ending = await self._fit(branch)
        can = self._places.after_list(branch, path, alone=False, ending=ending)
        await self._text.put(grammar.CONCLUSION)
        return await self._conclude(branch, path, "tim.after_list", can)

    async def _answer(self, branch: Branch) -> JsonObject:
        await self._fit(branch)
        limit = self._ctx.spec.sampling.get("max_tokens")
        room = limit if isinstance(limit, int) else REPLY_TOKENS
        end: list[Answer] = []
        if self._wanted is None:
            await self._text.put(',"answer":"')
            piece = Piece("tim.answer", grammar.text(), _inner(self._last or NO_THOUGHT) + '"', string=True)
        else:
            await self._text.put(',"answer":')
            piece = Piece("tim.answer", grammar.value(self._wanted), "null")

        async def answer(said: str, tokens: int) -> list[AnyPayload]:
            value: JsonValue = grammar.literal(said) if self._wanted is None else json.loads(said)
            return self._answered(branch, value, tokens, cut=False, end=end)

        await self._piece(branch, ANSWER, piece, room, answer)
        await self._text.put("}")
        await self._report(end[0])
        return end[0].to_json()

    # -- pieces --------------------------------------------------------------------------------------------------------

    async def _act(self, branch: Branch, path: str, purpose: str, can: Can, key: str) -> UseTool | Descend | bool:
        """What a task does next."""
        tools = {grammar.tool(tool.name): tool for tool in can.tools}
        options = [
            *([grammar.CONCLUSION] if can.conclude else []),
            *([grammar.SUBTASKS] if can.descend else []),
            *tools,
        ]
        chosen = await self._choose(branch, key, purpose, options)
        if chosen == grammar.CONCLUSION:
            return await self._conclude(branch, path, purpose, can)
        if chosen == grammar.SUBTASKS:
            branch.tree.open_list(path)
            self._text.begin(path)
            return Descend(kind="descend")
        name = tools[chosen].name
        use: list[UseTool] = []

        async def parameters(said: str, tokens: int) -> list[AnyPayload]:
            made = UseTool(kind="tool", tool_name=name, parameters=json.loads(said))
            branch.tree.tool(path, name)
            branch.tree.write(path, "parameters", compact(made.parameters), tokens)
            owner = path.rpartition(".")[0]
            self._heed(branch, path, branch.guards.note_tool(owner, name, made.parameters))
            use.append(made)
            return []

        piece = Piece(purpose, grammar.value(tools[chosen].parameters), "{}")
        await self._piece(branch, f"{path}.parameters", piece, self._most(PARAMETER_TOKENS), parameters)
        await self._text.put(grammar.RESULT)
        return use[0]

    async def _conclude(self, branch: Branch, path: str, purpose: str, can: Can) -> bool:
        """The conclusion of a task, and whether its list goes on."""
        schema, owner = can.conclusion_schema, path.rpartition(".")[0]
        least = min_conclusion(any(branch.tree.nodes[each].tool for each in branch.tree.nodes[path].children))
        if schema is None:
            await self._text.put('"')
            piece = Piece(purpose, grammar.text(least), UNPARSABLE + '"', string=True)
        else:
            piece = Piece(purpose, grammar.value(schema), compact(UNPARSABLE))
        start, said, count = self._text.live, "", 0
        done: list[UseTool | Descend | bool] = []

        def close(more: bool) -> list[AnyPayload]:
            value: JsonValue = grammar.literal(said) if schema is None else json.loads(said)
            reply = Conclude(kind="conclude", conclusion=value, more=more)
            return self._concluded(branch, path, can, reply, count, alone=False, done=done)

        async def conclusion(text: str, tokens: int) -> list[AnyPayload]:
            nonlocal said, count
            said, count = text, tokens
            told: list[AnyPayload] = []
            lost = await self._lost(branch, path, grammar.literal(text)) if schema is None else ()
            if lost:
                said = f'{text[:-1]} {_inner("Also: " + "; ".join(lost))}"'
                count = await self._text.rewrite(start, text, said)
                told.append(CheckFailed(name=f"{path}.conclusion", detail=compact({"missing": [*lost]})))
            return told if can.more is None else [*told, *close(can.more)]

        await self._piece(branch, f"{path}.conclusion", piece, self._most(self._config.conclusion_tokens), conclusion)
        await self._text.put("}")
        before = self._text.live
        if can.more is None:

            async def goes_on(said: str, tokens: int) -> list[AnyPayload]:
                return close(said == ",")

            await self._piece(
                branch, f"{path}.more", Piece(purpose, grammar.one_of(["]", ","]), "]"), CHOICE_TOKENS, goes_on
            )
        else:
            await self._text.put("," if can.more else "]")
        more = bool(done[0])
        if not more and owner:
            self._text.end(owner, before)
        self._text.forget(branch.tree.nodes)
        return more

    async def _kind(self, branch: Branch, path: str, kinds: list[str]) -> tuple[str, int]:
        """The kind of a task of a typed tree, written as its title, and the tokens of it; nothing in a free tree."""
        if not any(kinds):
            return "", 0
        options = {f"{compact(kind)},": kind for kind in kinds}
        start = (await self._text.put('"title":')).end
        kind = options[await self._choose(branch, f"{path}.kind", "tim.open", [*options])]
        return kind, self._text.live - start

    async def _choose(self, branch: Branch, key: str, purpose: str, options: list[str]) -> str:
        """One of several literal texts; where there is only one, nobody is asked."""
        if len(options) == 1:
            await self._text.put(options[0])
            return options[0]
        chosen: list[str] = []

        async def then(said: str, tokens: int) -> list[AnyPayload]:
            chosen.append(said)
            return []

        await self._piece(branch, key, Piece(purpose, grammar.one_of(options), options[0]), CHOICE_TOKENS, then)
        return chosen[0]

    async def _piece(self, branch: Branch, key: str, piece: Piece, max_tokens: int, then: Then) -> None:
        """One piece as a step of the run; `then` gets its text and its tokens."""
        fresh = False

        async def do(step: Step) -> JsonValue:
            nonlocal fresh
            written = await self._text.write(step, piece, self._calls.sampling(max_tokens), rules=STREAM)
            fresh = True
            return written

        async def apply(output: Any) -> list[AnyPayload]:
            if not fresh:
                self._text.again(output)
            branch.output_left -= output["spent"]
            return await then(output["text"], len(output["ids"]))

        await self._calls.step(branch, key, do, apply)

    async def _placed(self, path: str, result: JsonValue) -> int:
        return await self._text.put_result(path, shown(result))

    # -- the window ----------------------------------------------------------------------------------------------------

    @property
    def _limit(self) -> int:
        window = self._text.session.window
        return min(self._config.live_limit, window - min(REPLY_TOKENS, window // 4))

    def _most(self, tokens: int) -> int:
        """The tokens that a text may have: not more than half of what the window leaves, or what must follow it would find
        no place."""
        return max(1, min(tokens, (self._text.session.window - self._text.live) // 2))

    async def _fit(self, branch: Branch) -> bool:
        """Make room; says whether nothing but a conclusion may be asked for. Raises `ContextOverflow`."""
        tree, room = branch.tree, self._text.session.window - self._limit
        while True:
            live, long = self._text.live, long_result(tree, lambda record: record.tokens)
            measure = relief(
                live,
                self._limit,
                has_stack=bool(tree.queue),
                has_long_results=long is not None,
                forced=live > self._limit + min(REPLY_TOKENS, room) // 2,
            )
            match measure:
                case "prune_all":
                    branch.waiting += [cut_event(tree, cut) for cut in tree.prune_all("window")]
                    self._text.forget(tree.nodes)
                case "shorten":
                    assert long is not None
                    text = short_form(long)
                    tokens = await self._text.shorten(long.owner, shown(json.loads(text)))
                    branch.waiting.append(shortened(tree, long.owner, text, tokens))
                case "conclude":
                    said = f"{live} tokens are live, {self._limit} fit: the open task must conclude"
                    branch.waiting.append(CheckFailed(name="window", detail=said))
                    return True
                case "overflow":
                    raise overflow(live, self._limit)
                case _:
                    return branch.output_left <= 0


def _inner(text: str) -> str:
    """A text as it stands inside a JSON string of the document."""
    return shown(text)[1:-1]
