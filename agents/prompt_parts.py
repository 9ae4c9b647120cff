"""A prompt in its parts: system, tools, recalled memories, working memory, history, request. Estimated tokens for each.

The parts follow from where a text comes from: what the caller sent is the request or the history before it; an assistant
message that the caller did not send is what the agent keeps in hand; memories and tools stand between marks that the agents
write. Joined again, the parts of a message are that message. Source: design ui ("Context of a run"); ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from agents.empirical_mcts.prompting import EXPERIENCES
from agents.memory_block import PROMPT as MEMORIES
from agents.replaying import Prompt
from agents.tim.rendering import TOOLS
from runtime.llm.estimate import estimate_tokens
from runtime.prompts import PromptFile
from runtime.types import Message

PartName = Literal["system", "tools", "recalled", "working memory", "history", "request", "instructions", "form"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a prompt. `role`: of the message that it stands in, empty for what goes beside the messages."""

    name: PartName
    role: str
    text: str
    tokens: int


def parts_of(prompt: Prompt, request: Sequence[Message]) -> list[Part]:
    """The parts of a prompt in the order in which the model reads them; `request`: the messages of the caller."""
    sent = {(message.role, message.text) for message in request}
    last = next((message for message in reversed(request) if message.role == "user"), None)
    made: list[Part] = []
    for message in prompt.messages:
        name: PartName
        if message.role in ("system", "developer"):
            name = "system"
        elif last is not None and (message.role, message.text) == (last.role, last.text):
            name = "request"
        elif (message.role, message.text) in sent or message.role == "tool":
            name = "history"
        else:
            name = "working memory" if message.role == "assistant" else "instructions"
        made += [_part(each, message.role, text) for each, text in _split(name, _text(message))]
    if prompt.tools:
        told = [{"name": t.name, "description": t.description, "parameters": t.parameters} for t in prompt.tools]
        made.append(_part("tools", "", "\n".join(json.dumps(each, ensure_ascii=False) for each in told)))
    if prompt.schema is not None:
        made.append(_part("form", "", json.dumps(prompt.schema.schema, ensure_ascii=False)))
    return made


def _part(name: PartName, role: str, text: str) -> Part:
    return Part(name, role, text, estimate_tokens(text))


def _text(message: Message) -> str:
    if not message.tool_calls:
        return message.text
    calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return "\n".join([*([message.text] if message.text else []), *calls])


def _marked(prompt: PromptFile, name: str) -> str:
    before, after = (re.escape(part) for part in prompt.text.strip().split("{{" + name + "}}"))
    return f"{before}.*?{after}" if after else rf"{before}(?:\{{.*(?:\n|$))+"


_MARKED: Final[tuple[tuple[PartName, re.Pattern[str]], ...]] = (
    ("recalled", re.compile(_marked(MEMORIES, "memories"), re.DOTALL)),
    ("recalled", re.compile(_marked(EXPERIENCES, "experiences"), re.DOTALL)),
    ("tools", re.compile(_marked(TOOLS, "tools"))),
)


def _split(name: PartName, text: str) -> Iterator[tuple[PartName, str]]:
    """The text in pieces: what stands between marks, and what stands around them."""
    found = sorted((mark.span(), kind) for kind, pattern in _MARKED for mark in pattern.finditer(text))
    at = 0
    for (start, end), kind in found:
        if start < at:
            continue
        if text[at:start]:
            yield name, text[at:start]
        yield kind, text[start:end]
        at = end
    if text[at:] or not found:
        yield name, text[at:]
