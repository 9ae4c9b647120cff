"""Sessions inside vLLM, against the real engine: the same tokens as by resubmitting, at the price that was promised.

A1 sends all live ids anew to /v1/completions, A2 cuts and goes on in the engine. Three engines are started, one after the
other: blocks of 128, one whose table of signatures does not fit, and blocks of 32 for all the rest.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gpu import launch
from gpu.engine_env import ensure_plugin, plugin_folder
from gpu.prepare import Prepared, prepare
from runtime.settings import EngineSettings, Settings, load
from tests.gpu.session_client import BLOCK, check

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.engine]
IDLE_S = 8.0
# So few that eight requests of half the window do not fit.
BLOCKS = 128
TASK = """You are a careful assistant. A farmer has three fields. The first field grows wheat, the second grows barley and
the third lies fallow. Every year he moves the crops by one field. He keeps a notebook in which he writes what grew where,
how much rain fell, and what he sold at the market. Read the notebook step by step, say what you find in every step, and
keep each finding short, so that it can be used later. The notebook says: in the first year the wheat stood high, in the
second year the barley was poor, in the third year the rain came late and the harvest was small."""


@dataclass
class Server:
    """An engine that serves, and the two ways to ask it."""

    http: httpx.Client
    block_size: int
    opened: int = 0

    def encode(self, text: str) -> list[int]:
        body = {"model": "small", "prompt": text, "add_special_tokens": False}
        return list(self.http.post("/tokenize", json=body).json()["tokens"])

    def resubmit(self, ids: Sequence[int], max_tokens: int, **sampling: object) -> Turn:
        body = {
            "model": "small",
            "prompt": list(ids),
            "max_tokens": max_tokens,
            "temperature": 0,
            "return_token_ids": True,
        }
        reply = self.http.post("/v1/completions", json=body | sampling)
        assert reply.status_code == 200, reply.text
        choice, usage = reply.json()["choices"][0], reply.json()["usage"]
        written, finish = choice["token_ids"], choice["finish_reason"]
        cached = (usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0
        end = {"finish": finish, "computed": usage["prompt_tokens"] - cached}
        return Turn(written[:-1] if finish == "stop" else written, choice["text"], end)

    def session(self) -> Session:
        self.opened += 1
        return Session(self, f"s{self.opened}")

    def state(self) -> dict[str, Any]:
        return dict(self.http.get("/mneme/sessions").json())

    def metric(self, name: str) -> float:
        found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", self.http.get("/metrics").text, re.MULTILINE)
        assert found, f"no metric {name}"
        return float(found[1])

    def kv_in_use(self) -> float:
        """Share of the KV cache that is held when a small request has just gone through."""
        self.resubmit([1, 2, 3], 1)
        return self.metric("vllm:kv_cache_usage_perc")


@dataclass
class Turn:
    ids: list[int]
    text: str
    end: dict[str, Any]


@dataclass
class Session:
    """A client of one session, which keeps the ids itself."""

    server: Server
    sid: str
    ids: list[int] = field(default_factory=list)

    def body(self, keep: int | None, append: Sequence[int], max_tokens: int, **more: object) -> dict[str, Any]:
        sampling = {"max_tokens": max_tokens, "temperature": 0} | dict(more)
        bound = sampling.pop("bound", None)
        holds = len(self.ids)
        return {"truncate_to": keep, "append": list(append), "holds": holds, "sampling": sampling, "bound": bound}

    @property
    def path(self) -> str:
        return f"/mneme/sessions/{self.sid}/generate"

    def turn(self, keep: int | None, append: Sequence[int], max_tokens: int, **more: object) -> Turn:
        reply = self.server.http.post(self.path, json=self.body(keep, append, max_tokens, **more))
        assert reply.status_code == 200, reply.text
        lines = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
        assert lines.pop() == "[DONE]"
        events = [json.loads(line) for line in lines]
        end = events.pop()
        assert "finish" in end, end
        written = [token for event in events for token in event["ids"]]
        self.ids = [*self.ids[: len(self.ids) if keep is None else keep], *append, *written]
        assert (end["live"], end["prompt_tokens"]) == (len(self.ids), len(self.ids) - len(written))
        assert end["computed"] + end["cached"] == end["prompt_tokens"]
        return Turn(written, "".join(event["text"] for event in events), end)

    def close(self) -> None:
        assert self.server.http.delete(f"/mneme/sessions/{self.sid}").status_code == 204


def own_home(folder: Path, prepared: Prepared) -> Path:
    """A home with the user's engine and model and a plug-in of its own."""
    (folder / "engines").mkdir()
    prepared.engine.folder(folder).symlink_to(prepared.engine.folder(load().settings.home))
    ensure_plugin(folder)
    return folder


