"""One zygote as the service sees it: started, given one job at a time, ended when a job is given up.

All that comes back is bytes: framed by the zygote, written by a program that may have written anything.
Source: evals sheet §5.3; ours.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from runtime.errors import SandboxUnavailable
from runtime.sandbox import zygote
from runtime.sandbox.base import Level, Limits
from runtime.sandbox.probe import ENVIRONMENT, Hello, command, hello

# How much longer than all deadlines of a job together a zygote may be silent before it is taken for dead.
PATIENCE_SECONDS: Final = 30.0
START_SECONDS: Final = 60.0
END_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Job:
    """Programs for one child, as JSON, with what each of them may use; `cases` is the most that one of them has."""

    payload: bytes
    programs: int
    cases: int
    limits: Limits

    @property
    def most_bytes(self) -> int:
        """What all of them together may write. It is more than the lines of one honest program take, and most candidates
        write next to nothing: where many write a lot, those that are left run alone. A printed character can take six
        bytes, and so can one of an error.
        """
        return self.limits.output_bytes * 8 + self.cases * 8192 + self.programs * 16384


@dataclass(frozen=True, slots=True)
class Answer:
    """What the child wrote, and how it ended: `end` is one of the reasons in `zygote`, `status` that of wait(2)."""

    body: bytes
    end: bytes
    status: int
    cpu_seconds: float


class Worker:
    """A running zygote. Made by `start`; not to be used by two tasks at once."""

    def __init__(self, process: asyncio.subprocess.Process, greeting: Hello) -> None:
        self._process = process
        self._given_up = False
        self.greeting = greeting
        self.jobs = 0

    @classmethod
    async def start(cls, level: Level) -> Worker:
        """Start a zygote with numpy loaded. Raises `SandboxUnavailable` when it cannot reach the level."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command(level, numpy=True),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxUnavailable(f"sandbox worker: {error}; expected to start a Python process") from error
        try:
            async with asyncio.timeout(START_SECONDS):
                greeting = hello((await _frame(process))[1])
        except (asyncio.IncompleteReadError, TimeoutError) as error:
            said = await _ended(process)
            raise SandboxUnavailable(f"sandbox worker: it ended before it was ready: {said or repr(error)}") from error
        except BaseException:
            await asyncio.shield(_ended(process))
            raise
        if greeting.refused is not None:
            await _ended(process)
            raise SandboxUnavailable(f"sandbox level {level!r}: {greeting.refused}; `mneme doctor` says what there is")
        return cls(process, greeting)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._given_up

    async def do(self, job: Job) -> Answer | None:
        """Run one job; None when the zygote was lost over it. When the caller is cancelled, the zygote ends with the job."""
        self.jobs += 1
        answer = None
        try:
            async with asyncio.timeout(job.programs * (job.limits.seconds + 1) + PATIENCE_SECONDS):
                answer = await self._exchange(job)
        except (asyncio.IncompleteReadError, OSError):
            # The zygote is gone, or silent: a TimeoutError is an OSError.
            pass
        finally:
            if answer is None:
                self.give_up()
        return answer

    async def _exchange(self, job: Job) -> Answer:
        limits, pipe = job.limits, self._process.stdin
        if pipe is None:
            raise OSError("the worker has no input")
        header = zygote.JOB.pack(
            len(job.payload), limits.seconds, limits.memory_bytes, limits.output_bytes, job.programs, job.most_bytes
        )
        pipe.write(header + job.payload)
        await pipe.drain()
        body: list[bytes] = []
        while True:
            kind, data = await _frame(self._process)
            if kind == zygote.ENDED:
                status, end, cpu = zygote.END.unpack(data)
                return Answer(b"".join(body), end, status, cpu)
            body.append(data)

    def give_up(self) -> None:
        """Have the zygote end its child and itself now; `aclose` is still needed."""
        self._given_up = True
        if self._process.returncode is None:
            self._process.terminate()

    async def aclose(self) -> None:
        """End the zygote, by force when it does not do so itself, and collect it."""
        self.give_up()
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        await _ended(self._process)


async def _frame(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    pipe = process.stdout
    if pipe is None:
        raise OSError("the worker has no output")
    kind, length = zygote.FRAME.unpack(await pipe.readexactly(zygote.FRAME.size))
    return kind, await pipe.readexactly(length)


async def _ended(process: asyncio.subprocess.Process) -> str:
    """Kill the process and collect it: the end of what it said on its error output."""
    if process.returncode is None:
        process.kill()
    said = (await process.communicate())[1]
    return said.decode(errors="replace").strip()[-500:]
