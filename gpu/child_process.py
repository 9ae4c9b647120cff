"""Runs a program to its end under `supervise.py`, its output kept in a log, its failure told with the end of that log.

Source: ours.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio

from runtime.errors import EngineError

SUPERVISOR = Path(__file__).with_name("supervise.py")
TAIL_LINES = 15
_ERROR = re.compile(r"\b\w*(Error|Exception)\b: .+")


def supervised(command: Sequence[str], *, grace_s: float) -> list[str]:
    """`command` below a supervisor that ends it, and all it started, `grace_s` seconds after this process is gone."""
    python = [sys.executable, "-I", "-S", str(SUPERVISOR)]
    return [*python, "--parent", str(os.getpid()), "--grace", str(grace_s), "--", *command]


async def run_logged(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str],
    what: str,
    fix: str,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run `command` and append what it prints to `log`; each line also goes to `on_line`.

    Cancelling ends the program and everything it started. Raises `EngineError` with `what`, the exit status, the end
    of the log, its path, and `fix`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        out.write(f"$ {' '.join(command)}\n".encode())
        out.flush()
        process = await anyio.open_process(
            supervised(command, grace_s=2.0),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            rest = b""
            async for chunk in process.stdout:
                out.write(chunk)
                out.flush()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if on_line is not None:
                        on_line(line.decode(errors="replace"))
            status = await process.wait()
        finally:
            # The supervisor ends the rest on SIGTERM; it must not be killed before it has.
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.terminate()
                    await process.wait()
                await process.aclose()
    if status != 0:
        raise EngineError(f"{what}: {Path(command[0]).name} ended with status {status}; {fix}.\n{tail(log)}")


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, with its path above them."""
    if not log.is_file():
        return f"No log at {str(log)!r}."
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 32_768))
        last = file.read().decode(errors="replace").splitlines()[-lines:]
    return f"The end of {str(log)!r}:\n" + "\n".join(f"  {line}" for line in last)


def first_error(log: Path, offset: int) -> str:
    """The first exception named after `offset` (vLLM's last one only points back to it; its warnings name some that did not
    happen), or else the last line."""
    with log.open("rb") as file:
        file.seek(offset)
        lines = file.read(4_000_000).decode(errors="replace").split("\n")
    for line in lines:
        if "WARNING" not in line and (found := _ERROR.search(line)):
            return found.group(0)[:300]
    said = [line for line in lines if line.strip()]
    return said[-1][:300] if said else "it printed nothing"
