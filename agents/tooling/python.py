"""The tool `python`: runs a program of the model in the sandbox, and gives what it printed and what it came to.

The value of a last line that is an expression is the result, as in a notebook. Nothing is kept between two calls. A program
that raises is a failed call whose details hold the last line of the traceback, with the number of the line, and what was
printed until then. Files, network and other processes are refused by the sandbox, whatever the path. Source: tim §5; ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue

from agents.tooling.base import Call, Offer, ToolAnswer
from runtime.errors import SandboxUnavailable
from runtime.sandbox.base import Case, Limits, Program, Sandbox
from runtime.types import ToolSpec

NAME: Final = "python"
MAX_CODE_CHARS: Final = 40_000
ENTRY: Final = "main"
# `run` and the others are bound before the code can put something else in the place of these names.
AROUND: Final = """
import ast, json, sys, types

def main(code, run=exec, value_of=eval, build=compile, parse=ast.parse, dumps=json.dumps):
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    try:
        tree = parse(code, "<code>")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        run(build(tree, "<code>", "exec", dont_inherit=True), module.__dict__)
        if last is None:
            return {"result": None}
        value = value_of(build(ast.Expression(last.value), "<code>", "eval", dont_inherit=True), module.__dict__)
    except MemoryError:
        raise
    except Exception as problem:
        line, frame = None, problem.__traceback__
        while frame is not None:
            if frame.tb_frame.f_code.co_filename == "<code>":
                line = frame.tb_lineno
            frame = frame.tb_next
        at = "" if line is None else f" (line {line})"
        return {"error": f"{type(problem).__name__}: {problem}{at}"}
    value = value.tolist() if hasattr(value, "tolist") else value
    try:
        dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        value = repr(value)
    return {"result": value}
"""
WORDS: Final = {"timeout": "the time limit was reached", "memory": "the memory limit was reached"}


class PythonTool:
    """The source of the one tool. `tenant`: whose program it is; `most_seconds`: the setting `sandbox.seconds`."""

    def __init__(self, sandbox: Sandbox | None, *, tenant: str, most_seconds: float) -> None:
        self._sandbox = sandbox
        self._tenant = tenant
        self._most_seconds = most_seconds

    async def offers(self) -> Sequence[Offer]:
        """See `ToolSource`."""
        description = (
            "Run a Python 3 program. Returns what it printed, and the value of the last line when that is an expression. "
            f"Standard library and, where installed, numpy; no files, no network; at most {self._most_seconds:g} seconds; "
            "nothing is kept between two calls."
        )
        code: JsonValue = {"type": "string", "minLength": 1, "maxLength": MAX_CODE_CHARS, "description": "the program"}
        schema: dict[str, JsonValue] = {
            "type": "object",
            "properties": {"code": code},
            "required": ["code"],
            "additionalProperties": False,
        }
        return (Offer(ToolSpec(NAME, description, schema)),)

    async def run(self, call: Call) -> ToolAnswer:
        """See `ToolSource`."""
        program = Program(AROUND, ENTRY, (call.parameters["code"],))
        limits = Limits(seconds=min(call.seconds, self._most_seconds))
        if self._sandbox is None:
            return ToolAnswer.failed("unavailable", detail="there is no sandbox for programs here")
        try:
            outcome = await self._sandbox.run(program, tenant=self._tenant, limits=limits)
        except SandboxUnavailable as error:
            return ToolAnswer.failed("unavailable", detail=error.message)
        return _answer(outcome.cases[0])

    async def show(self, data: JsonValue) -> JsonValue:
        """See `ToolSource`."""
        return data


def _answer(case: Case) -> ToolAnswer:
    told = case.value if isinstance(case.value, dict) else {}
    if case.failure is None and "error" not in told:
        return ToolAnswer(True, {"stdout": case.stdout, "result": told.get("result")})
    detail = case.error or told.get("error") or WORDS.get(case.failure or "", "the program was stopped")
    return ToolAnswer.failed("timeout" if case.failure == "timeout" else "exception", detail=detail, stdout=case.stdout)
