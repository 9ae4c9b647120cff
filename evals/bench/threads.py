"""What a tree of tasks costs a real model server, beside a loop that sends everything again, and whether it holds.

    MNEME_ENGINE__MAX_MODEL_LEN=8192 MNEME_ENGINE__KV_SPACE_GIB=2 MNEME_ENGINE__SESSIONS=in_engine mneme serve
    python -m evals.bench.threads --base-url http://127.0.0.1:8643/v1          # all parts; the run to quote
    python -m evals.bench.threads --only overhead                              # without any server

- `tools`: the same tree of 50 tool calls, read at 5, 20, 30 and 50, as a loop of chat requests that grows at its end, in
  steps, in one stream whose live tokens are sent again (A1), and in one that the engine holds (A2). The texts come from a
  script (thread_script.py, thread_forced.py), so every way serves the same tokens.
- `sizes`: trees of 4k, 16k and 64k tokens in a window of 8k.
- `overhead`: time of the executor itself, with a model that takes none.
- `shapes`: a tree whose shape is given, which the model of the server fills as it likes: documents that break it, and runs
  that do not end, are counted.

Tokens that a model would write count as prompt, once each. Source: tim §3.4, §5, §7; ours.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import anyio
import httpx
from rich.console import Console
from rich.table import Table

from agents.tim.rendering import compact
from evals.bench.thread_bench import TOOL, Ran, Workbench, open_workbench
from evals.bench.thread_forced import BLOCK, Forced, Instant, Ledger, Row, computed, named
from evals.bench.thread_script import Part, Script, long_tree, tool_tree
from evals.bench.thread_shapes import Mode, shapes
from runtime.llm.base import LLM, CallInfo
from runtime.llm.registry import resolve
from runtime.settings import Settings, load
from runtime.tool_costs import client_loop_tokens
from runtime.types import JsonObject, Message

PARTS: Final = ("tools", "sizes", "overhead", "shapes")
READINGS: Final = (5, 20, 30, 50)
GOAL_AT: Final = 30
SIZES: Final = (4_096, 16_384, 65_536)
FORMS: Final = ("A1", "A2")
WINDOW: Final = 8_192
THINGS: Final = 100
WIDE: Final[JsonObject] = {"max_plan": 64, "max_tool_calls": 64, "verify_forgetting": False}


@dataclass(frozen=True, slots=True)
class Way:
    """One way to serve a tree."""

    name: str
    mode: Mode
    k: int
    held: bool = False


WAYS: Final = (
    Way("steps, k = 0", "steps", 0),
    Way("stream A1, k = 0", "stream", 0),
    Way("stream A1, k = 1", "stream", 1),
    Way("stream A2, k = 0", "stream", 0, held=True),
)


@dataclass(frozen=True)
class Servers:
    """The model of one server, asked in both ways. `held` is None where its engine holds no sessions."""

    resent: LLM
    held: LLM | None
    mark: str

    def of(self, way: Way) -> LLM | None:
        """The model for a way; None: it cannot be gone."""
        return self.held if way.held else self.resent


# -- the books of a run ------------------------------------------------------------------------------------------------


async def scripted(bench: Workbench, llm: LLM, way: Way, tree: Sequence[Part], name: str) -> tuple[Ran, Ledger]:
    """Grow a given tree on a server."""
    ledger = Ledger()

    def called() -> None:
        ledger.tools += 1

    bench.tool(THINGS, called)
    model = Forced(llm, Script(tree, TOOL.name), ledger, name)
    return await bench.run(model, {**WIDE, "mode": way.mode, "k": way.k}), ledger


async def loop(llm: LLM, first: Sequence[Message], tree: Sequence[Part], ran: Ran, name: str) -> Ledger:
    """The same calls as a loop of chat requests, in which the history only grows. `ran` is the tree's run: its results are
    sent. What does not fit the window is counted on with the mean growth and not sent."""
    ledger, messages, sizes = Ledger(), named(first, name), list[int]()
    results = [payload.result for event in ran.events if (payload := event.payload).type == "tool.result"]
    for part in (leaf for task in tree for leaf in task.below):
        if sizes and sizes[-1] + 2 * (sizes[-1] - sizes[0]) // len(sizes) > WINDOW:
            break
        usage = await computed(llm, messages, CallInfo("bench.loop", name), ledger)
        sizes.append(usage.prompt_tokens)
        called = compact({"tool_name": TOOL.name, "parameters": {"shelf": part.shelf}})
        messages += [Message("assistant", f"{part.thought}\n{called}"), Message("user", results[ledger.tools])]
        ledger.tools += 1
    return ledger


def continued(ledger: Ledger, tools: int) -> int:
    """Prompt tokens of a loop up to so many tool calls and the reply behind the last, without any cache: what was sent, or,
    where not all of it fitted, what a first prompt of that size comes to that grows by the mean."""
    sent = [0, *(row.sent for row in ledger.rows)]
    prompts = [after - before for before, after in pairwise(sent)]
    if tools < len(prompts):
        return sum(prompts[: tools + 1])
    growth = round((prompts[-1] - prompts[0]) / (len(prompts) - 1))
    return client_loop_tokens(prompt=prompts[0], generated=0, result=growth, calls=tools)


# -- tool calls --------------------------------------------------------------------------------------------------------


async def tools(bench: Workbench, servers: Servers, console: Console, readings: Sequence[int]) -> None:
    """The table of part `tools`, and its goals at 30 tool calls, or at the last where that is no reading."""
    tree, found = tool_tree(max(readings)), dict[str, Ledger]()
    goal_at = GOAL_AT if GOAL_AT in readings else max(readings)
    plain: Ledger | None = None
    for way in WAYS:
        llm = servers.of(way)
        if llm is None:
            console.print(f"{way.name}: left out, the engine holds no sessions")
            continue
        ran, ledger = await scripted(bench, llm, way, tree, f"{servers.mark} {way.name}")
        assert ran.document
        found[way.name] = ledger
        if plain is None:
            plain = await loop(servers.resent, ledger.first, tree, ran, f"{servers.mark} loop")
    assert plain is not None
    whole = found["stream A1, k = 0"]
    table = Table(title=f"one tree, {max(readings)} tool calls in all, window {WINDOW}, blocks of {BLOCK}")
    for column in (
        "tool calls",
        "way",
        "computed",
        "of resending",
        "cached",
        "to ideal",
        "peak live",
        "of whole",
        "blocks",
    ):
        table.add_column(column, justify="left" if column == "way" else "right")
    table.add_column("s at the server", justify="right")
    for reading in readings:
        again, full = continued(plain, reading), whole.at(reading).entered
        table.add_row(str(reading), "loop, no cache (counted)", f"{again}", "100%", "0")
        if len(plain.rows) > reading:
            table.add_row(
                str(reading), "loop, prefix cache", *cells(plain.rows[reading], again, plain.rows[reading].peak)
            )
        else:
            table.add_row(str(reading), "loop, prefix cache", f"does not fit after {len(plain.rows)} requests")
        for name, ledger in found.items():
            row = ledger.at(reading)
            table.add_row(str(reading), name, *cells(row, again, full), end_section=name == [*found][-1])
    console.print(table)
    for name, ledger in found.items():
        if name.startswith("stream"):
            row, again = ledger.at(goal_at), continued(plain, goal_at)
            tell(
                console, f"{name}: computed for {goal_at} tool calls, of resending", row.computed / again, 0.1, "{:.1%}"
            )
            tell(console, f"{name}: computed, over the ideal", row.computed / row.ideal - 1, 0.1, "{:+.1%}")
            last = ledger.at(max(readings))
            tell(console, f"{name}: peak live, of the whole context", last.peak / last.entered, 0.4, "{:.1%}")


def cells(row: Row, again: int, full: int) -> list[str]:
    """The figures of one line; `again`: what a loop without a cache sends, `full`: the length of the whole context."""
    return [
        f"{row.computed}",
        f"{row.computed / again:.1%}",
        f"{row.cached}",
        f"{row.computed / row.ideal:.3f}" if row.ideal else "",
        f"{row.peak}",
        f"{row.peak / full:.0%}",
        f"{row.blocks}",
        f"{row.seconds:.1f}",
    ]


def tell(console: Console, what: str, value: float, limit: float, form: str) -> None:
    """A goal, what was measured, and whether it is met."""
    met = "met" if value <= limit else "MISSED"
    console.print(f"goal {met}: {what}: {form.format(value)} (at most {form.format(limit)})")


# -- sizes -------------------------------------------------------------------------------------------------------------


async def sizes(
    bench: Workbench, servers: Servers, console: Console, wanted: Sequence[int], forms: Sequence[str]
) -> None:
    """The table of part `sizes`, for these forms of mode `stream`."""
    table = Table(title=f"trees of three levels in a window of {WINDOW}, k = 0")
    for column in ("tokens in all", "way", "ended", "tasks", "computed", "to each token once", "to ideal", "peak live"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for column in ("of whole", "blocks", "s at the server"):
        table.add_column(column, justify="right")
    goals: list[tuple[str, float]] = []
    for size in wanted:
        tree = long_tree(size)
        for way in (way for way in WAYS if way.name in [f"stream {form}, k = 0" for form in forms]):
            llm = servers.of(way)
            if llm is None:
                continue
            ran, ledger = await scripted(bench, llm, way, tree, f"{servers.mark} {size} {way.name}")
            row = ledger.rows[-1]
            table.add_row(
                f"{ledger.entered}",
                way.name,
                ran.record.status,
                f"{ran.count('task.closed')}",
                f"{row.computed}",
                f"{row.computed / ledger.entered:.3f}",
                f"{row.computed / row.ideal:.3f}",
                f"{row.peak}",
                f"{row.peak / ledger.entered:.0%}",
                f"{row.blocks}",
                f"{row.seconds:.1f}",
            )
            goals.append(
                (f"{way.name}, {ledger.entered} tokens: {ran.record.status}; peak live", row.peak / ledger.entered)
            )
        whole = ledger.entered
        fits = "fits" if whole <= WINDOW else "does not fit"
        table.add_row(
            f"{whole}",
            "whole context",
            fits,
            *[""] * 4,
            f"{whole}",
            "100%",
            f"{-(-whole // BLOCK)}",
            "",
            end_section=True,
        )
    console.print(table)
    for what, share in goals:
        tell(console, what, share, 0.4, "{:.1%}")


# -- overhead ----------------------------------------------------------------------------------------------------------


async def overhead(home: Path, console: Console) -> None:
    """The table of part `overhead`: what a step costs beside the model and its tools."""
    table = Table(title=f"the executor itself: {max(READINGS)} tool calls, a model that takes no time, SQLite")
    for column in ("mode", "synchronous", "steps", "ms each", "ms of processor each"):
        table.add_column(column, justify="left" if column in ("mode", "synchronous") else "right")
    for synchronous in ("FULL", "NORMAL"):
        own = {"home": str(home / synchronous), "embed.model": "hashing-384", "database.synchronous": synchronous}
        async with open_workbench(load(own, env={}).settings) as bench:
            for mode in ("steps", "stream"):
                way = Way(mode, "stream" if mode == "stream" else "steps", 0)
                await scripted(bench, Instant(), way, tool_tree(5), "warm")
                began = time.process_time()
                ran, ledger = await scripted(bench, Instant(), way, tool_tree(max(READINGS)), "timed")
                processor = time.process_time() - began - ledger.processor
                assert ran.document
                steps = len(ledger.rows) + ledger.tools
                each = 1000 * (ran.seconds - ledger.seconds) / steps
                table.add_row(mode, synchronous, f"{steps}", f"{each:.2f}", f"{1000 * processor / steps:.2f}")
                tell(console, f"{mode}, {synchronous}: overhead of a step in ms", each, 5.0, "{:.2f}")
    console.print(table)


# -- all of it ---------------------------------------------------------------------------------------------------------


async def connected(base_url: str, home: Path) -> tuple[Settings, Servers]:
    """The model that a server serves. Raises `ModelUnavailable`."""
    own: JsonObject = {"home": str(home), "llm.base_url": base_url, "embed.model": "hashing-384"}
    settings = load(own, env={}).settings
    listing = resolve(None, settings)
    ref = f"vllm/{(await listing.models())[0]}"
    await listing.aclose()
    held = load({**own, "engine.sessions": "in_engine"}, env={}).settings
    async with httpx.AsyncClient(trust_env=False) as http:
        asked = await http.get(f"{base_url.removesuffix('/v1')}/mneme/sessions")
    holds = asked.status_code == 200 and asked.json().get("enabled") is True
    mark = f"{time.time_ns():x}"
    return settings, Servers(resolve(ref, settings), resolve(ref, held) if holds else None, mark)


async def measure(options: argparse.Namespace, home: Path, console: Console) -> None:
    """Run the parts."""
    if "overhead" in options.only:
        await overhead(home, console)
    rest = [part for part in options.only if part != "overhead"]
    if not rest:
        return
    if options.base_url is None:
        raise SystemExit(f"{', '.join(rest)}: expected --base-url, the address of a model server; see --help")
    settings, servers = await connected(options.base_url, home / "server")
    parts: dict[str, Callable[[Workbench], Awaitable[None]]] = {
        "tools": lambda bench: tools(bench, servers, console, options.readings),
        "sizes": lambda bench: sizes(bench, servers, console, options.sizes, options.forms),
        "shapes": lambda bench: shapes(bench, servers.resent, console, options.seeds, options.jobs),
    }
    async with open_workbench(settings) as bench:
        for part in rest:
            began = time.perf_counter()
            await parts[part](bench)
            console.print(f"{part}: {time.perf_counter() - began:.0f} s\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", help="of the model server, …/v1; it must be vLLM")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--readings", nargs="+", type=int, default=READINGS, help="numbers of tool calls in `tools`")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="tokens of the trees of `sizes`")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS, help="of the sessions of `sizes`")
    parser.add_argument("--seeds", type=int, default=50, help="runs of `shapes`")
    parser.add_argument("--jobs", type=int, default=8, help="runs of `shapes` at a time")
    options = parser.parse_args()
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as home:
        anyio.run(partial(measure, options, Path(home), console))


if __name__ == "__main__":
    main()
