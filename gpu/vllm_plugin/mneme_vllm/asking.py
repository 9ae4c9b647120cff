"""What a client may ask of a session: the body of a call, checked before anything reaches the engine.

    {"truncate_to": 40, "append": [1, 2], "holds": 52, "sampling": {"max_tokens": 20, …}, "bound": {"regex": "…"} | null}

Source: ours.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

TokenId = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AskedSampling(_Strict):
    """How to sample; what is not given is as with /v1/completions."""

    max_tokens: int = Field(16, ge=1)
    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop_token_ids: tuple[TokenId, ...] = ()


class AskedBound(_Strict):
    """What the text must fit: exactly one of the three."""

    # The name of the field on the wire is that of a method that the base class has kept for compatibility.
    json_schema: dict[str, Any] | None = Field(None, alias="json")
    regex: str | None = None
    grammar: str | None = None

    @model_validator(mode="after")
    def _one(self) -> AskedBound:
        if sum(value is not None for value in (self.json_schema, self.regex, self.grammar)) != 1:
            raise ValueError("expected exactly one of json, regex, grammar")
        return self


class Asked(_Strict):
    """One call. `holds`: how many live tokens the client believes the server has, before `truncate_to` counts."""

    truncate_to: int | None = Field(None, ge=0)
    append: tuple[TokenId, ...] = ()
    holds: int = Field(ge=0)
    sampling: AskedSampling = AskedSampling()  # type: ignore[call-arg]
    bound: AskedBound | None = None


class Refused(Exception):
    """A call that is answered with an error. `status` is HTTP's; a client branches on `code`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Chunk(NamedTuple):
    """What the engine is to do: keep the first `keep` tokens, put `ids` behind them, write on. `cut`: how many go."""

    keep: int
    ids: tuple[int, ...]
    cut: int

    @property
    def length(self) -> int:
        return self.keep + len(self.ids)


def chunk_for(asked: Asked, live: tuple[int, ...], *, max_len: int, vocabulary: int) -> Chunk:
    """The chunk for a call on a session with the tokens `live`.

    With nothing to append the last kept token is given once more: the model writes on from a token that it reads. Raises
    `Refused` for what cannot be: a cut behind the end, nothing to write on from, an unknown token, more than the window.
    """
    keep = len(live) if asked.truncate_to is None else asked.truncate_to
    if keep > len(live):
        raise Refused(400, "invalid_request", f"truncate_to is {keep}, but the session has {len(live)} tokens")
    ids, cut = asked.append, len(live) - keep
    if not ids and keep:
        keep, ids = keep - 1, (live[keep - 1],)
    if not ids:
        raise Refused(400, "invalid_request", "append is empty and nothing is kept: there is no token to write on from")
    if max(ids) >= vocabulary:
        raise Refused(
            400, "invalid_request", f"append has token {max(ids)}; the model's vocabulary ends at {vocabulary - 1}"
        )
    chunk = Chunk(keep, ids, cut)
    wanted = chunk.length + asked.sampling.max_tokens
    if wanted > max_len:
        raise Refused(
            400,
            "context_length_exceeded",
            f"{chunk.length} tokens and {asked.sampling.max_tokens} to write are {wanted}; the window is {max_len}",
        )
    return chunk
