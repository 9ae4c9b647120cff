"""A document that grows in place in a session: what is put there, what the model writes there, what is cut out.

Where the lists of subtasks lie is kept here, as positions of tokens, so that exactly the interior of one can be cut and the
live text stays JSON up to where it is written. A piece that the model writes is checked by the expression it was bound to;
one that was cut off, or came from a server that binds nothing, is mended and encoded anew, and the log says so.
Source: tim §3.2, §3.3, §5, §8; ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from agents.base import Step
from agents.tim import grammar
from agents.tim.repairing import close_string
from runtime.events import CheckFailed, ReasoningDelta
from runtime.llm.base import CallInfo
from runtime.llm.sessions import Bound, Session, Span
from runtime.prompts import PromptFile
from runtime.retry import RetryPolicy
from runtime.thread_outline import Node
from runtime.types import Message, Sampling

NO_RETRY: Final = RetryPolicy(0, 0.0)


@dataclass(frozen=True, slots=True)
class Piece:
    """What the model is to write. `default` stands in the place of one that cannot be mended. `string`: it is the rest of
    a string, and what came of it counts although it was cut off."""

    purpose: str
    pattern: str
    default: str
    string: bool = False


class Document:
    """The live text of one run."""

    def __init__(self, session: Session, run_id: str, prompt: list[Message], *, retry: RetryPolicy = NO_RETRY) -> None:
        self.session = session
        self._retry = retry
        self._run_id = run_id
        self._prompt = prompt
        self._lists: dict[str, Span | int] = {}
        self._results: dict[str, Span] = {}

    @property
    def live(self) -> int:
        """Live tokens, the prompt's among them."""
        return len(self.session.ids)

    async def put(self, text: str) -> Span:
        """Write a text at the end."""
        return self.session.append(await self._encode(text))

    async def put_result(self, path: str, text: str) -> int:
        """Write the result of a tool; gives its tokens."""
        span = await self.put(text)
        self._results[path] = span
        return span.end - span.start

    async def _encode(self, text: str) -> tuple[int, ...]:
        """The ids of a text, from a server that may be restarting."""
        async for attempt in self._retry.attempts():
            with attempt:
                return await self.session.encode(text)
        raise AssertionError("the last attempt returns or raises")

    def begin(self, owner: str) -> None:
        """The list of a task begins here, behind its bracket."""
        self._lists[owner] = self.live

    def end(self, owner: str, at: int) -> None:
        """The list ends at a position, before its bracket."""
        start = self._lists[owner]
        assert isinstance(start, int)
        self._lists[owner] = Span(start, at)

    def forget(self, nodes: Mapping[str, Node]) -> None:
        """Cut out the interior of every list that the tree has pruned."""
        for owner, node in nodes.items():
            span = self._lists.get(owner)
            if node.list_pruned and isinstance(span, Span):
                self.session.cut(span)
                self._moved(span, 0)
                del self._lists[owner]

    async def shorten(self, path: str, text: str) -> int:
        """Put a shorter text in the place of a result; gives its tokens."""
        old, new = self._results[path], await self._encode(text)
        behind = self.session.ids[old.end :]
        self.session.cut(old)
        self.session.cut(Span(old.start, self.live))
        self.session.append((*new, *behind))
        self._moved(old, len(new))
        self._results[path] = Span(old.start, old.start + len(new))
        return len(new)

    async def write(
        self, step: Step, piece: Piece, sampling: Sampling, *, rules: PromptFile | None = None
    ) -> dict[str, JsonValue]:
        """Let the model write a piece: its text, its ids as they stand in the session, and what it cost."""
        info, bound, start = CallInfo(piece.purpose, self._run_id), Bound(regex=piece.pattern), self.live
        reply = await step.ask(
            piece.purpose,
            self._prompt,
            sampling=sampling,
            prompt=rules,
            via=lambda capped: self.session.stream(info=info, sampling=capped, bound=bound),
        )
        if reply.reasoning:
            await step.emit(ReasoningDelta(text=reply.reasoning + "\n"))
        text = reply.text
        if re.fullmatch(piece.pattern, text) is None:
            how = "was cut off" if reply.finish_reason == "length" else "does not fit"
            await step.emit(CheckFailed(name=step.key, detail=f"the piece {how}; it was mended"))
            text = _mended(text, piece)
            await self.rewrite(start, reply.text, text)
        ids: list[JsonValue] = [*self.session.ids[start:]]
        return {"text": text, "ids": ids, "spent": reply.usage.completion_tokens}

    async def rewrite(self, start: int, was: str, text: str) -> int:
        """Put a text in the place of what was written since `start`; what both begin with keeps its ids when that is all
        that was there. Gives its tokens."""
        if text.startswith(was):
            await self.put(text[len(was) :])
        else:
            self.session.cut(Span(start, self.live))
            await self.put(text)
        return self.live - start

    def again(self, output: Mapping[str, Any]) -> None:
        """Put back what was written in an earlier execution of the run."""
        self.session.append(output["ids"])

    def _moved(self, cut: Span, left: int) -> None:
        """Positions after a cut of which `left` tokens came in its place; what lay inside is gone."""
        by = cut.end - cut.start - left

        def at(position: int) -> int:
            return position - by if position >= cut.end else position

        for owner, place in list(self._lists.items()):
            if isinstance(place, int):
                self._lists[owner] = at(place)
            elif cut.start <= place.start and place.end <= cut.end and place != cut:
                del self._lists[owner]
            else:
                self._lists[owner] = Span(at(place.start) if place.start >= cut.end else place.start, at(place.end))
        for path, place in list(self._results.items()):
            if cut.start <= place.start and place.end <= cut.end:
                del self._results[path]
            else:
                self._results[path] = Span(at(place.start), at(place.end))


def _mended(text: str, piece: Piece) -> str:
    if piece.string:
        whole = re.match(f"{grammar.CHAR}*", text)
        said = close_string(f'"{whole.group()}')[1:] if whole is not None and whole.group() else ""
        if re.fullmatch(grammar.text(), said):
            return said
    return piece.default
