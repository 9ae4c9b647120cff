"""What a model says to itself: some servers leave it in the answer, between marks. Source: empirical_mcts §5; ours."""

from __future__ import annotations

import re
from typing import Final

THINKING: Final = re.compile(r"\A\s*<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL)
# Some chat templates open the thinking before the model writes: its end stands in the text, its beginning does not.
THOUGHT: Final = re.compile(r"\A(?:(?!<(?:think|thinking|reasoning)>).)*?</(?:think|thinking|reasoning)>", re.DOTALL)


def visible(text: str) -> str:
    """The answer without the thinking that some servers leave in it: a first block in marks, or all up to the end of one."""
    return THOUGHT.sub("", THINKING.sub("", text)).strip()
