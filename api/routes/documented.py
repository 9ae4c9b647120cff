"""What /api answers, for `/openapi.json`; the conversions stand in wire.py and a test holds both together. Source: ours."""

from __future__ import annotations

from datetime import datetime
from types import UnionType
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from runtime.keys import Scope
from runtime.run_types import MemoryMode, RunStatus

Responses = dict[int | str, dict[str, Any]]


class Documented(BaseModel):
    """These fields and no others."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Problem(BaseModel):
    """RFC 9457. `code` is stable; `errors` names the fields that are wrong."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[dict[str, str]] = []


class Tokens(Documented):
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    total_tokens: int


class PurposeTokens(Documented):
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    ms: float


class WorkingMemoryTokens(Documented):
    """At the end of the run: tokens that are live, the most that were, and what was pruned, moved up, read back. `blocks`:
    the most blocks of the KV cache that were held, of a run in one session whose server tells."""

    live: int
    peak: int
    pruned: int
    reencoded: int
    recalled: int
    blocks: int | None = None


class RunUsage(Documented):
    """`working_memory`: of an agent that prunes its own; null for every other."""

    total: Tokens
    by_purpose: dict[str, PurposeTokens]
    working_memory: WorkingMemoryTokens | None


class RunMemories(Documented):
    read: list[dict[str, JsonValue]]
    written: list[dict[str, JsonValue]]


class RunLimits(Documented):
    tokens: int | None
    calls: int | None
    seconds: float | None


class RunParent(Documented):
    run: str
    event: int


class RunError(Documented):
    code: str
    message: str


class RunBody(Documented):
    """A run."""

    id: str
    agent: str
    agent_version: int
    model: str
    status: RunStatus
    input: JsonValue
    vaults: list[str]
    memory: MemoryMode
    budget: RunLimits
    config: dict[str, JsonValue]
    seed: int
    output: JsonValue
    error: RunError | None
    usage: RunUsage
    memories: RunMemories
    attempt: int
    executor: str | None
    last_event: int
    parent: RunParent | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunList(Documented):
    items: list[RunBody]
    next: str | None


class RunAccepted(Documented):
    id: str
    status: RunStatus


class EventBody(Documented):
    seq: int
    run_id: str
    at: datetime
    type: str
    step: str | None = None
    data: dict[str, JsonValue]


class EventList(Documented):
    items: list[EventBody]
    next: int | None


class AgentBody(Documented):
    name: str
    version: int
    description: str
    kinds: list[str]
    config: dict[str, JsonValue]
    prompts: dict[str, str]


class AgentList(Documented):
    items: list[AgentBody]
    next: None


class KeyBody(Documented):
    id: str
    name: str
    user: str
    prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyMade(KeyBody):
    """`key` is the text of the key, shown this once; null when an `Idempotency-Key` replays the answer."""

    key: str | None


class KeyList(Documented):
    items: list[KeyBody]
    next: None


class Health(Documented):
    status: Literal["ok"]


class CheckBody(Documented):
    name: str
    ok: bool
    detail: str
    fix: str


class Ready(Documented):
    ready: bool
    checks: list[CheckBody]


_TEXTS: Final = {
    400: "something in the request is wrong; `errors` names it",
    401: "no valid API key",
    403: "the key may not do this, or the request came from another site",
    404: "there is no such thing, or it is somebody else's",
    409: "its state does not allow this",
    410: "it was deleted or has expired; its content is not shown",
    412: "it was changed since you read it; `current` and `seen` hold both versions, `diff` what differs",
    413: "the body is too large",
    415: "the body is not announced as JSON",
    422: "a field, a parameter or an option of the agent is wrong; `errors` names it",
    428: "the header `If-Match` is missing",
    429: "too many of your jobs are unfinished; `Retry-After` says when to try again",
    503: "the database or the model server is not available",
}
_ALWAYS: Final = (400, 401, 403, 422, 503)


def answers(
    good: type[BaseModel] | UnionType | None, *others: int, status: int = 200, text: str = "the answer"
) -> Responses:
    """The responses of a route: the good one, what every route may say, and `others`."""
    described: dict[str, Any] = {"description": text} | ({"model": good} if good is not None else {})
    problems: Responses = {
        code: {
            "description": _TEXTS[code],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for code in (*_ALWAYS, *others)
    }
    return {status: described, **problems}


def problem(status: int, model: type[BaseModel], text: str) -> Responses:
    """The response of a problem that has members of its own."""
    schema = model.model_json_schema(by_alias=True)
    known = schema.pop("$defs", {})
    return {status: {"description": text, "content": {"application/problem+json": {"schema": _inlined(schema, known)}}}}


def _inlined(part: Any, known: dict[str, Any]) -> Any:
    """The schema without references to definitions of its own, which nobody finds inside of another document."""
    if isinstance(part, list):
        return [_inlined(item, known) for item in part]
    if not isinstance(part, dict):
        return part
    name = str(part.get("$ref", "")).removeprefix("#/$defs/")
    if name in known:
        return _inlined(known[name], known)
    return {key: _inlined(value, known) for key, value in part.items()}
