"""The options of the agent: the names and defaults of the sheet. Source: tim §4, §8."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agents.tim.typed import TypedTree, usable
from runtime.errors import InvalidInput
from runtime.types import JsonObject

WINDOW: Final = 32_768
REPLY_TOKENS: Final = 2_048
ToolName = Annotated[str, Field(min_length=1, max_length=200)]


class TimConfig(BaseModel):
    """See docs/agents.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    mode: Literal["steps", "stream"] = "steps"
    k: int = Field(1, ge=0, le=64)
    prune_at: Literal["list_close", "parent_conclusion"] = "parent_conclusion"
    policy: Literal["stack", "cost"] = "stack"
    prune: bool = True
    max_depth: int = Field(5, ge=1, le=16)
    max_children: int = Field(12, ge=1, le=64)
    max_plan: int = Field(6, ge=1, le=64)
    max_tool_calls: int = Field(50, ge=0, le=1_000)
    max_live: int | None = Field(None, ge=256)
    max_total_output: int = Field(200_000, ge=1)
    thought_tokens: int = Field(1_024, ge=16, le=16_384)
    conclusion_tokens: int = Field(512, ge=16, le=16_384)
    tool_result_max_tokens: int = Field(4_096, ge=16, le=131_072)
    tool_timeout_s: float = Field(30.0, gt=0, le=3_600)
    tools: list[ToolName] | None = Field(None, max_length=200)
    verify_forgetting: bool = True
    temperature: float = Field(0.6, ge=0, le=2)
    top_p: float = Field(0.95, gt=0, le=1)
    tree: JsonObject | None = None
    answer_schema: JsonObject | None = None

    @field_validator("tree")
    @classmethod
    def _is_a_typed_tree(cls, tree: JsonObject | None) -> JsonObject | None:
        if tree is not None:
            try:
                TypedTree.parse(tree)
            except InvalidInput as error:
                raise ValueError(error.message) from error
        return tree

    @field_validator("answer_schema")
    @classmethod
    def _is_whole(cls, schema: JsonObject | None) -> JsonObject | None:
        return schema if schema is None else usable(schema, "answer")

    @property
    def live_limit(self) -> int:
        """Tokens that a prompt may have: `max_live`, or a usual window without the room for a reply."""
        return self.max_live if self.max_live is not None else WINDOW - REPLY_TOKENS

    def within(self, window: int | None) -> TimConfig:
        """The same for a model with that window, where `max_live` is left open; a quarter of a small one is for replies."""
        if window is None or self.max_live is not None:
            return self
        return self.model_copy(update={"max_live": window - min(REPLY_TOKENS, window // 4)})
