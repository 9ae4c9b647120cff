"""What a model is shown at one step: the same bytes for the same tree, so that a prefix cache finds them again.

A prompt is [system: rules and tools] [user: the request] [assistant: the live document] [user: what is asked]. Between two
cuts a document only grows at its end; behind a cut its beginning is still the same. It is always one valid JSON value:
tool results are values in it and can neither open nor close anything, and what looks like a control word of a chat
template is written with escapes. Source: tim §3.5, §5, §8; ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from agents.memory_block import TAG
from agents.tim.schemas import Can
from runtime.llm.estimate import estimate_tokens
from runtime.prompts import PromptFile, load_prompt
from runtime.threads import ThreadTree
from runtime.types import JsonObject, Message, ToolSpec

PROMPTS: Final = Path(__file__).parent / "prompts"
SYSTEM: Final = load_prompt(PROMPTS / "system.md")
STREAM: Final = load_prompt(PROMPTS / "stream.md")
TOOLS: Final = load_prompt(PROMPTS / "tools.md")
EXAMPLE: Final = load_prompt(PROMPTS / "example.md")
OPEN: Final = load_prompt(PROMPTS / "open.md")
AFTER_TOOL: Final = load_prompt(PROMPTS / "after_tool.md")
AFTER_LIST: Final = load_prompt(PROMPTS / "after_list.md")
ANSWER: Final = load_prompt(PROMPTS / "answer.md")
REPAIR: Final = load_prompt(PROMPTS / "repair.md")
COMPLETE: Final = load_prompt(PROMPTS / "complete.md")
FILES: Final = (SYSTEM, STREAM, TOOLS, EXAMPLE, OPEN, AFTER_TOOL, AFTER_LIST, ANSWER, REPAIR, COMPLETE)
LEADING: Final = ("system", "developer")


def compact(value: JsonValue) -> str:
    """JSON without white space, keys in the order in which they stand."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which no request can carry as it is
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text


def shown(value: JsonValue) -> str:
    """The same for a prompt: nothing in it can pose as a mark of a chat template. Still JSON, of the same value."""
    return TAG.sub(lambda found: f"\\u{ord(found.group()):04x}", compact(value))


def head(request: Sequence[Message], tools: Sequence[ToolSpec], *, rules: PromptFile = SYSTEM) -> tuple[Message, ...]:
    """The part of a prompt that stays: rules, tools, the instructions of the request, the request."""
    leading = [message for message in request if message.role in LEADING]
    instructions = "\n\n".join(message.text for message in leading)
    lines = "\n".join(
        shown({"name": tool.name, "description": tool.description, "parameters": tool.parameters}) for tool in tools
    )
    system = rules.render(
        tools=f"\n{TOOLS.render(tools=lines)}\n" if tools else "",
        example=EXAMPLE.render(),
        instructions=f"\nThe request comes with these instructions:\n{instructions}" if instructions else "",
    )
    return (Message("system", system), *(message for message in request if message.role not in LEADING))


def prompt(first: Sequence[Message], tree: ThreadTree, words: str) -> list[Message]:
    """The prompt of a step."""
    return [*first, Message("assistant", shown(tree.document(live=True))), Message("user", words)]


def open_words(path: str, cans: Sequence[Can], *, title: str | None, notes: Sequence[str]) -> str:
    """What is asked when a list needs its next task. `title`: of a task that its parent has named already. In a typed tree
    there is one `Can` for each kind that the task may have."""
    place = "" if title is None else f"Its title is {shown(title)}; it needs nothing of the tasks beside it."
    kind = "`task_kind`, " if cans[0].kind else ""
    fields = f"{kind}`title`, `thought` and `action`"
    actions = " | ".join((f"for the kind `{can.kind}` " if can.kind else "") + _actions(can) for can in cans)
    return OPEN.render(path=path, place=place, fields=fields, actions=actions, notes=_lines(notes))


def after_tool_words(path: str, can: Can, *, notes: Sequence[str]) -> str:
    """What is asked when a tool has answered."""
    return AFTER_TOOL.render(path=path, actions=_actions(can), notes=_lines(notes))


def after_list_words(path: str, can: Can, *, notes: Sequence[str]) -> str:
    """What is asked when the subtasks of a task are finished."""
    fields = "`conclusion` and `more`" if can.more is None else "`conclusion`"
    return AFTER_LIST.render(path=path, fields=fields, notes=_lines(notes))


def answer_words(*, notes: Sequence[str] = ()) -> str:
    """What is asked at the end."""
    return ANSWER.render(notes=_lines(notes))


def repair_words(words: str, field: str, kept: JsonObject, missing: Sequence[str]) -> str:
    """What is asked after a broken reply: only what is missing."""
    names = ", ".join(f"`{name}`" for name in missing)
    return f"{words}\n\n{REPAIR.render(field=f'`{field}`', kept=shown(kept), missing=names)}"


def complete_words(conclusion: str, question: str) -> str:
    """What is asked once when a conclusion would lose something."""
    return COMPLETE.render(conclusion=shown(conclusion), question=question)


def shares(texts: Sequence[str], total: int | None) -> list[int]:
    """Tokens of the fields of one reply.

    `total` is what the server counted for the reply, punctuation included; it is shared out by length. Without it each
    field is estimated. Exact counts of single fields exist only where token ids are known (mode `stream`).
    """
    lengths = [len(text) for text in texts]
    if total is None or not sum(lengths):
        return [estimate_tokens(text) for text in texts]
    made = [total * length // sum(lengths) for length in lengths]
    made[lengths.index(max(lengths))] += total - sum(made)
    return made


def _actions(can: Can) -> str:
    said: list[str] = []
    if can.conclude:
        said.append("`conclude` with a conclusion" + (" and `more`" if can.more is None else ""))
    if can.descend:
        also = ", or with `parallel`: the titles of subtasks that need nothing of each other" if can.descend > 1 else ""
        said.append(f"`descend` into subtasks{also}")
    if can.tools:
        said.append("`tool` with one of " + ", ".join(f"`{tool.name}`" for tool in can.tools))
    return "; ".join(said)


def _lines(notes: Sequence[str]) -> str:
    return "\n".join(notes)
