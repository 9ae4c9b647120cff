"""Prompts of the generator: how one is made fit for use, and where it stands in the conversation.

A prompt that the judge wrote becomes the instructions of the next answer. It is cut to a length, and the caller's contract
about the form of the answer stands at its end whatever the judge wrote, so evolution cannot lose it. Instructions,
experiences and question are one user message, the last of the conversation; what was said before stays as it is.
Source: empirical_mcts §3.1, §3.2, §3.4, §3.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from agents.base import TaskKind
from agents.memory_block import TAG
from agents.tasks import Task
from runtime.llm.estimate import CHARS_PER_TOKEN, estimate_tokens
from runtime.prompts import load_prompt
from runtime.types import JsonObject, Message

PROMPTS: Final = Path(__file__).parent / "prompts"
BASE: Final = load_prompt(PROMPTS / "base.md")
CONTRACT: Final = load_prompt(PROMPTS / "contract.md")
EXPERIENCES: Final = load_prompt(PROMPTS / "experiences.md")
GENERATE: Final = load_prompt(PROMPTS / "generate.md")
REFINE: Final = load_prompt(PROMPTS / "refine.md")
MERGE: Final = load_prompt(PROMPTS / "merge.md")

MAX_PROMPT_CHARS: Final = 6_000
MAX_BLOCK_TOKENS: Final = 1_500
MAX_ANSWER_TOKENS: Final = 12_000
NOTHING: Final = "none"
CUT: Final = "\n[… {} characters are left out here …]\n"
# What an answer to a task of each kind must look like, in the words that end every prompt.
FORMS: Final[Mapping[TaskKind, str]] = {
    "chat": "answer in the form, the language and the length that the request asks for, and give nothing else.",
    "math": "give the final answer once, alone, inside \\boxed{}.",
    "qa": "reply with the answer alone, as short as it can be; where documents are given, rely on nothing else.",
    "arc": "end the reply with a JSON list that holds the output grid of each test input, in order. Before it there may be "
    "one fenced Python block that defines `transform(grid)`; that program is run on the train pairs.",
    "code": "write complete code that meets every requirement, in one fenced block where one is enough; where tests are "
    "given, they are run with the first fenced Python block.",
}


def contract_of(task: Task) -> str:
    """The part of a prompt that no evolution may lose."""
    return CONTRACT.render(form=FORMS[task.kind])


def base_prompt(contract: str) -> str:
    """The prompt of a first answer for which no expert was described."""
    return BASE.render(contract=contract)


def fit(prompt: str, contract: str) -> str | None:
    """A prompt that a model wrote, as it is used: cut, the contract at its end. None when nothing is left of it."""
    text = prompt.replace(contract, "").replace("\x00", "").strip()
    if len(text) > MAX_PROMPT_CHARS:
        text = text[:MAX_PROMPT_CHARS].rsplit(None, 1)[0]
    return f"{text}\n\n{contract}" if text else None


def question_text(task: Task) -> str:
    """The task as judge and memory read it: its text, or the whole conversation with who said what."""
    messages = task.messages()
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages if message.text)


def block(lines: Sequence[str], *, max_tokens: int | None = None) -> str:
    """Experiences as a model reads them, numbered from 1, or the word that there are none. What does not fit is left out."""
    kept: list[str] = []
    left = max_tokens
    for line in lines:
        cost = estimate_tokens(line)
        if left is None or cost <= left:
            kept.append(f"{len(kept) + 1}. {one_line(line)}")
            left = None if left is None else left - cost
    return EXPERIENCES.render(experiences="\n".join(kept) or NOTHING)


def one_line(text: str) -> str:
    """The text on one line, with what looks like a tag or a control word of a chat template written with escapes."""
    return TAG.sub(lambda found: f"\\u{ord(found.group()):04x}", " ".join(text.split()))


def cut(text: str, max_tokens: int = MAX_ANSWER_TOKENS) -> str:
    """The text, or its beginning and its end when it is longer: the result of an answer stands at the end."""
    limit = max_tokens * CHARS_PER_TOKEN
    if len(text) <= limit:
        return text
    head = limit * 3 // 4
    tail = limit - head
    return text[:head] + CUT.format(len(text) - limit) + text[-tail:]


def placed(task: Task, prompt: str, experiences: str, more: str = "") -> list[Message]:
    """The conversation of a generation. `more` stands behind the question."""
    messages = task.messages()
    users = [place for place, message in enumerate(messages) if message.role == "user"]
    at = users[-1] if users else len(messages)
    last = messages[at] if users else Message("user", "")
    question = "\n\n".join(part for part in (last.text, more) if part)
    text = GENERATE.render(prompt=prompt, experiences=experiences, question=question)
    rest: list[JsonObject] = []
    if isinstance(last.content, list):
        rest = [part for part in last.content if part.get("type") != "text"]
    content: str | list[JsonObject] = [{"type": "text", "text": text}, *rest] if rest else text
    return [*messages[:at], Message("user", content, last.name), *messages[at + 1 :]]
