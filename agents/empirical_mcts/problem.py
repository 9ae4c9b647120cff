"""One question as a search sees it: makes answers, has them judged, learns from what the judge says.

Every model call is a step of the run with a key of its own (`node.3`, `judge.3.1`, `learn.3`), so a run that is picked up
again walks through what it has done without a call and goes on. `search` decides which call comes next.
Source: empirical_mcts §3.1, §3.2, §3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

from pydantic import JsonValue

from agents.base import Step
from agents.empirical_mcts.config import EmpiricalMCTSConfig
from agents.empirical_mcts.experiences import Experiences, Shown
from agents.empirical_mcts.judging import MAX_TOKENS, Case, Side, judge
from agents.empirical_mcts.prompting import (
    GENERATE,
    MAX_BLOCK_TOKENS,
    MERGE,
    REFINE,
    block,
    contract_of,
    cut,
    fit,
    placed,
    question_text,
)
from agents.empirical_mcts.tracing import Trace, unit_of
from agents.graphs import Work
from agents.memory_block import block as memory_block
from agents.memory_block import placed as with_memories
from agents.sampling import sampling_of
from agents.thinking import visible
from runtime.errors import MalformedReply, ModelError
from runtime.events import StepCompleted
from runtime.types import JsonObject, Sampling
from search.base import Evaluation, Expansion, Made
from search.tree import Node, Tree

GENERATION_TRIES: Final = 6
MAX_FINAL_CHARS: Final = 500


class Question:
    """See `search.base.Problem`."""

    def __init__(
        self, work: Work, config: EmpiricalMCTSConfig, prompt: str, experiences: Experiences, trace: Trace
    ) -> None:
        self._work = work
        self._config = config
        self._prompt = prompt
        self._experiences = experiences
        self._trace = trace
        self._question = question_text(work.task)
        self._contract = contract_of(work.task)
        self._shown: dict[int, Shown] = {}
        self._lessons: dict[int, list[str]] = {}

    @property
    def lessons(self) -> list[str]:
        """All lessons of the search, in order."""
        return list(dict.fromkeys(lesson for lessons in self._lessons.values() for lesson in lessons))

    # -- answers -------------------------------------------------------------------------------------------------------

    async def root(self) -> Made:
        """Its evolved prompt is the one that made it. Raises `ModelError` when there is no first answer."""
        made: Any = await self._made(0, self._prompt, "", [])
        if "failed" in made:
            raise MalformedReply(f"the first answer failed: {made['failed']}")
        return self._as_made(made, {"evolved_prompt": self._prompt})

    async def expand(self, tree: Tree, node: Node, how: Expansion) -> Made | None:
        """An answer made from the evolved prompt of a node; for a new start from that of the champion."""
        number = len(tree.nodes)
        prompt = str(node.data.get("evolved_prompt") or node.data["gen_prompt"])
        lessons = [lesson for each in how.lessons for lesson in self._lessons.get(each, [])]
        made: Any = await self._made(number, prompt, self._more(tree, how), list(dict.fromkeys(lessons)))
        if "failed" in made:
            return Made("", data={"gen_prompt": prompt, "failed": made["failed"]}, status="gen_failed")
        return self._as_made(made, {})

    def _more(self, tree: Tree, how: Expansion) -> str:
        if how.kind == "merge" and how.parent is not None and how.other is not None:
            first, second = tree.node(how.parent).answer, tree.node(how.other).answer
            return MERGE.render(first=cut(first), second=cut(second))
        if how.kind == "child" and how.parent is not None and self._config.expansion == "refine":
            return REFINE.render(answer=cut(tree.node(how.parent).answer), critique=_critique(tree, how.parent))
        return ""

    async def _made(self, number: int, prompt: str, more: str, lessons: Sequence[str]) -> JsonValue:
        shown = await self._experiences.shown(number)
        self._shown[number] = shown

        async def make(step: Step) -> JsonValue:
            return await self._make(step, number, prompt, more, lessons)

        return await self._trace.step(unit_of(number), make)

    async def _make(self, step: Step, number: int, prompt: str, more: str, lessons: Sequence[str]) -> JsonObject:
        work, shown = self._work, self._shown[number]
        messages = placed(work.task, prompt, self._block(shown, lessons), more)
        messages = with_memories(messages, memory_block(shown.others))
        text, failed = "", "it wrote nothing"
        for attempt in range(GENERATION_TRIES):
            try:
                reply = await step.ask(
                    "empirical_mcts.generate",
                    messages,
                    sampling=self._sampling(number + attempt * (self._config.rollouts + 1)),
                    show="reasoning",
                    prompt=GENERATE,
                )
            except ModelError as error:
                failed = error.message
                if number == 0:
                    raise
                break
            if text := visible(reply.text):
                break
        if not text:
            await step.emit(StepCompleted(name=step.key, detail={"failed": failed}))
            return {"failed": failed}
        final = await work.ctx.verifiers.canonical(work.task, text)
        verdict = await work.ctx.verifiers.verify(work.task, text)
        told: JsonObject = {"canonical": final, "verdict": verdict.detail if verdict else None}
        if verdict is not None and shown.units.measured:
            await shown.units.report(step, step.key, verdict.score, "verifier", told)
        else:
            await step.emit(StepCompleted(name=step.key, score=verdict.score if verdict else None, detail=told))
        return {
            "text": text,
            "final": final if final is not None and len(final) <= MAX_FINAL_CHARS else None,
            "objective": verdict.score if verdict else None,
            "verdict": verdict.detail if verdict else None,
            "finish_reason": reply.finish_reason,
            "model": reply.model,
            "gen_prompt": prompt,
        }

    def _as_made(self, made: dict[str, Any], more: JsonObject) -> Made:
        kept = {name: made[name] for name in ("gen_prompt", "model", "finish_reason", "verdict")}
        return Made(made["text"], made["final"], made["objective"], {**kept, **more})

    def _block(self, shown: Shown, lessons: Sequence[str]) -> str:
        lines = [*(cube.content for cube in shown.experiences), *lessons]
        limit = MAX_BLOCK_TOKENS if self._config.retrieval().robust else None
        return block(lines, max_tokens=limit)

    # -- judgements ----------------------------------------------------------------------------------------------------

    async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
        """Judge the child beside the opponent; its evolved prompt is what the judge wrote, or else its own."""

        async def ask(step: Step) -> JsonValue:
            return await self._judge(step, child, opponent)

        said: Any = await self._trace.step(f"judge.{child.id}.{opponent.id}", ask)
        if said is None:
            return None
        lessons = self._lessons.setdefault(child.id, [])
        lessons += [lesson for lesson in said["data"]["lessons"] if lesson not in lessons]
        # A second opinion that writes no prompt leaves the one of the first.
        before = child.data.get("evolved_prompt") or child.data["gen_prompt"]
        evolved = fit(said["data"]["new_prompt"], self._contract) or before
        return Evaluation(
            said["s_child"], said["s_opponent"], said["swapped"], said["data"], {"evolved_prompt": evolved}
        )

    async def _judge(self, step: Step, child: Node, opponent: Node) -> JsonValue:
        ctx, shown = self._work.ctx, self._shown[child.id]
        case = Case(
            self._question,
            self._block(shown, []),
            Side(str(child.data["gen_prompt"]), child.answer),
            Side(str(opponent.data["gen_prompt"]), opponent.answer),
            swapped=Random(f"{ctx.seed} swap {child.id} {opponent.id}").random() < 0.5,
            dual_order=self._config.dual_order,
        )
        sampling = Sampling(
            temperature=self._config.temperature,
            top_p=self._config.top_p,
            seed=ctx.seed + child.id,
            max_tokens=MAX_TOKENS,
        )
        said = await judge(step, case, sampling)
        if said is None:
            await step.emit(StepCompleted(name=step.key, detail={"failed": "no usable judgement"}))
            return None
        margin = said.s_child - said.s_opponent
        if child.objective is None:
            # Without a checker the comparison is all that is known of how well the memories served this answer.
            outcome = 0.5 if margin == 0 else float(margin > 0)
            await shown.units.report(step, unit_of(child.id), outcome, "judge", {"against": opponent.id})
        scores: JsonObject = {"child": said.s_child, "opponent": said.s_opponent, "swapped": said.swapped}
        await step.emit(StepCompleted(name=step.key, detail=scores))
        return {"s_child": said.s_child, "s_opponent": said.s_opponent, "swapped": said.swapped, "data": said.data}

    async def learn(self, tree: Tree, child: Node, evaluations: Sequence[Evaluation]) -> None:
        """Have the new lessons taken in now, unless all of the search are taken in at its end."""
        if self._config.memory_when == "comparison":
            await self._experiences.learn(str(child.id), child.id, self._lessons.get(child.id, []))

    def _sampling(self, seed: int) -> Sampling:
        spec = self._work.ctx.spec
        asked = sampling_of(spec, temperature=self._config.temperature, seed=self._work.ctx.seed + seed)
        return asked if asked.top_p is not None else replace(asked, top_p=self._config.top_p)


def _critique(tree: Tree, node: int) -> str:
    said = [comparison.data.get("critique") for comparison in tree.comparisons if comparison.child == node]
    return str(said[-1]) if said else "none"
