"""A model server without a model that keeps books like a real one: tokens, a prefix cache of whole blocks, held sequences.

Texts become tokens by a rule that can be undone: a token is at most six bytes, a space and what follows it, and its id
is those bytes as a number. So the same text has the same ids in every process, and a word of up to five bytes is one
token. What the server still has of a prompt is found as in vLLM: whole blocks from the beginning, never the last token. A
sequence that is held keeps everything but the token that was written last, whose keys and values do not exist yet. What
is written comes from a `Say`. `ScriptedSession` is a session of it in this process. Source: vllm §4.4, §7; ours.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import anyio.lowlevel

from runtime.errors import ModelRejected
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.sequence import LiveTokens
from runtime.llm.sessions import Bound
from runtime.types import FinishReason, Message, Sampling, Usage

END_OF_TEXT = 0
TOKEN_BYTES = 6
BLOCK = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """What a generation is asked: `ids` is everything live, `text` the same in characters."""

    info: CallInfo
    ids: tuple[int, ...]
    text: str
    sampling: Sampling
    bound: Bound | None


# The text that the model would write on with, before any limit.
Say = Callable[[Asked], str]


def encode(text: str) -> tuple[int, ...]:
    """The ids of a text."""
    ids: list[int] = []
    token = b""
    for char in text:
        piece = char.encode("utf-8", "surrogatepass")
        if token and (char.isspace() or len(token) + len(piece) > TOKEN_BYTES):
            ids.append(_id(token))
            token = b""
        token += piece
    if token:
        ids.append(_id(token))
    return tuple(ids)


def decode(ids: Sequence[int]) -> str:
    """The text of ids; the end-of-text token has none."""
    return b"".join(_bytes(token) for token in ids).decode("utf-8", "surrogatepass")


def chat_prompt(messages: Sequence[Message]) -> str:
    """The messages in a chat template, up to where the answer begins."""
    return "".join(f"<|{message.role}|>\n{message.text}\n" for message in messages) + "<|assistant|>\n"


@dataclass(frozen=True, slots=True)
class Generated:
    """One generation: `ids` without the end-of-text token, and what it took, in tokens and blocks."""

    ids: tuple[int, ...]
    finish: FinishReason
    computed: int
    cached: int
    blocks: int


class ScriptedEngine:
    """The books of one server. `sessions` holds sequences by name, for servers that do so."""

    def __init__(self, say: Say, *, block_size: int = BLOCK, window: int = 8192) -> None:
        self.block_size = block_size
        self.window = window
        self.sessions: dict[str, list[int]] = {}
        self._say = say
        self._cache: set[int] = set()

    def complete(self, asked: Asked) -> Generated:
        """Generate behind a prompt that was sent whole."""
        most = (len(asked.ids) - 1) // self.block_size
        hit = 0
        for key in self._blocks(asked.ids)[:most]:
            if key not in self._cache:
                break
            hit += self.block_size
        return self._generate(asked, cached=hit)

    def go_on(self, name: str, asked: Asked, kept: int) -> Generated:
        """Generate behind a held sequence, of which the first `kept` tokens have their keys and values."""
        made = self._generate(asked, cached=kept)
        self.sessions[name] = [*asked.ids, *made.ids]
        return made

    def _generate(self, asked: Asked, *, cached: int) -> Generated:
        room = self.window - len(asked.ids)
        if room < 1:
            raise ModelRejected(
                f"session: {len(asked.ids)} live tokens fill the scripted window of {self.window}; cut something",
                status=400,
            )
        limit = room if asked.sampling.max_tokens is None else min(room, asked.sampling.max_tokens)
        ids = encode(self._say(asked))
        finish: FinishReason = "length" if len(ids) >= limit else "stop"
        ids = ids[:limit]
        # The token that was written last has no keys and values: nothing can be found behind it.
        self._cache.update(self._blocks([*asked.ids, *ids][:-1]))
        blocks = -(-(len(asked.ids) + len(ids)) // self.block_size)
        return Generated(ids, finish, len(asked.ids) - cached, cached, blocks)

    def _blocks(self, ids: Sequence[int]) -> list[int]:
        keys: list[int] = []
        for start in range(0, len(ids) - self.block_size + 1, self.block_size):
            keys.append(hash((keys[-1] if keys else 0, *ids[start : start + self.block_size])))
        return keys


class ScriptedSession(LiveTokens):
    """A session in this process."""

    def __init__(self, engine: ScriptedEngine, messages: Sequence[Message], model: str) -> None:
        super().__init__(encode(chat_prompt(messages)))
        self._engine = engine
        self._model = model

    @property
    def backend(self) -> Literal["resubmit", "in_engine"]:
        """See `Session`."""
        return "resubmit"

    @property
    def window(self) -> int:
        """See `Session`."""
        return self._engine.window

    async def encode(self, text: str) -> tuple[int, ...]:
        """See `Session`."""
        return encode(text)

    async def stream(self, *, info: CallInfo, sampling: Sampling, bound: Bound | None = None) -> AsyncIterator[Chunk]:
        """See `Session`."""
        await anyio.lowlevel.checkpoint()
        made = self._engine.complete(Asked(info, tuple(self._ids), decode(self._ids), sampling, bound))
        ids, finish = stopped(made.ids, made.finish, sampling.stop)
        for token in ids[:-1]:
            yield Chunk(text=decode([token]), token_ids=(token,))
        usage = Usage(len(self._ids), len(made.ids), made.cached)
        self.wrote(ids, usage, blocks=made.blocks)
        yield Chunk(
            text=decode(ids[-1:]), token_ids=tuple(ids[-1:]), finish_reason=finish, usage=usage, model=self._model
        )


def stopped(ids: Sequence[int], finish: FinishReason, stops: Sequence[str]) -> tuple[tuple[int, ...], FinishReason]:
    """The ids up to the first stop string; the token in which it begins is encoded anew up to there."""
    found = re.search("|".join(map(re.escape, stops)), text) if stops and (text := decode(ids)) else None
    if found is None:
        return tuple(ids), finish
    kept: list[int] = []
    left = found.start()
    for token in ids:
        piece = decode([token])
        if len(piece) > left:
            return (*kept, *encode(piece[:left])), "stop"
        kept.append(token)
        left -= len(piece)
    return tuple(kept), "stop"


def _id(token: bytes) -> int:
    # The byte in front keeps zeros at the beginning, and the end-of-text token apart.
    return int.from_bytes(b"\x01" + token)


def _bytes(token: int) -> bytes:
    return token.to_bytes((token.bit_length() + 7) // 8)[1:]
