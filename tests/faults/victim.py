"""A service that is there to be killed.

Run as a script with a JSON object of settings flags. Imports everything once, then forks a child for each line on standard
input: `{"submit": n}` lets the child accept n runs and execute whatever there is. Writes `child PID`, and, by the child,
`open` when it serves, `ack RUN` for each accepted run, `idle` when nothing is left to do.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import anyio

from agents import registry
from agents.build import open_service
from runtime.runs import RunSpec
from runtime.settings import load

SPECS = (
    RunSpec("direct", "one call", seed=1),
    RunSpec("self-consistency", "five calls", config={"n": 5, "at_once": 2}, seed=2),
    RunSpec("best-of-n", {"kind": "math", "problem": "what is x?"}, config={"n": 3, "at_once": 3}, seed=3),
)


def say(text: str) -> None:
    # One write call: lines of parent and child do not mix.
    os.write(1, f"{text}\n".encode())


async def serve(flags: dict[str, Any], submit: int, offset: int) -> None:
    settings = load(flags, env={}).settings
    async with open_service(settings) as service:
        me = (await service.keys.local()).user_id
        say("open")
        for number in range(submit):
            spec = SPECS[(offset + number) % len(SPECS)]
            if number % 2:
                live = await service.foreground(spec, owner=me)
                say(f"ack {live.run_id}")
            else:
                say(f"ack {(await service.submit(spec, owner=me)).id}")
        while True:
            if not await service.store.queued() and not await service.store.in_hand():
                say("idle")
            await anyio.sleep(0.1)


def main() -> None:
    flags = json.loads(sys.argv[1])
    for name in registry.names():
        registry.get(name)
    offset = 0
    for line in sys.stdin:
        submit = json.loads(line)["submit"]
        pid = os.fork()
        if pid == 0:
            os.close(0)
            anyio.run(serve, flags, submit, offset)
            os._exit(0)
        offset += submit
        say(f"child {pid}")
        os.waitpid(pid, 0)
        say(f"dead {pid}")


if __name__ == "__main__":
    main()
