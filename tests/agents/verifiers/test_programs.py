"""Finding programs in replies, and machines that cannot run them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from agents.tasks import ArcTask, CodeTask
from agents.verifiers import open_verifiers
from agents.verifiers.base import Verdict
from agents.verifiers.programs import MAX_WHY_CHARS, blocks_of, shortened
from runtime.errors import SandboxUnavailable
from runtime.sandbox.base import Level, Limits, Outcome, Program
from runtime.sandbox.base import Sandbox as SandboxLike

pytestmark = pytest.mark.anyio
ARC = ArcTask.model_validate({"train": [{"input": [[0]], "output": [[1]]}], "test": [{"input": [[0]]}]})
CODE = CodeTask(task="one", tests=["assert one == 1"])
PROGRAM = "```python\none = 1\ndef transform(grid):\n    return [[1]]\n```"


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("", []),
        ("no code", []),
        ("```python\na\n```\nand\n```py\nb\n```", ["a\n", "b\n"]),
        ("```\na\n```\n```bash\nls\n```", ["a\n"]),
        ("```\nthe output\n```\n```Python3 title=x\na\n```", ["a\n"]),
        ("```json\n[[1]]\n```", []),
        ("```python\ncut off", []),
        ("1. First\n   ```python\n   if x:\n       y\n   ```", ["if x:\n    y\n"]),
        ("<think>\n```python\nno\n```\n</think>\n```python\nyes\n```", ["yes\n"]),
    ],
)
def test_the_python_blocks_of_what_is_said_count(text: str, blocks: list[str]) -> None:
    assert blocks_of(text) == blocks


@pytest.mark.timeout(5)
@pytest.mark.parametrize("text", ["```python\n" * 20_000, "`" * 200_000, ("```" + " " * 50 + "\n") * 10_001])
def test_a_long_reply_of_fences_is_read_in_no_time(text: str) -> None:
    assert len(blocks_of(text)) <= len(text)


def test_what_is_told_is_one_line_and_short() -> None:
    assert shortened("a\n  b") == "a b"
    assert len(shortened("x" * 5000)) == MAX_WHY_CHARS + 1


class Missing:
    """A machine without a sandbox."""

    asked = 0

    @property
    def level(self) -> Level:
        raise SandboxUnavailable("sandbox: none here")

    async def run(self, program: Program, *, tenant: str, limits: Limits = Limits()) -> Outcome:  # noqa: B008 - frozen
        self.asked += 1
        raise SandboxUnavailable("sandbox: none here")

    async def run_batch(
        self,
        programs: Sequence[Program],
        *,
        tenant: str,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> list[Outcome]:
        raise SandboxUnavailable("sandbox: none here")


async def test_without_a_sandbox_on_the_machine_there_is_no_verdict_and_one_line_of_the_log() -> None:
    machine = Missing()
    sandbox: SandboxLike = machine
    with capture_logs() as lines:
        async with open_verifiers(sandbox) as verifiers:
            told = [await verifiers.verify(task, PROGRAM) for task in (ARC, CODE, ARC)]
    assert told == [None, None, None]
    assert machine.asked == 3
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("verifiers.no_sandbox", "warning")
    assert line["reason"] == "sandbox: none here"


async def test_verifiers_that_were_given_no_sandbox_run_nothing() -> None:
    async with open_verifiers() as verifiers:
        assert await verifiers.verify(ARC, PROGRAM) is None
        assert await verifiers.verify(CODE, PROGRAM) is None


class Noting(Missing):
    """Notes for whom it runs."""

    def __init__(self) -> None:
        self.tenants: list[str] = []

    async def run(self, program: Program, *, tenant: str, limits: Limits = Limits()) -> Outcome:  # noqa: B008 - frozen
        self.tenants.append(tenant)
        raise SandboxUnavailable("sandbox: none here")


async def test_each_check_is_a_tenant_of_its_own() -> None:
    sandbox = Noting()
    async with open_verifiers(sandbox) as verifiers:
        verdicts: list[Verdict | None] = [await verifiers.verify(ARC, PROGRAM) for _ in range(3)]
    assert verdicts == [None] * 3
    assert len(set(sandbox.tenants)) == 3
