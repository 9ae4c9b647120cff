"""How a pipeline asks the model: a prompt file, data that cannot become instructions, an answer of a known shape.

Texts of memories go in as JSON strings on lines of their own between two marks: a JSON string has no line break, so no
text can close the block that it stands in. A call carries the job's id as its run. A reply that is not of the shape is
asked for once more with the reason; then the step has failed. Source: memos §3.14; contract §5.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import orjson
from pydantic import BaseModel, JsonValue

from runtime.budget import Budget, Spent
from runtime.events import AnyPayload
from runtime.llm.metering import Caller, Meter
from runtime.llm.pool import LLMs
from runtime.llm.structured import ask_structured
from runtime.prompts import PromptFile, load_prompt
from runtime.retry import RetryPolicy
from runtime.settings import LLMSettings
from runtime.types import Message, Sampling

T = TypeVar("T", bound=BaseModel)
PROMPTS: Final = Path(__file__).parent / "prompts"
MAX_TOKENS: Final = 2048
REPAIRS: Final = 1


class Asker:
    """Asks the configured model, or the one that is named. Safe to use from several jobs at once."""

    def __init__(self, llms: LLMs, settings: LLMSettings, model: str | None = None) -> None:
        self._llms = llms
        self._retry = RetryPolicy.of(settings)
        self._model = model

    async def ask(
        self,
        purpose: str,
        run_id: str,
        prompt: PromptFile,
        reply: type[T],
        data: Sequence[JsonValue],
        **values: str,
    ) -> tuple[T, str]:
        """The answer, and the model that gave it. Raises `ModelError`; then nothing was decided.

        `data` are the items that stand for `{{data}}`, one on each line.
        """
        llm = await self._llms.get(self._model)
        caller = Caller(llm, Meter(Budget(), Spent()), self._retry, _unlogged)
        text = prompt.render(data=lines(data), **values)
        answer = await ask_structured(
            caller,
            llm,
            purpose=purpose,
            run_id=run_id,
            messages=[Message("user", text)],
            model=reply,
            sampling=Sampling(temperature=0.0, seed=0, max_tokens=MAX_TOKENS),
            prompt_hash=prompt.sha256,
            repairs=REPAIRS,
        )
        return answer, llm.ref


def prompt_of(name: str) -> PromptFile:
    """A prompt file of the pipelines."""
    return load_prompt(PROMPTS / f"{name}.md")


def lines(items: Sequence[JsonValue]) -> str:
    """Each item as JSON on a line of its own."""
    return "\n".join(orjson.dumps(item).decode() for item in items) or "(nothing)"


async def _unlogged(event: AnyPayload) -> None:
    """A job has no log of events; what it did stands in its row and in the versions that it wrote."""
