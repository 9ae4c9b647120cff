"""One call of a tree as a step of the run: made once, repaired when its reply is broken, kept inside the window.

What a step brings about is applied to the tree by the same function whether the model was asked just now or the reply
stands in the log already; its events go into the log only the first time. So a run that is picked up again builds the
same tree, asks for nothing twice and sends the same bytes. Source: tim §3.5, §5; ours.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic

from pydantic import JsonValue

from agents.base import Context, Step
from agents.tim.config import REPLY_TOKENS, TimConfig
from agents.tim.guards import relief, shorten
from agents.tim.parallel import Branch
from agents.tim.rendering import SYSTEM, compact, prompt, repair_words
from agents.tim.repairing import remaining
from agents.tim.schemas import Can, Reply, read
from agents.tim.tree import SHORTENED, cut_event, figures
from runtime.errors import ContextOverflow
from runtime.events import AnyPayload, CheckFailed, ReasoningDelta, SpanPruned, SpanRecalled, StepCompleted
from runtime.llm.base import SupportsSchema
from runtime.llm.estimate import estimate_prompt, estimate_tokens
from runtime.llm.structured import in_words
from runtime.metrics import metrics
from runtime.thread_document import value_of
from runtime.threads import ThreadTree
from runtime.types import JsonObject, JsonSchema, Message, Sampling
from runtime.working_memory import Record

REPAIRS: Final = 2
SHORT_RESULT_TOKENS: Final = 128
OVERHEAD_TOKENS: Final = 256
Do = Callable[[Step], Awaitable[JsonValue]]
Then = Callable[[Any], Awaitable[list[AnyPayload]]]


@dataclass(frozen=True, slots=True)
class Asked(Generic[Reply]):
    """What a call asks for. `cans`: what may be done, one for each kind that the task may have; `plain`: see `read`."""

    purpose: str
    words: str
    schema: JsonObject
    model: type[Reply]
    cans: Sequence[Can]
    max_tokens: int
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Said(Generic[Reply]):
    """What came back. `reply` is None after the last repair failed; `tokens` are those of the whole reply, None where the
    server did not count; `text` is the last one as it came; `ending`: only a conclusion was asked for."""

    reply: Reply | None
    tokens: int | None
    text: str
    cut: bool
    ending: bool


class Calls:
    """Makes the calls of a run. `first`: the messages that every prompt begins with. `cached`: prompt tokens that the
    server says it still had; `repeated`: an estimate of those that stood in the prompt before, for servers that do not."""

    def __init__(self, ctx: Context, config: TimConfig, first: Sequence[Message]) -> None:
        self._ctx = ctx
        self._config = config
        self._first = first
        self._binds: bool | None = None
        self.cached = 0
        self.repeated = 0

    async def step(self, branch: Branch, key: str, do: Do, then: Then) -> JsonValue:
        """Do a step and apply what it brought; its events are committed with it."""
        applied = False

        async def work(step: Step) -> JsonValue:
            nonlocal applied
            waited = [*branch.waiting]
            for payload in waited:
                await step.emit(payload)
            branch.waiting.clear()
            output = await do(step)
            applied = True
            brought = await then(output)
            for payload in brought:
                await step.emit(payload)
            _count([*waited, *brought])
            await step.emit(StepCompleted(name=key, detail=figures(branch.tree)))
            return output

        output = await self._ctx.step(key, work)
        if not applied:
            branch.waiting.clear()
            await then(output)
        return output

    async def say(
        self,
        branch: Branch,
        key: str,
        make: Callable[[bool], Asked[Reply]],
        then: Callable[[Said[Reply]], Awaitable[list[AnyPayload]]],
    ) -> None:
        """Ask for a piece of the tree and apply it. `make` is told whether nothing but a conclusion may be asked for.

        Raises `ContextOverflow` when not even that fits the window, and as `Step.ask` does.
        """
        asked, ending = self._fitting(branch, make)
        branch.notes.clear()
        kept: JsonObject = {}
        broken = ""
        tries: Counter[str] = Counter()
        done = False
        while not done:
            number = tries.total()
            schema, words = asked.schema, asked.words
            if number:
                schema = remaining(asked.schema, kept) if kept else asked.schema
                properties = schema.get("properties")
                names = [*properties] if isinstance(properties, dict) else [broken]
                words = repair_words(words, broken, kept, names)
            wire = JsonSchema(asked.purpose.replace(".", "_"), schema)
            messages = prompt(self._first, branch.tree, words)
            text = "".join(message.text for message in messages)
            self.repeated += estimate_tokens(text[: _shared(branch.sent, text)])
            branch.sent = text

            async def apply(raw: Any) -> list[AnyPayload]:
                nonlocal kept, broken, done
                spent = estimate_tokens(raw["text"]) if raw["tokens"] is None else raw["tokens"]
                branch.output_left -= spent
                self.cached += raw.get("cached", 0)  # runs of earlier releases do not have it
                got = read(
                    raw["text"],
                    raw["finish"],
                    asked.model,
                    asked.schema,
                    kept=kept,
                    cans=asked.cans,
                    plain=asked.plain,
                    capped=raw["finish"] == "length" and spent >= asked.max_tokens,
                )
                kept, broken = got.kept, got.broken
                failed: list[AnyPayload] = []
                if got.reply is None:
                    tries[broken] += 1
                    how = "was cut off" if raw["finish"] == "length" else "does not fit"
                    failed.append(CheckFailed(name=key, detail=f"the reply {how} in the field {broken!r}"))
                    if tries[broken] <= REPAIRS:
                        return failed
                done = True
                said = Said(got.reply, raw["tokens"], raw["text"], raw["finish"] == "length", ending)
                return [*failed, *await then(said)]

            ask = partial(self._ask, asked=asked, messages=messages, schema=wire)
            await self.step(branch, key if not number else f"{key}.repair{number}", ask, apply)

    async def _ask(self, step: Step, *, asked: Asked[Reply], messages: list[Message], schema: JsonSchema) -> JsonValue:
        if self._binds is None:
            llm = self._ctx.llm
            self._binds = isinstance(llm, SupportsSchema) and await llm.binds_schema()
        reply = await step.ask(
            asked.purpose,
            messages if self._binds else in_words(messages, schema),
            sampling=self.sampling(asked.max_tokens),
            schema=schema if self._binds else None,
            prompt=SYSTEM,
        )
        if reply.reasoning:
            await step.emit(ReasoningDelta(text=reply.reasoning + "\n"))
        written = reply.usage.completion_tokens - reply.usage.reasoning_tokens
        return {
            "text": reply.text,
            "finish": reply.finish_reason,
            "tokens": None if reply.estimated else written,
            "cached": reply.usage.cached_tokens,
        }

    def sampling(self, max_tokens: int) -> Sampling:
        """How the model of the run samples."""
        wanted: Any = self._ctx.spec.sampling
        return Sampling(
            temperature=self._config.temperature if wanted.get("temperature") is None else wanted["temperature"],
            top_p=self._config.top_p if wanted.get("top_p") is None else wanted["top_p"],
            max_tokens=max_tokens,
            seed=self._ctx.seed,
        )

    def _fitting(self, branch: Branch, make: Callable[[bool], Asked[Reply]]) -> tuple[Asked[Reply], bool]:
        """What is asked, after the measures that the window demands; they are told with the next step.

        A last conclusion may use the room that is kept free for replies, as far as its own reply leaves it.
        """
        tree = branch.tree
        ending = branch.output_left <= 0
        while True:
            asked = make(ending)
            limit = self._config.live_limit + (max(0, REPLY_TOKENS - asked.max_tokens) if ending else 0)
            live = max(estimate_prompt(prompt(self._first, tree, asked.words)), tree.memory.live_tokens)
            long = long_result(tree, lambda record: estimate_tokens(record.text))
            measure = relief(
                live,
                limit,
                has_stack=bool(tree.queue),
                has_long_results=long is not None,
                forced=ending,
            )
            match measure:
                case "prune_all":
                    branch.waiting += [cut_event(tree, cut) for cut in tree.prune_all("window")]
                case "shorten":
                    assert long is not None
                    text = short_form(long)
                    tokens = min(long.tokens, estimate_tokens(text))
                    branch.waiting.append(shortened(tree, long.owner, text, tokens))
                case "conclude":
                    ending = True
                    detail = f"{live} tokens are live, {limit} fit: the open task must conclude"
                    branch.waiting.append(CheckFailed(name="window", detail=detail))
                case "overflow":
                    raise overflow(live, limit)
                case _:
                    return asked, ending


def overflow(live: int, limit: int) -> ContextOverflow:
    """Nothing more can be taken out."""
    return ContextOverflow(
        f"the open path of the tree alone has {live} tokens, and {limit} fit; the tree so far is in the log. Raise max_live "
        "if the model's window allows it, or ask for less at once"
    )


def long_result(tree: ThreadTree, tokens: Callable[[Record], int]) -> Record | None:
    """The oldest live tool result that is worth shortening."""
    results = (record for record in tree.memory.live.values() if record.kind == "result")
    return next((record for record in results if tokens(record) > 2 * SHORT_RESULT_TOKENS), None)


def short_form(record: Record) -> str:
    """Head and tail of a tool result, as JSON."""
    value = value_of(record)
    return compact(shorten(value if isinstance(value, str) else record.text, SHORT_RESULT_TOKENS, estimate_tokens))


def shortened(tree: ThreadTree, path: str, text: str, tokens: int) -> SpanPruned:
    """Put the short form of a tool result in its place; what the log says of it."""
    cut = tree.shorten(path, "result", text, tokens, why=SHORTENED)
    return SpanPruned(
        tokens=cut.tokens - tokens,
        path=path,
        detail={"why": SHORTENED, "ids": [*cut.ids], "tail": cut.tail, **figures(tree)},
    )


def _shared(before: str, text: str) -> int:
    """Characters that both begin with."""
    return bisect_left(range(1, min(len(before), len(text)) + 1), True, key=lambda size: before[:size] != text[:size])


def _count(payloads: Sequence[AnyPayload]) -> None:
    """Count what the events of a finished step tell of working memory."""
    for payload in payloads:
        if isinstance(payload, SpanPruned):
            metrics.working_memory_tokens.labels("pruned").inc(payload.tokens)
            metrics.working_memory_tokens.labels("reencoded").inc(int(str(payload.detail.get("tail", 0))))
        elif isinstance(payload, SpanRecalled):
            metrics.working_memory_tokens.labels("recalled").inc(payload.tokens)
