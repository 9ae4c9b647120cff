"""Which sessions there are, and one turn of one of them.

A session is the ids of its live tokens and, while it holds KV cache, a resumable request. The ids are kept here too, so a
turn that breaks off leaves the sequence as it was: its request is aborted, and the next turn starts a new one, which finds
most of its blocks in the prefix cache. Who is idle for long ends; who has been idle longest makes room when others need it.
Everything runs on the server's event loop: between two awaits nothing changes. Source: vllm.md §4.5; ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from vllm.engine.protocol import EngineClient
from vllm.exceptions import VLLMClientError
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
from vllm.v1.engine.detokenizer import IncrementalDetokenizer
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from . import KEEP, REPORT, metrics
from .asking import Asked, AskedBound, AskedSampling, Chunk, Refused, chunk_for
from .resumable import Resumable

logger = logging.getLogger("vllm.mneme_vllm")
# What a request gets that a client does not set, as /v1/completions gives it: from the model's own generation config.
FROM_MODEL = ("repetition_penalty", "temperature", "top_p", "top_k", "min_p")


@dataclass(slots=True, eq=False)
class _Session:
    sid: str
    ids: tuple[int, ...] = ()
    blocks: int = 0
    busy: bool = False
    request: Resumable | None = None
    timer: asyncio.TimerHandle | None = None

    async def release(self) -> None:
        """Abort the request and give its blocks back; the ids stay."""
        request, self.request, self.blocks = self.request, None, 0
        if request is not None:
            await request.close()


class Registry:
    """The sessions of this server. `reason`: why there are none, or None."""

    def __init__(self, engine: EngineClient, *, idle_s: float, reason: str | None) -> None:
        self._engine = engine
        self.idle_s, self.reason, self.timed_out = idle_s, reason, 0
        self._sessions: dict[str, _Session] = {}  # the longest idle first
        self._closing: set[asyncio.Task[None]] = set()
        self._count = 0
        config = engine.vllm_config
        # A waiting session takes a request slot and blocks from everyone; half stays for the others.
        self._most_sessions = max(1, config.scheduler_config.max_num_seqs // 2)
        self._most_blocks = (config.cache_config.num_gpu_blocks or 0) // 2
        self._block_size = config.cache_config.block_size

    def state(self) -> dict[str, Any]:
        """What GET /mneme/sessions answers."""
        return {
            "enabled": self.reason is None,
            "reason": self.reason,
            "sessions": len(self._sessions),
            "blocks": sum(session.blocks for session in self._sessions.values()),
            "idle_s": self.idle_s,
            "timed_out": self.timed_out,
        }

    def begin(self, sid: str, asked: Asked) -> Turn:
        """Take the session for one turn, which must be closed. Raises `Refused`."""
        if self.reason is not None:
            raise Refused(503, "sessions_disabled", self.reason)
        session = self._sessions.get(sid)
        if session is not None and session.busy:
            raise Refused(409, "session_busy", f"session {sid!r} is in a turn; it takes one at a time")
        if session is None and asked.holds:
            raise Refused(409, "session_gone", f"session {sid!r} is not here: unknown, idle for too long, or evicted")
        if session is not None and asked.holds != len(session.ids):
            self._drop(session)
            raise Refused(
                409, "session_gone", f"session {sid!r} had {len(session.ids)} tokens, not {asked.holds}; it is closed"
            )
        model = self._engine.model_config
        live = () if session is None else session.ids
        chunk = chunk_for(asked, live, max_len=model.max_model_len, vocabulary=model.get_vocab_size())
        params = self._params(asked)
        session = session or _Session(sid)
        self._make_room(session, -(-(chunk.length + asked.sampling.max_tokens) // self._block_size))
        self._sessions[sid] = session
        session.busy = True
        if session.timer is not None:
            session.timer.cancel()
        self._publish()
        return Turn(self, session, chunk, params)

    async def probe(self) -> None:
        """Go through one turn, so that `reason` is true from the start: the scheduler tells it with the end of a turn."""
        if self.reason is None:
            turn = self.begin("probe", Asked(append=(0,), holds=0, sampling=AskedSampling(max_tokens=1)))
            try:
                async for event in turn.events():
                    self.reason = event["error"]["message"] if "error" in event else self.reason
            finally:
                await turn.close()
                self.close("probe")

    def close(self, sid: str) -> bool:
        """End a session, one in a turn when that is over; whether there was one."""
        session = self._sessions.get(sid)
        if session is not None:
            self._drop(session)
        return session is not None

    def resumable(self, session: _Session) -> Resumable:
        """A new request for a session."""
        self._count += 1
        return Resumable(self._engine, f"mneme-{session.sid}-{self._count}")

    def words(self, session: _Session, ids: tuple[int, ...], params: SamplingParams) -> IncrementalDetokenizer:
        """What makes text of the tokens that come behind `ids`."""
        about = SimpleNamespace(
            request_id=session.sid, prompt_token_ids=list(ids), prompt_embeds=None, sampling_params=params
        )
        return IncrementalDetokenizer.from_new_request(self._engine.get_tokenizer(), about)

    async def end(self, session: _Session) -> None:
        """A turn is over: the session waits, unless it was dropped meanwhile."""
        session.busy = False
        if self._sessions.get(session.sid) is session:
            self._sessions[session.sid] = self._sessions.pop(session.sid)
            session.timer = asyncio.get_running_loop().call_later(self.idle_s, self._expire, session)
        else:
            await session.release()
        self._publish()

    def _params(self, asked: Asked) -> SamplingParams:
        default = self._engine.model_config.get_diff_sampling_param()
        own = asked.sampling
        chosen = {name: default[name] for name in FROM_MODEL if name in default}
        chosen |= {
            name: value for name, value in (("temperature", own.temperature), ("top_p", own.top_p)) if value is not None
        }
        return SamplingParams(
            **chosen,
            seed=own.seed,
            max_tokens=own.max_tokens,
            stop_token_ids=list(dict.fromkeys([*own.stop_token_ids, *default.get("stop_token_ids", ())])),
            structured_outputs=_bound(asked.bound),
            # Text is made here: vLLM's detokenizer would run on from the last chunk.
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )

    def note(self, session: _Session, report: dict[str, Any] | None) -> None:
        """Take in what the scheduler says with the end of a chunk; without it, it is not ours."""
        mine = (report or {}).get(REPORT)
        session.blocks = mine["blocks"] if mine else 0
        refused = mine["refused"] if mine else "the scheduler is not mneme_vllm's; start vLLM with --scheduler-cls"
        if refused is not None:
            logger.warning("sessions are disabled: %s", refused)
            self.reason = refused
            for other in list(self._sessions.values()):
                self._drop(other)

    def _make_room(self, session: _Session, blocks: int) -> None:
        others = [other for other in self._sessions.values() if other is not session]
        held = blocks + sum(other.blocks for other in others)
        idle = [other for other in others if not other.busy]
        while idle and (len(others) >= self._most_sessions or held > self._most_blocks):
            longest = idle.pop(0)
            others.remove(longest)
            held -= longest.blocks
            logger.info("session %s ends: others need its room", longest.sid)
            self._drop(longest)

    def _expire(self, session: _Session) -> None:
        self.timed_out += 1
        metrics.TIMED_OUT.inc()
        logger.info("session %s ends: idle for %s s", session.sid, self.idle_s)
        self._drop(session)

    def _drop(self, session: _Session) -> None:
        """Forget a session. Its request is aborted at once, or by its turn when that is still being read."""
        if self._sessions.get(session.sid) is session:
            del self._sessions[session.sid]
        if session.timer is not None:
            session.timer.cancel()
        if not session.busy:
            task = asyncio.get_running_loop().create_task(session.release())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._publish()

    def _publish(self) -> None:
        metrics.OPEN.set(len(self._sessions))
        metrics.BLOCKS.set(sum(session.blocks for session in self._sessions.values()))


class Turn:
    """One chunk of a session: `events` is read once, `close` is always called and does the rest."""

    def __init__(self, registry: Registry, session: _Session, chunk: Chunk, params: SamplingParams) -> None:
        self._registry, self._session, self._chunk, self._params = registry, session, chunk, params
        self._whole = self._closed = False

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The pieces as they are written, then the figures; or what went wrong as the last."""
        try:
            async for event in self._run():
                yield event
        except (VLLMClientError, ValueError) as error:
            yield {"error": {"code": 400, "message": str(error)}}
        except (EngineGenerateError, EngineDeadError) as error:
            yield {"error": {"code": 500, "message": str(error) or type(error).__name__}}

    async def close(self) -> None:
        """End the turn. One that is not whole leaves the ids as they were and no request. Again: nothing."""
        if not self._closed:
            self._closed = True
            if not self._whole:
                await self._session.release()
            await self._registry.end(self._session)

    async def _run(self) -> AsyncIterator[dict[str, Any]]:
        session, keep = self._session, self._chunk.keep
        ids = session.ids[:keep] + self._chunk.ids
        if session.request is not None and keep:
            given, self._params.extra_args = self._chunk.ids, {KEEP: keep}
        else:
            await session.release()
            given, session.request = ids, self._registry.resumable(session)
        words = self._registry.words(session, ids, self._params)
        written: list[int] = []
        async for output in session.request.run(given, self._params):
            piece = output.outputs[0]
            finish = piece.finish_reason
            if finish not in (None, "stop", "length"):
                raise EngineGenerateError(f"the engine ended the request: {finish}")
            new = list(piece.token_ids)
            words.update(new, finish == "stop")
            # The token that stopped it does not stand in the sequence.
            new = new[:-1] if finish == "stop" else new
            written += new
            text = words.get_next_output_text(finish is not None, delta=True)
            if new or text:
                yield {"ids": new, "text": text}
            if finish is not None:
                metrics.TRUNCATED.inc(self._chunk.cut)
                self._registry.note(session, output.kv_transfer_params)
                session.ids = (*ids, *written)
                self._whole = True
                cached = output.num_cached_tokens or 0
                yield {
                    "finish": finish,
                    "prompt_tokens": len(ids),
                    "computed": len(ids) - cached,
                    "cached": cached,
                    "blocks": session.blocks,
                    "live": len(session.ids),
                }


def _bound(asked: AskedBound | None) -> StructuredOutputsParams | None:
    if asked is None:
        return None
    return StructuredOutputsParams(json=asked.json_schema, regex=asked.regex, grammar=asked.grammar)
