"""The built-in tool `recall`: reads back what left the view. The answer comes from the tree, so it is never kept.

Source: tim §5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from agents.tim.tree import figures
from agents.tooling.base import ToolAnswer
from agents.tooling.cutting import cut
from runtime.errors import Conflict, UnknownName
from runtime.events import AnyPayload, SpanRecalled
from runtime.threads import ThreadTree
from runtime.types import JsonObject, ToolSpec

RECALL: Final = "recall"
RECALL_SPEC: Final = ToolSpec(
    RECALL,
    "Reads back what was taken out of the document: the subtasks of the task at `path`, whole, or with `full` false only "
    "their conclusions.",
    {
        "type": "object",
        "properties": {"path": {"type": "string"}, "full": {"type": "boolean"}},
        "required": ["path"],
        "additionalProperties": False,
    },
)


def offered(paths: Sequence[str]) -> ToolSpec:
    """The tool as it is offered while something can be recalled at these paths."""
    properties: JsonObject = {"path": {"enum": [*paths]}, "full": {"type": "boolean"}}
    return replace(RECALL_SPEC, parameters={**RECALL_SPEC.parameters, "properties": properties})


def recalled(tree: ThreadTree, parameters: JsonObject, max_tokens: int) -> tuple[ToolAnswer, list[AnyPayload]]:
    """What was pruned at a path, from the archive and counted, at most so many tokens; and what the log says of it."""
    path, before = str(parameters.get("path")), tree.memory.recalled
    try:
        found: list[JsonValue] = [*tree.recall(path, full=parameters.get("full") is not False)]
    except (Conflict, UnknownName) as error:
        return ToolAnswer.failed("invalid_parameters", detail=error.message), []
    told = SpanRecalled(tokens=tree.memory.recalled - before, path=path, detail=figures(tree))
    data, truncated = cut(found, max_tokens)
    return ToolAnswer(True, data, truncated=truncated), [told]
