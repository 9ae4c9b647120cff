"""How `/v1/responses` says what happens: the event sequence of a stream, and the response object.

Items open and close in order, every event is numbered, and what was streamed is what the final object holds. Source:
OpenAI API.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from agents.live import LiveRun
from api.answers import json_bytes
from api.openai.replies import Ended, usage_body
from runtime.errors import MnemeError
from runtime.events import AnyPayload, ReasoningDelta, TextDelta
from runtime.llm.base import Chunk, ToolCallDelta
from runtime.types import ToolCall

Kind = Literal["reasoning", "message"]
PREFIX: Mapping[Kind, str] = {"reasoning": "rs", "message": "msg"}


class ResponseVoice:
    """One response; `asked` are the fields of the request that the object repeats."""

    def __init__(self, live: LiveRun, asked: Mapping[str, Any]) -> None:
        self._live = live
        self._asked = asked
        self._made = int(time.time())
        self._number = 0
        self._items: list[dict[str, Any]] = []
        self._open: Kind | None = None
        self._text: list[str] = []
        self._calls: dict[int, _Call] = {}

    def begin(self) -> bytes:
        begun = self._response("in_progress")
        # What is to come was numbered while the stream waited for its first word.
        return _frame("response.created", -2, response=begun) + _frame("response.in_progress", -1, response=begun)

    def say(self, piece: AnyPayload | Chunk) -> bytes:
        match piece:
            case TextDelta(text=text):
                return self._delta("message", text)
            case ReasoningDelta(text=text):
                return self._delta("reasoning", text)
            case Chunk(tool_calls=calls):
                return b"".join([self._call_delta(call) for call in calls])
            case _:
                return b""

    def end(self, end: Ended) -> bytes:
        said = b""
        if not self._live.showed_text and (end.answer.text or not end.answer.tool_calls):
            said += self._delta("message", end.answer.text)
        said += self._close()
        if not self._live.showed_calls:
            for number, call in enumerate(end.answer.tool_calls):
                said += self._call_delta(ToolCallDelta(number, call.id, call.name, call.arguments)) + self._close()
        status = _status(end)
        return said + self._event(f"response.{status}", response=self._response(status, self._items))

    def fail(self, error: MnemeError) -> bytes:
        return self._close() + self._event("response.failed", response=self._response("failed", self._items, error))

    def whole(self, end: Ended) -> dict[str, Any]:
        items = [self._item("reasoning", self._live.reasoning, 0)] if self._live.reasoning else []
        if end.answer.text or not end.answer.tool_calls:
            items.append(self._item("message", end.answer.text, len(items)))
        items += [self._call_item(call, number) for number, call in enumerate(end.answer.tool_calls)]
        return self._response(_status(end), items)

    # -- events --------------------------------------------------------------------------------------------------------

    def _event(self, kind: str, **fields: object) -> bytes:
        self._number += 1
        return _frame(kind, self._number - 1, **fields)

    def _delta(self, kind: Kind, text: str) -> bytes:
        opening = b"" if self._open == kind else self._close() + self._begin(kind)
        self._text.append(text)
        if kind == "reasoning":
            return opening + self._event("response.reasoning_text.delta", **self._at(kind), delta=text)
        return opening + self._event("response.output_text.delta", **self._at(kind), delta=text, logprobs=[])

    def _begin(self, kind: Kind) -> bytes:
        self._open = kind
        place = len(self._items)
        item = {**self._item(kind, "", place), "content": []}
        if kind == "message":
            item["status"] = "in_progress"
        return self._event("response.output_item.added", output_index=place, item=item) + self._event(
            "response.content_part.added", **self._at(kind), part=_part(kind, "")
        )

    def _close(self) -> bytes:
        """End what is open: something said, or function calls; never both."""
        kind, text = self._open, "".join(self._text)
        if kind is None:
            return b"".join([self._close_call(self._calls.pop(index)) for index in sorted(self._calls)])
        place, at = len(self._items), self._at(kind)
        item = self._item(kind, text, place)
        self._open, self._text = None, []
        self._items.append(item)
        more: dict[str, object] = {"logprobs": []} if kind == "message" else {}
        name = "output_text" if kind == "message" else "reasoning_text"
        return (
            self._event(f"response.{name}.done", **at, text=text, **more)
            + self._event("response.content_part.done", **at, part=_part(kind, text))
            + self._event("response.output_item.done", output_index=place, item=item)
        )

    def _call_delta(self, piece: ToolCallDelta) -> bytes:
        call, opening = self._calls.get(piece.index), b""
        if call is None:
            opening = self._close() if self._open is not None else b""
            place = len(self._items)
            item = self._call_item(ToolCall(piece.id or "", piece.name or "", ""), place)
            call = self._calls[piece.index] = _Call(place, item)
            # Calls may be under way side by side, so each takes its place when it begins.
            self._items.append(item)
            begun = {**item, "status": "in_progress"}
            opening += self._event("response.output_item.added", output_index=place, item=begun)
        call.item["arguments"] += piece.arguments
        if not piece.arguments:
            return opening
        return opening + self._event("response.function_call_arguments.delta", **call.at(), delta=piece.arguments)

    def _close_call(self, call: _Call) -> bytes:
        item = call.item
        return self._event(
            "response.function_call_arguments.done", **call.at(), name=item["name"], arguments=item["arguments"]
        ) + self._event("response.output_item.done", output_index=call.place, item=item)

    def _at(self, kind: Kind) -> dict[str, Any]:
        place = len(self._items)
        return {"item_id": f"{PREFIX[kind]}_{self._live.run_id}_{place}", "output_index": place, "content_index": 0}

    # -- objects -------------------------------------------------------------------------------------------------------

    def _response(
        self, status: str, items: list[dict[str, Any]] | None = None, error: MnemeError | None = None
    ) -> dict[str, Any]:
        return {
            "instructions": None,
            "max_output_tokens": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "temperature": None,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "truncation": "disabled",
            **self._asked,
            "id": f"resp_{self._live.run_id}",
            "object": "response",
            "created_at": self._made,
            "status": status,
            "error": None if error is None else {"code": "server_error", "message": f"{error.code}: {error.message}"},
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "output": items or [],
            "usage": None if status == "in_progress" else usage_body(self._live.usage, "input", "output"),
        }

    def _item(self, kind: Kind, text: str, place: int) -> dict[str, Any]:
        id_ = f"{PREFIX[kind]}_{self._live.run_id}_{place}"
        if kind == "reasoning":
            return {"type": kind, "id": id_, "summary": [], "content": [_part(kind, text)]}
        return {"type": kind, "id": id_, "role": "assistant", "status": "completed", "content": [_part(kind, text)]}

    def _call_item(self, call: ToolCall, number: int) -> dict[str, Any]:
        return {
            "type": "function_call",
            "id": f"fc_{self._live.run_id}_{number}",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }


class _Call(NamedTuple):
    """A function call that is being written."""

    place: int
    item: dict[str, Any]

    def at(self) -> dict[str, Any]:
        return {"item_id": self.item["id"], "output_index": self.place}


def _frame(kind: str, number: int, **fields: object) -> bytes:
    # Two events open every stream, so the numbers of the others begin at 2.
    data = json_bytes({"type": kind, "sequence_number": number + 2, **fields})
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


def _part(kind: Kind, text: str) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _status(end: Ended) -> Literal["completed", "incomplete"]:
    return "incomplete" if end.cut or end.answer.finish_reason == "length" else "completed"
