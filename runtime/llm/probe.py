"""Finds out whether a server binds its replies to a JSON schema. Source: ours."""

from __future__ import annotations

from runtime.errors import ModelRejected
from runtime.llm.base import LLM, CallInfo
from runtime.llm.fold import complete
from runtime.types import JsonSchema, Message, Sampling

# A word that no model writes by itself when asked for something else.
_WORD = "ultramarine"
_SCHEMA = JsonSchema(
    name="probe",
    schema={
        "type": "object",
        "properties": {"color": {"type": "string", "enum": [_WORD]}},
        "required": ["color"],
        "additionalProperties": False,
    },
)
_MESSAGES = (Message("user", "How are you?"),)
_INFO = CallInfo(purpose="probe.json_schema", run_id="none")
_MAX_TOKENS = 48


async def binds_schema(llm: LLM) -> bool:
    """Ask a question whose free answer can never be the object the schema demands; True when that comes back.

    A server that refuses the field does not bind. Raises the other `ModelError`s: then nothing is known yet.
    """
    try:
        reply = await complete(
            llm, _MESSAGES, info=_INFO, sampling=Sampling(temperature=0.0, max_tokens=_MAX_TOKENS), schema=_SCHEMA
        )
    except ModelRejected:
        return False
    written = "".join(reply.text.split())
    # A reply that is cut at the token limit still shows by its beginning that it was bound.
    return len(written) > len('{"color"') and f'{{"color":"{_WORD}"}}'.startswith(written)
