"""What the solver is asked: the puzzle with its notes, and after a program that failed what came of it.

A retry is the same conversation gone on with: the first prompt stays as it was, so a server finds it in its cache. What
came of a program are its grids for the train inputs and the reasons why there is none; nothing of the test inputs is told
but the inputs themselves. Source: arcmemo §3.8, §5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.grids import examples_text, tests_text, text_of
from agents.arc_memo.programs import Attempt
from agents.memory_block import TAG
from agents.tasks import ArcTask
from agents.thinking import visible
from runtime.prompts import load_prompt
from runtime.types import Message

PROMPTS: Final = Path(__file__).parent / "prompts"
SOLVE: Final = load_prompt(PROMPTS / "solve.md")
RETRY: Final = load_prompt(PROMPTS / "retry.md")
MAX_REPLY_CHARS: Final = 4_000
BLANKS: Final = re.compile(r"\n{3,}")


def solving(task: ArcTask, notes: str) -> list[Message]:
    """The first prompt of a sample. `notes`: what it is told beside the puzzle, may be empty."""
    text = SOLVE.render(examples=examples_text(task), tests=tests_text(task), notes=notes)
    return [Message("user", BLANKS.sub("\n\n", text))]


def retrying(
    task: ArcTask, notes: str, attempts: Sequence[Attempt], replies: Sequence[str], config: ArcMemoConfig
) -> list[Message]:
    """The conversation of a retry: the first prompt, then the last attempts and what came of them."""
    count = len(attempts) if config.num_feedback_passes < 0 else min(config.num_feedback_passes, len(attempts))
    messages = solving(task, notes)
    for attempt, reply in list(zip(attempts, replies, strict=True))[len(attempts) - count :]:
        messages += [
            Message("assistant", _said(attempt, reply)),
            Message("user", RETRY.render(feedback=feedback(attempt, task, config))),
        ]
    return messages


def feedback(attempt: Attempt, task: ArcTask, config: ArcMemoConfig) -> str:
    """What came of an attempt on the train pairs."""
    if attempt.problem is not None:
        return f"There was nothing to run: {data(attempt.problem)}."
    right = [number for number, each in enumerate(attempt.train, 1) if each.correct]
    lines = [f"Right: {', '.join(f'example {number}' for number in right) or 'no example'}."]
    wrong = [number for number, each in enumerate(attempt.train, 1) if not each.correct]
    for number in wrong if config.error_feedback == "all" else wrong[:1]:
        each = attempt.train[number - 1]
        if each.output is None:
            lines.append(f"Example {number} failed: {data(each.error or 'no output')}")
        elif config.include_past_outcomes:
            lines.append(f"Example {number} is wrong. The program gave {text_of(each.output)}")
            wanted = task.train[number - 1].output
            if (len(each.output), len(each.output[0])) != (len(wanted), len(wanted[0])):
                lines.append(f"The output should be {len(wanted)} x {len(wanted[0])}.")
        else:
            lines.append(f"Example {number} is wrong.")
    return "\n".join(lines)


def data(text: str) -> str:
    """Text of a model or a program as a part of a prompt, without what looks like a tag of ours or of a chat template."""
    return TAG.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _said(attempt: Attempt, reply: str) -> str:
    if attempt.source is not None:
        return f"```python\n{attempt.source}```"
    return visible(reply)[-MAX_REPLY_CHARS:].strip() or "(nothing)"
