"""What the tools take. An unknown argument is an error, and so is a value of another type. Source: contract §4."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from api.openai.wire import MAX_SEED, BudgetBody, Strict
from api.routes.memory_fields import (
    MAX_ASKED,
    MAX_CONTENT,
    MemoryRef,
    Moment,
    Name,
    Names,
    Reason,
    VaultName,
    VersionNumber,
    Words,
    storable_text,
)
from memory.types import Change, Draft, Mode, Origin, SemanticType, Source
from memory.types import Query as Asked
from runtime.errors import InvalidInput, UnknownName
from runtime.run_types import MemoryMode, RunSpec

MIN_TOKENS = 200
MAX_TOKENS = 1_000_000
LISTS = ("entities", "tags", "sensitivity")
_RUN_ID = re.compile(r"run_[0-9a-f]{32}")


def _run_id(run_id: str) -> str:
    # What cannot be an id is as unknown as one that never was, and never reaches the database.
    if not _RUN_ID.fullmatch(run_id):
        raise UnknownName(f"run {run_id!r}: no such run", param="id")
    return run_id


Id = Annotated[MemoryRef, Field(description="the id of the memory, `mem_…`")]
Seen = Annotated[
    VersionNumber, Field(description="the version that you saw; when it is not the current one, nothing is changed")
]
InVault = Annotated[VaultName | None, Field(description="id or name of the vault; default: `default`")]
InVaults = Annotated[
    list[VaultName], Field(max_length=64, description="ids or names of the vaults; none: only `default`")
]
Tokens = Annotated[
    int,
    Field(
        ge=MIN_TOKENS,
        le=MAX_TOKENS,
        description="about how many tokens the answer may take; what does not fit is left out, and `left_out` says how much",
    ),
]


class SearchMemories(Strict):
    """`search_memories`."""

    query: str = Field(min_length=1, max_length=MAX_ASKED, description="a question or words, in any language")
    vaults: InVaults = Field([])
    limit: int = Field(10, ge=1, le=100, description="at most so many memories")
    max_tokens: Tokens = 4000
    kinds: list[SemanticType] = Field([], max_length=20, description="only memories of these types")
    tags: Names = Field([], description="only memories with one of these tags")
    mode: Mode = Field(
        "hybrid", description="`dense` by meaning, `lexical` by words, `graph` by names; `hybrid` is all"
    )
    session_id: Name | None = None
    as_of: Moment | None = Field(None, description="what the store believed at that time")
    at: Moment | None = Field(None, description="what was true at that time")

    def asked(self) -> Asked:
        return Asked(
            self.query,
            vaults=tuple(self.vaults),
            k=self.limit,
            mode=self.mode,
            kinds=tuple(self.kinds),
            tags=tuple(self.tags),
            session_id=self.session_id,
            as_of=self.as_of,
            at=self.at,
        )


class GetMemory(Strict):
    """`get_memory`."""

    id: Id
    limit: int = Field(0, ge=0, le=100, description="also so many of its versions, the newest first")
    max_tokens: Tokens = 8000
    offset: int = Field(0, ge=0, le=MAX_CONTENT, description="begin at this character of the text, to read on")


class Described(Strict):
    """What may be said about a memory beside its text."""

    title: str | None = Field(None, max_length=3000)
    subject: Name | None = Field(None, description="whom or what it is about, e.g. a person")
    attribute: Name | None = Field(
        None, description="which property of the subject; a newer fact about the same one takes the place of the older"
    )
    entities: Names = Field([], description="people, places and things it names")
    tags: Names = Field([])
    sensitivity: Names = Field([], description="e.g. `health`; others with access may have such memories hidden")
    data: dict[str, JsonValue] = Field({}, description="structured content; its keys depend on `semantic_type`")
    confidence: float = Field(1.0, ge=0, le=1)
    valid_from: Moment | None = Field(None, description="since when it is true")
    valid_to: Moment | None = Field(None, description="until when it is true")
    occurred_at: Moment | None = Field(None, description="when it happened or was said")
    expires_at: Moment | None = Field(None, description="when it is to be forgotten")


class AddMemory(Described):
    """`add_memory`."""

    content: str = Field(min_length=1, max_length=MAX_CONTENT, description="the text; one statement that stands alone")
    vault: InVault = None
    semantic_type: SemanticType = "fact"
    origin: Origin = Field(
        "inference_extraction",
        description="`user_input`: the words of the person; `inference_extraction`: your own conclusion; "
        "`external_retrieval`: from a page, file or tool",
    )
    session_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    source: Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(storable_text)] | None = Field(
        None, description="where it comes from: an address, a file"
    )
    quote: Annotated[str, Field(max_length=20_000), AfterValidator(storable_text)] | None = Field(
        None, description="the words of the source that say it"
    )

    def draft(self) -> Draft:
        given = {name: getattr(self, name) for name in (*Described.model_fields, "content", "semantic_type", "origin")}
        lists = {name: tuple(given[name]) for name in LISTS}
        sources: tuple[Source, ...] = ()
        if self.source is not None or self.quote is not None:
            web = (self.source or "").startswith(("http://", "https://"))
            sources = (Source("url" if web else "tool", uri=self.source, quote=self.quote),)
        return Draft(**{**given, **lists, "session_id": self.session_id, "sources": sources})


def _without_defaults(schema: dict[str, Any]) -> None:
    # A client that fills in defaults would take away what the memory has.
    for name in Described.model_fields.keys() | {"content", "semantic_type"}:
        schema["properties"][name].pop("default", None)


class UpdateMemory(Described):
    """`update_memory`: what is left out stays, null takes a value away."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    id: Id
    version: Seen
    content: str | None = Field(None, min_length=1, max_length=MAX_CONTENT)
    mode: Literal["overwrite", "append"] = Field("overwrite", description="`append` adds `content` below the text")
    semantic_type: SemanticType = "fact"
    reason: Reason = Field("", description="why, for whoever reads the history")

    def change(self) -> Change:
        """The edit. Raises `InvalidInput` when there is none."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"id", "version", "mode", "reason"}}
        if not given:
            raise InvalidInput("the edit is empty: expected at least one field to change", param="content")
        if given.get("content", "") is None:
            raise InvalidInput("content: cannot be taken away; delete the memory instead", param="content")
        for name in LISTS:
            if name in given:
                given[name] = tuple(given[name])
        return Change(given, "append" if self.mode == "append" else "edit", self.reason)


class DeleteMemory(Strict):
    """`delete_memory`."""

    id: Id
    version: Seen
    reason: Reason = ""


class ListVaults(Strict):
    """`list_vaults`."""

    limit: int = Field(50, ge=1, le=500, description="at most so many vaults")
    max_tokens: Tokens = 4000
    after: VaultName | None = Field(None, description="the id of the last vault of the answer before, to read on")


class AskAgent(Strict):
    """`ask_agent`."""

    agent: Annotated[str, Field(min_length=1, max_length=100, description="the name of the agent")]
    input: JsonValue = Field(description="text, a list of chat messages, or a typed task with a `kind`")
    model: Words | None = Field(None, description="a model of the model server; default: the configured one")
    vaults: InVaults = Field([])
    memory: MemoryMode = Field("on", description="`on`: recall and learn; `read`: only recall; `off`: neither")
    budget: BudgetBody = Field(default_factory=BudgetBody, description="limits of the run")
    config: dict[str, JsonValue] = Field({}, description="options of the agent")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="for a run that can be repeated")

    def spec(self, context: str | None) -> RunSpec:
        return RunSpec(
            context=context,
            agent=self.agent,
            input=self.input,
            model=self.model,
            vaults=tuple(self.vaults),
            memory=self.memory,
            budget=self.budget.budget(),
            config=self.config,
            seed=-1 if self.seed is None else self.seed,
        )


class GetRun(Strict):
    """`get_run`."""

    id: Annotated[str, Field(max_length=100, description="the id of the run, `run_…`"), AfterValidator(_run_id)]
    limit: int = Field(20, ge=0, le=500, description="at most so many of the memories that it read, and that it wrote")
    max_tokens: Tokens = 8000