@contextmanager
def serving(folder: Path, prepared: Prepared, block_size: int) -> Iterator[Server]:
    """An engine that holds sessions itself, below the home `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = EngineSettings(
        port=port,
        block_size=block_size,
        sessions="in_engine",
        session_idle_s=IDLE_S,
        max_model_len=1024,
        extra_args=["--max-num-seqs", "8", "--num-gpu-blocks-override", str(BLOCKS)],
    )
    small = prepared.model._replace(served_name="small")
    made = launch.vllm(Settings(home=folder, engine=own), prepared.engine, small)
    log = folder / "engine.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            made.command, env=made.env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as http:
            until(lambda: process.poll() is not None or healthy(http), 400)
            assert process.poll() is None, log.read_text(errors="replace")[-4000:]
            yield Server(http, block_size)
    finally:
        process.terminate()
        process.wait(60)


def healthy(http: httpx.Client) -> bool:
    try:
        return http.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true within {seconds} s"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return anyio.run(prepare, load().settings)


@pytest.fixture(scope="module")
def small_blocks(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(own_home(tmp_path_factory.mktemp("home"), prepared), prepared, BLOCK) as server:
        yield server


def check_a1_equals_a2(server: Server, subtasks: int = 3, **sampling: object) -> None:
    """Subtasks of work (24) and conclusion (12); the work is cut out when the conclusion is there."""
    session, ids = server.session(), server.encode(TASK)
    peak, whole = 0, len(ids)
    kept, first = 0, True
    conclusion: list[int] = []
    for subtask in range(subtasks):
        header = server.encode(f"\n\nStep {subtask + 1}. I look closely at year {subtask + 1}:")
        append = [*(ids if first else conclusion), *header]
        before = list(session.ids)
        work = session.turn(kept if not first else None, append, 24, **sampling)
        again = server.resubmit([*before[:kept], *append], 24, **sampling)
        assert (work.ids, work.text, work.end["finish"]) == (again.ids, again.text, again.end["finish"])
        if not first:
            assert work.end["computed"] == len(append), "A2: only what is new"
            assert again.end["computed"] <= len(append) + server.block_size - 1, "A1: at most a part of a block more"
        kept = len(session.ids) - len(work.ids) - len(header)
        ask = server.encode("\nIn short,")
        before, uncomputed = list(session.ids), work.end["finish"] == "length"
        short = session.turn(None, ask, 12, **sampling)
        again = server.resubmit([*before, *ask], 12, **sampling)
        assert (short.ids, short.text) == (again.ids, again.text)
        assert short.end["computed"] == len(ask) + uncomputed, "the last sampled token has no keys and values yet"
        conclusion, first = [*ask, *short.ids], False
        peak = max(peak, work.end["blocks"], short.end["blocks"])
        whole += len(header) + len(work.ids) + len(conclusion)
    assert peak < -(-whole // server.block_size), "fewer blocks than the whole context takes"
    session.close()


def test_a1_and_a2_write_the_same_tokens_at_block_size_128(prepared: Prepared, tmp_path: Path) -> None:
    with serving(own_home(tmp_path, prepared), prepared, 128) as server:
        check_a1_equals_a2(server)


def test_a_signature_that_does_not_fit_disables_sessions_but_still_serves(prepared: Prepared, tmp_path: Path) -> None:
    home = own_home(tmp_path, prepared)
    table = plugin_folder(home) / "mneme_vllm" / "signatures.py"
    text = table.read_text(encoding="utf-8")
    assert '"self, ordered_blocks"' in text
    table.write_text(text.replace('"self, ordered_blocks"', '"self, blocks"'), encoding="utf-8")
    with serving(home, prepared, 32) as server:
        state = server.state()
        assert state["enabled"] is False
        assert "BlockPool.free_blocks takes (self, ordered_blocks), expected (self, blocks)" in state["reason"]
        session = server.session()
        refused = server.http.post(session.path, json=session.body(None, [1], 1))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "sessions_disabled")
        assert server.resubmit(server.encode("The capital of France is"), 4).text.startswith(" Paris")


def test_a1_and_a2_write_the_same_tokens_at_block_size_32(small_blocks: Server) -> None:
    check_a1_equals_a2(small_blocks)


def test_a_seed_counts_anew_for_every_turn_as_for_every_request(small_blocks: Server) -> None:
    session, ids = small_blocks.session(), small_blocks.encode("My favourite animals are")
    for seed in (7, None, 8, 7):
        before, drawn = list(session.ids), {"temperature": 1.0, "top_p": 0.95, "seed": seed}
        turn = session.turn(0 if not before else len(ids) - 1, ids if not before else ids[-1:], 8, **drawn)
        if seed is not None:
            assert turn.ids == small_blocks.resubmit(ids, 8, **drawn).ids
    session.close()


def test_a_cut_in_a_shared_block_leaves_the_other_session_as_it_was(small_blocks: Server) -> None:
    prompt, more = [*small_blocks.encode(TASK)[:64], 198], small_blocks.encode(" The rain was")
    expected = small_blocks.resubmit(prompt, 24)
    one, other = small_blocks.session(), small_blocks.session()
    one.turn(None, prompt, 4)
    first = other.turn(None, prompt, 8)
    assert first.end["cached"] == 64, "both hold the same two blocks"

    cut = one.turn(40, more, 8)
    assert cut.end["computed"] == len(more) + 8, "back to the start of the block, which is not ours alone"
    assert cut.ids == small_blocks.resubmit([*prompt[:40], *more], 8).ids
    assert [*first.ids, *other.turn(None, [], 16).ids] == expected.ids

    cut = one.turn(20, more, 4)
    assert cut.end["computed"] == len(more) + 20, "back to nothing"
    assert cut.ids == small_blocks.resubmit([*prompt[:20], *more], 4).ids
    one.close()
    other.close()


def test_a_block_that_is_written_on_is_no_longer_found_by_its_old_content(small_blocks: Server) -> None:
    prompt, more = [*small_blocks.encode(TASK)[20:84], 198], small_blocks.encode(" The barley was")
    session = small_blocks.session()
    before = session.turn(None, prompt, 8)
    cut = session.turn(40, more * 8, 8)
    assert cut.end["computed"] == len(more) * 8, "the block is ours alone"
    assert small_blocks.resubmit(prompt, 8).ids == before.ids
    session.close()


def test_no_block_is_leaked(small_blocks: Server) -> None:
    until(lambda: small_blocks.state()["sessions"] == 0, 2 * IDLE_S)
    assert small_blocks.kv_in_use() == 0
    session = small_blocks.session()
    turn = session.turn(None, small_blocks.encode(TASK), 4)
    held = small_blocks.state()
    assert (held["sessions"], held["blocks"]) == (1, turn.end["blocks"])
    assert small_blocks.metric("mneme_sessions_open") == 1
    assert small_blocks.metric("mneme_session_blocks") == turn.end["blocks"] > 0
    assert small_blocks.kv_in_use() > 0
    cut_before = small_blocks.metric("mneme_session_truncated_tokens_total")
    back = session.turn(10, [198], 1)
    assert (back.end["blocks"], back.end["computed"]) == (1, 1)
    assert small_blocks.metric("mneme_session_truncated_tokens_total") - cut_before == turn.end["live"] - 10
    assert session.turn(0, small_blocks.encode(TASK), 4).ids == turn.ids, "cut to nothing: it begins anew"
    session.close()
    until(lambda: small_blocks.kv_in_use() == 0, 10)
    assert small_blocks.state()["blocks"] == 0


def test_a_grammar_counts_for_its_turn_only(small_blocks: Server) -> None:
    session, ids = small_blocks.session(), small_blocks.encode("The year of the harvest was")
    regex = {"regex": " (18|19)[0-9]{2}"}
    year = session.turn(None, ids, 12, bound=regex)
    assert re.fullmatch(regex["regex"], year.text)
    assert year.ids == small_blocks.resubmit(ids, 12, structured_outputs=regex).ids
    after = list(session.ids)
    free = session.turn(None, [], 12)
    assert free.ids == small_blocks.resubmit(after, 12).ids
    shape = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    fields = session.turn(len(after), small_blocks.encode("\nAs JSON: "), 24, bound={"json": shape})
    assert set(json.loads(fields.text)) == {"ok"}
    session.close()


def test_a_client_that_goes_away_ends_its_turn_and_the_sequence_stays_as_it_was(small_blocks: Server) -> None:
    session, ids = small_blocks.session(), small_blocks.encode(TASK)
    session.turn(None, ids, 4)
    body = session.body(None, [198], 700)
    with small_blocks.http.stream("POST", session.path, json=body) as reply:
        # An iterator that nobody holds is collected, and closes the connection.
        lines = reply.iter_lines()
        next(lines)
        busy = small_blocks.http.post(session.path, json=body)
        assert (busy.status_code, busy.json()["error"]["code"]) == (409, "session_busy")
    until(lambda: small_blocks.state()["blocks"] == 0, 10)
    assert small_blocks.kv_in_use() == 0, "the engine has aborted the request"
    expected = small_blocks.resubmit(session.ids, 8)
    assert session.turn(None, [], 8).ids == expected.ids
    session.close()


def test_a_session_that_is_preempted_is_computed_anew_and_goes_on(small_blocks: Server) -> None:
    """The engine takes blocks back from whoever began to run last: here the session, in the middle of its turn."""
    session, ids = small_blocks.session(), small_blocks.encode(TASK)
    others = [[*small_blocks.encode(f"Field number {n}."), *ids, *ids, *ids, *ids][:512] for n in range(7)]
    before = small_blocks.metric("vllm:num_preemptions_total")
    with ThreadPoolExecutor(len(others)) as pool:
        asked = [pool.submit(small_blocks.resubmit, other, 96, ignore_eos=True) for other in others]
        until(lambda: small_blocks.metric("vllm:num_requests_running") == len(others), 60)
        session.turn(None, ids, 4)
        turn = session.turn(len(ids), small_blocks.encode("\n\nThe first step:"), 160)
        assert all(len(one.result().ids) == 96 for one in asked)
    assert small_blocks.metric("vllm:num_preemptions_total") > before
    assert turn.end["blocks"] <= -(-len(session.ids) // BLOCK)
    expected = small_blocks.resubmit(session.ids, 12)
    after = session.turn(None, [], 12)
    assert after.ids == expected.ids
    assert after.end["computed"] <= 1, "its keys and values are all there again"
    session.close()
    until(lambda: small_blocks.kv_in_use() == 0, 10)


def test_the_longest_idle_session_makes_room_for_another(small_blocks: Server) -> None:
    sessions = [small_blocks.session() for _ in range(5)]
    for session in sessions:
        session.turn(None, [1, 2, 3], 1)
    assert small_blocks.state()["sessions"] == 4, "half of the engine's eight request slots"
    gone = small_blocks.http.post(sessions[0].path, json=sessions[0].body(None, [], 1))
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "session_gone")
    for session in sessions[1:]:
        session.turn(None, [], 1)
        session.close()


def test_what_cannot_be_is_refused_and_changes_nothing(small_blocks: Server) -> None:
    session = small_blocks.session()
    session.turn(None, [1, 2, 3], 2)
    for wrong, code in (
        (session.body(99, [1], 1), "invalid_request"),
        (session.body(0, [], 1), "invalid_request"),
        (session.body(None, [10**6], 1), "invalid_request"),
        (session.body(None, [1], 1) | {"unknown": 1}, "invalid_request"),
        (session.body(None, [1], 1024), "context_length_exceeded"),
        (session.body(None, [1], 1, bound={"regex": "a", "json": {}}), "invalid_request"),
    ):
        reply = small_blocks.http.post(session.path, json=wrong)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, code), reply.text
    late = small_blocks.http.post(session.path, json=session.body(None, [1], 1, bound={"grammar": "not a grammar ::="}))
    assert json.loads(late.text.split("\n\n")[0].removeprefix("data: "))["error"]["code"] == 400, late.text
    session.turn(None, [], 2)
    session.ids.append(1)
    gone = small_blocks.http.post(session.path, json=session.body(None, [1], 1))
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "session_gone"), (
        "the client believes something else"
    )
    assert small_blocks.state()["sessions"] == 0


def test_an_idle_session_times_out_and_later_calls_are_told_that_it_is_gone(small_blocks: Server) -> None:
    session, timed_out = small_blocks.session(), small_blocks.state()["timed_out"]
    session.turn(None, small_blocks.encode(TASK), 2)
    until(lambda: small_blocks.state()["timed_out"] == timed_out + 1, 3 * IDLE_S)
    assert small_blocks.metric("mneme_sessions_timed_out_total") == timed_out + 1
    reply = small_blocks.http.post(session.path, json=session.body(None, [1], 1))
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "session_gone")
    until(lambda: small_blocks.kv_in_use() == 0, 10)


def test_the_client_writes_the_same_tokens_both_ways_and_every_piece_is_what_it_was_bound_to(
    small_blocks: Server,
) -> None:
    anyio.run(check, str(small_blocks.http.base_url).rstrip("/"))
