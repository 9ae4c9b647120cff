"""What runs beside the program, in the same process, once every layer is on: it calls, and writes down what came back.

Nothing here is trusted afterwards: a program can change all of it. It exists so that an honest program gets an exact
answer, and a broken one a useful message. Each case is one line of JSON, `[value, failure, error, stdout]`; `DONE` ends
the lines of a program. Every program has a module, an output and a random seed of its own. A program that uses up its
seconds gets `TimeUp`; one that catches it is ended from outside. Source: evals sheet §5.3; ours.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable
from typing import Any, Final

DONE: Final = b"\x1e"
ERROR_CHARACTERS: Final = 1000
SEED: Final = 0
_MODULE: Final = "program"
_NO_MEMORY: Final = b'[null, "memory", "MemoryError", ""]\n'
_TIME_UP: Final = b'[null, "timeout", "the time limit was reached", ""]\n'


class TimeUp(BaseException):
    """The program's seconds are used up."""


class TooMuch(Exception):
    """A value is longer than the output limit."""


class Printed(io.TextIOBase):
    """Takes what a program prints, up to a limit of characters; the rest is dropped."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._parts: list[str] = []

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._left > 0:
            self._parts.append(text[: self._left])
            self._left -= len(self._parts[-1])
        return len(text)

    def take(self) -> str:
        """What was printed since the last time."""
        text = "".join(self._parts)
        self._parts.clear()
        return text


class _Program:
    """One program while it runs: what it may still use, and how one step of it becomes a line."""

    def __init__(self, seconds: float, output: int) -> None:
        self._until = time.monotonic() + seconds
        self._output = output
        self.printed = Printed(output)

    def line(self, step: Callable[[], Any]) -> bytes:
        """The line of what `step` returns, or of how it failed."""
        left = self._until - time.monotonic()
        if left <= 0:
            return _TIME_UP
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, left)
                value = self._value(step())
                return self._joined(value, "null", "null")
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except TimeUp:
            self._until = 0.0
            return _TIME_UP
        except MemoryError:
            return _NO_MEMORY
        except TooMuch as problem:
            return self._joined("null", '"output"', json.dumps(str(problem)))
        except BaseException as problem:  # noqa: BLE001 - whatever a program raises is its outcome
            return self._joined("null", '"error"', _told(problem))

    def _value(self, value: Any) -> str:
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
            size = len(text.encode())
        except (TypeError, ValueError, RecursionError) as problem:
            kind = type(value).__name__
            raise TypeError(f"returned a {kind} that is not JSON ({problem}): {repr(value)[:300]}") from problem
        self._output -= size
        if self._output < 0:
            raise TooMuch("the returned values are longer than the output limit")
        return text

    def _joined(self, value: str, failure: str, error: str) -> bytes:
        printed = json.dumps(self.printed.take(), ensure_ascii=False)
        return f"[{value}, {failure}, {error}, {printed}]\n".encode(errors="replace")


def run(payload: bytes, *, seconds: float, output_bytes: int, descriptor: int) -> None:
    """Run the programs of a payload, a JSON list of `[source, entry, inputs]`, and write their lines to the descriptor.

    Stops early when a program leaves a thread behind, which would take the time of the next.
    """
    signal.signal(signal.SIGALRM, _alarm)
    sys.stderr = Printed(0)
    depth = sys.getrecursionlimit()
    for number, (source, entry, inputs) in enumerate(json.loads(payload)):
        if number:
            # The one before may have changed them.
            seed()
            sys.setrecursionlimit(depth)
            signal.signal(signal.SIGALRM, _alarm)
        program = _Program(seconds, output_bytes)
        sys.stdout = program.printed
        function: list[Any] = []
        line = program.line(lambda: function.append(_loaded(source, entry)))  # noqa: B023 - called at once
        for value in inputs:
            if function:
                line = program.line(lambda: function[0](value))  # noqa: B023 - called at once
            _write(descriptor, line)
        _write(descriptor, DONE)
        if sys.modules["_thread"]._count() > 0:
            return


def _loaded(source: str, entry: str) -> Any:
    module = types.ModuleType(_MODULE)
    # dataclasses and typing look a class's module up.
    sys.modules[_MODULE] = module
    exec(compile(source, f"<{_MODULE}>", "exec", dont_inherit=True), module.__dict__)
    found = module.__dict__.get(entry)
    if not callable(found):
        raise NameError(f"the program defines no function {entry!r}")
    return found


def seed() -> None:
    """Make what programs draw at random the same in every run."""
    random.seed(SEED)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(SEED)


def _plain(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _told(problem: BaseException) -> str:
    try:
        text = traceback.format_exception_only(problem)[-1].strip()
        return json.dumps(text[:ERROR_CHARACTERS], ensure_ascii=False)
    except BaseException:  # noqa: BLE001 - an exception can be as hostile as any other value
        return '"an exception that cannot be shown"'


def _alarm(number: int, frame: types.FrameType | None) -> None:
    raise TimeUp


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


# What programs import has to be there before the layers are: nothing can be read from disk afterwards.
PRELOADED: Final = """
    abc array bisect calendar cmath collections collections.abc contextlib copy csv dataclasses datetime decimal difflib
    encodings.ascii encodings.idna encodings.latin_1 enum fractions functools graphlib hashlib heapq inspect io itertools
    json keyword linecache math numbers operator pprint queue random re secrets statistics string struct textwrap threading
    time timeit traceback types typing unicodedata uuid warnings weakref zlib
"""
PRELOADED_NUMPY: Final = "numpy numpy.linalg numpy.fft numpy.random numpy.ma numpy.polynomial numpy.lib.stride_tricks"


def preload(*, numpy: bool) -> dict[str, str]:
    """Import what programs may use: numpy only where it is installed. The versions an outcome depends on, by name."""
    for name in PRELOADED.split():
        __import__(name)
    versions = {"python": sys.version}
    if numpy:
        try:
            for name in PRELOADED_NUMPY.split():
                __import__(name)
        except ModuleNotFoundError as missing:
            if missing.name != "numpy":
                raise
        else:
            versions["numpy"] = sys.modules["numpy"].__version__
    return versions
