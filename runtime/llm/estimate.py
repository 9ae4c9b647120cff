"""Token counts for replies whose server sent none, and for prompts before they are sent.

Four characters make a token: good to within a factor of two for English text and code, and the same everywhere.
Source: ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from runtime.types import Message, ToolSpec, Usage

CHARS_PER_TOKEN = 4
# What the chat template puts around each message.
TOKENS_PER_MESSAGE = 4


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, rounded up; zero only for no text."""
    return -(-len(text) // CHARS_PER_TOKEN)


def estimate_prompt(messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
    """Tokens of a prompt: the text of its messages, its tool calls and the tools it offers. Images count nothing."""
    total = 0
    for message in messages:
        total += TOKENS_PER_MESSAGE + estimate_tokens(message.text)
        total += sum(estimate_tokens(call.name) + estimate_tokens(call.arguments) for call in message.tool_calls)
    for tool in tools:
        total += estimate_tokens(tool.name + tool.description + json.dumps(tool.parameters))
    return total


def estimate_usage(
    messages: Sequence[Message], tools: Sequence[ToolSpec], *, text: str, reasoning: str, arguments: str = ""
) -> Usage:
    """The usage of a call that wrote `text`, `reasoning` and the `arguments` of its tool calls."""
    thought = estimate_tokens(reasoning)
    return Usage(
        prompt_tokens=estimate_prompt(messages, tools),
        completion_tokens=estimate_tokens(text) + estimate_tokens(arguments) + thought,
        reasoning_tokens=thought,
    )
