"""A reply as an object: asked for by schema, validated with pydantic, repaired at most twice.

A server that binds replies to a schema gets it as `response_format`; any other gets it in words, and the first JSON
object of its text is taken. Either way the result is the same object. Source: contract §5; ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from runtime.errors import MalformedReply
from runtime.llm.base import LLM, SupportsSchema
from runtime.llm.metering import Caller
from runtime.types import JsonSchema, Message, Sampling

REPAIRS = 2
T = TypeVar("T", bound=BaseModel)


async def ask_structured(
    caller: Caller,
    llm: LLM,
    *,
    purpose: str,
    run_id: str,
    messages: Sequence[Message],
    model: type[T],
    sampling: Sampling,
    prompt_hash: str | None = None,
    repairs: int = REPAIRS,
) -> T:
    """Ask until the reply is a valid `model`. Raises `MalformedReply` after the repair turns, `ModelError` otherwise."""
    schema = schema_of(purpose, model)
    turns = list(messages)
    binds = isinstance(llm, SupportsSchema) and await llm.binds_schema()
    if not binds:
        turns = in_words(turns, schema)
    problem = ""
    for _ in range(repairs + 1):
        reply = await caller.ask(
            purpose=purpose,
            run_id=run_id,
            messages=turns,
            sampling=sampling,
            schema=schema if binds else None,
            prompt_hash=prompt_hash,
        )
        try:
            return model.model_validate_json(first_object(reply.text))
        except (ValidationError, ValueError) as error:
            problem = _explain(error)
        turns += [
            Message("assistant", reply.text),
            Message("user", f"That reply cannot be used: {problem}. Answer again with the corrected JSON object only."),
        ]
    raise MalformedReply(f"{purpose}: no valid {model.__name__} after {repairs} repair turns: {problem}")


@lru_cache(maxsize=256)
def schema_of(purpose: str, model: type[BaseModel]) -> JsonSchema:
    """The schema as it goes out: named after the purpose, closed to unknown fields. Made once; it takes milliseconds."""
    schema = model.model_json_schema()
    schema.setdefault("additionalProperties", False)
    return JsonSchema(purpose.replace(".", "_"), schema)


def in_words(messages: Sequence[Message], schema: JsonSchema) -> list[Message]:
    """The conversation with the schema as a last instruction."""
    text = json.dumps(schema.schema, separators=(",", ":"))
    words = f"Answer with one JSON object and nothing else. It must be valid against this JSON schema:\n{text}"
    *before, last = messages
    if last.role == "user" and isinstance(last.content, str):
        return [*before, Message("user", f"{last.content}\n\n{words}", name=last.name)]
    return [*messages, Message("user", words)]


def first_object(text: str) -> str:
    """The first JSON object that stands in `text`, also inside a code fence. Raises `ValueError`."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            _, end = decoder.raw_decode(text, start)
            return text[start:end]
        except json.JSONDecodeError:
            start = text.find("{", start + 1)
    raise ValueError("there is no JSON object in it")


def _explain(error: ValidationError | ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'object'}: {e['msg']}" for e in error.errors()[:5])
    return str(error)
