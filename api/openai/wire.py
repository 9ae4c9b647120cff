"""Requests of the OpenAI surface, and how they become a run.

Fields that change what the model does go through; fields that only concern OpenAI's own service are taken and have no
effect; anything else is refused by name. Source: OpenAI API; contract §4.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agents import registry
from agents.sampling import tools_of
from agents.tasks import ChatMessage
from runtime.budget import Budget
from runtime.errors import InvalidInput, UnknownName
from runtime.runs import RunSpec
from runtime.types import JsonObject

MAX_TOKENS = 10_000_000
MAX_SEED = 2**62


class Strict(BaseModel):
    """An unknown field is an error, and so is a value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


Explore = Annotated[
    float,
    Field(ge=0, le=0.5, description="largest share of units that a memory is held out of, to measure it; 0: none"),
]


class BudgetBody(Strict):
    """Limits of the run; a field that is left out is no limit."""

    tokens: int | None = Field(None, ge=1, le=10**12)
    calls: int | None = Field(None, ge=1, le=10**9)
    seconds: float | None = Field(None, gt=0, le=10**9)

    def budget(self) -> Budget:
        return Budget(self.tokens, self.calls, self.seconds)


class MnemeOptions(Strict):
    """What an agent takes beyond the OpenAI protocol (`extra_body={"mneme": …}`)."""

    vaults: list[str] = Field([], max_length=64)
    memory: Literal["on", "read", "off"] = "on"
    budget: BudgetBody = Field(default_factory=BudgetBody)
    config: dict[str, JsonValue] = {}
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    explore: Explore | None = None


class StreamOptions(Strict):
    """What else a stream carries. Obfuscation is padding against a listener on the wire; there is none to hide from."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Generation(Strict):
    """Fields that both surfaces share."""

    model: str = Field(min_length=1, max_length=400, description="an agent, or agent@model")
    stream: bool | None = False
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    parallel_tool_calls: bool | None = None
    tool_choice: str | JsonObject | None = None
    user: str | None = None
    metadata: dict[str, JsonValue] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    mneme: MnemeOptions = Field(default_factory=MnemeOptions)


class ChatRequest(Generation):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1)
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    n: int | None = 1
    stop: str | list[str] | None = None
    prediction: JsonObject | None = None
    seed: int | None = Field(None, ge=-(2**63), le=MAX_SEED)
    tools: list[JsonObject] | None = None
    response_format: JsonObject | None = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logprobs: bool | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    chat_template_kwargs: JsonObject | None = None
    structured_outputs: JsonObject | None = None
    vllm_xargs: JsonObject | None = None

    def spec(self) -> RunSpec:
        """The run that answers this request. Raises `InvalidInput` naming the field."""
        if self.n not in (None, 1):
            raise InvalidInput(
                f"n: got {self.n}; expected 1, because one run gives one answer; send the request again for another, "
                "or use the agents best-of-n and self-consistency",
                param="n",
            )
        if self.modalities not in (None, ["text"]):
            raise InvalidInput(f"modalities: got {self.modalities!r}; expected ['text']", param="modalities")
        sampling = {
            name: getattr(self, name)
            for name in (
                "temperature",
                "top_p",
                "stop",
                "presence_penalty",
                "frequency_penalty",
                "logprobs",
                "top_logprobs",
                "logit_bias",
                "response_format",
                "reasoning_effort",
                "verbosity",
                "tool_choice",
                "parallel_tool_calls",
                "top_k",
                "min_p",
                "repetition_penalty",
                "chat_template_kwargs",
                "structured_outputs",
                "vllm_xargs",
            )
        }
        sampling["max_tokens"] = self.max_completion_tokens or self.max_tokens
        chat = [message.model_dump(exclude_none=True) for message in self.messages]
        return run_spec(self, chat, sampling, self.tools or [], self.seed)


def run_spec(
    request: Generation,
    chat: list[dict[str, Any]],
    sampling: dict[str, Any],
    tools: list[JsonObject],
    seed: int | None,
) -> RunSpec:
    """The common end of both surfaces."""
    agent, model = split_model(request.model)
    options = request.mneme
    chosen = seed if seed is not None and seed >= 0 else options.seed
    if options.seed is not None and chosen != options.seed:
        raise InvalidInput(
            f"mneme.seed: got {options.seed} beside seed {seed}; expected one of the two, or the same",
            param="mneme.seed",
        )
    if tools and agent != "direct":
        raise InvalidInput(f"tools: the agent {agent!r} takes none; expected model='direct' for tools", param="tools")
    tools_of(tools)
    return RunSpec(
        agent=agent,
        model=model,
        input=list(chat),
        vaults=tuple(options.vaults),
        memory=options.memory,
        budget=options.budget.budget(),
        config=options.config,
        seed=-1 if chosen is None else chosen,
        sampling={name: value for name, value in sampling.items() if value is not None},
        tools=tuple(tools),
        explore=options.explore,
    )


def split_model(name: str) -> tuple[str, str | None]:
    """`agent` or `agent@model`, split at the first `@`. Raises `UnknownName`."""
    agent, at, model = name.partition("@")
    if agent not in registry.names():
        raise UnknownName(
            f"model {name!r}: no agent of that name; expected one of {', '.join(registry.names())}, or agent@model",
            param="model",
        )
    if at and not model:
        raise InvalidInput(f"model {name!r}: a model name is missing behind '@'", param="model")
    return agent, model or None


@contextmanager
def named_as_sent(body: str) -> Iterator[None]:
    """Around the acceptance of a run: faults name the field that was sent (`mneme.config.n`) and not the run's."""
    try:
        yield
    except InvalidInput as error:
        head, dot, rest = (error.param or "").partition(".")
        if head in ("config", "budget", "vaults"):
            error.param = f"mneme.{error.param}"
        elif head == "input":
            error.param = f"{body}{dot}{rest}"
        raise
