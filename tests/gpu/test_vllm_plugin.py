"""The plug-in for vLLM, as far as it goes without vLLM: arithmetic, what is asked, the guard, how it is installed."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import ModuleType

import pytest
from hatchling.builders.wheel import WheelBuilder
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gpu import engine_env
from gpu.engine_env import ensure_plugin, plugin_folder
from gpu.launch import PLUGIN
from gpu.vllm_plugin.mneme_vllm import signatures
from gpu.vllm_plugin.mneme_vllm.asking import Asked, Chunk, Refused, chunk_for
from gpu.vllm_plugin.mneme_vllm.cutting import plan

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "gpu" / "vllm_plugin" / "mneme_vllm"


@given(
    keep=st.integers(0, 600),
    computed=st.integers(0, 600),
    block_size=st.sampled_from([1, 16, 32, 128]),
    shared=st.integers(0, 40),
)
def test_a_cut_keeps_what_it_may_and_its_blocks_hold_exactly_that(
    keep: int, computed: int, block_size: int, shared: int
) -> None:
    cut = plan(keep, computed, block_size, lambda block: block < shared)
    assert cut.computed + cut.again == keep
    assert cut.computed <= min(keep, computed)
    assert min(keep, computed) - cut.computed < block_size, "at most a part of a block is computed again"
    assert cut.blocks == -(-cut.computed // block_size)
    if cut.inside is None:
        assert cut.computed % block_size == 0
    else:
        assert cut.inside == cut.blocks - 1
        assert cut.inside >= shared, "a block that another sequence reads is never written on"


@pytest.mark.parametrize(
    ("keep", "computed", "shared", "expected"),
    [
        (40, 100, False, (40, 0, 2, 1)),
        (40, 100, True, (32, 8, 1, None)),
        (64, 100, True, (64, 0, 2, None)),
        (20, 100, True, (0, 20, 0, None)),
        (101, 100, False, (100, 1, 4, 3)),
        (50, 0, False, (0, 50, 0, None)),
    ],
    ids=["inside", "inside a shared one", "between", "inside the first, shared", "last has no KV", "preempted"],
)
def test_cuts_at_blocks_of_32(
    keep: int, computed: int, shared: bool, expected: tuple[int, int, int, int | None]
) -> None:
    cut = plan(keep, computed, 32, lambda _: shared)
    assert (cut.computed, cut.again, cut.blocks, cut.inside) == expected


def test_a_cut_refuses_negative_numbers() -> None:
    with pytest.raises(ValueError, match="cut to -1 of 5"):
        plan(-1, 5, 32, lambda _: False)


def ask(**body: object) -> Asked:
    return Asked.model_validate({"holds": 0} | body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"holds": -1},
        {"truncate_to": -1},
        {"append": [-1]},
        {"append": "text"},
        {"kv_keep_ratio": 0.5},
        {"sampling": {"max_tokens": 0}},
        {"sampling": {"temperature": -1}},
        {"sampling": {"top_p": 0}},
        {"sampling": {"stop": ["\n"]}},
        {"sampling": {"seed": 2**63}},
        {"bound": {}},
        {"bound": {"regex": "a", "json": {}}},
        {"bound": {"choice": ["a"]}},
    ],
    ids=str,
)
def test_options_that_are_not_known_or_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ask(**wrong)


def test_a_chunk_keeps_appends_and_writes_on_from_a_token_that_it_reads() -> None:
    live = (1, 2, 3, 4)

    def chunk(**body: object) -> Chunk:
        return chunk_for(ask(**body), live, max_len=100, vocabulary=10)

    assert chunk(append=[7, 8]) == Chunk(4, (7, 8), 0)
    assert chunk(append=[7], truncate_to=2) == Chunk(2, (7,), 2)
    assert chunk() == Chunk(3, (4,), 0)
    assert chunk(truncate_to=2) == Chunk(1, (2,), 2)
    assert chunk(append=[7], truncate_to=0) == Chunk(0, (7,), 4)
    assert chunk(append=[7]).length == 5


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"truncate_to": 5, "append": [1]}, "invalid_request", "truncate_to is 5, but the session has 4"),
        ({"truncate_to": 0}, "invalid_request", "no token to write on from"),
        ({"append": [10]}, "invalid_request", "vocabulary ends at 9"),
        ({"append": [1], "sampling": {"max_tokens": 96}}, "context_length_exceeded", "are 101; the window is 100"),
    ],
)
def test_a_chunk_that_cannot_be_is_refused_with_a_code_and_the_reason(
    body: dict[str, object], code: str, says: str
) -> None:
    with pytest.raises(Refused, match=says) as caught:
        chunk_for(ask(**body), (1, 2, 3, 4), max_len=100, vocabulary=10)
    assert (caught.value.status, caught.value.code) == (400, code)


class Pool:
    """Stands in for a class of vLLM."""

    def free(self, blocks: object, *, now: bool = False) -> None: ...

    @staticmethod
    def spread(*ids: int, **named: int) -> None: ...


def test_a_shape_has_names_order_kinds_and_defaults_and_no_types() -> None:
    assert signatures.shape(Pool.free) == "self, blocks, *, now="
    assert signatures.shape(Pool.spread) == "*ids, **named"
    assert signatures.shape(None) == "missing"


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, contents in (("vllm", {"__version__": "9.9.9"}), ("vllm.pool", {"Pool": Pool})):
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("pretended")
def test_the_guard_names_the_version_or_the_signature_that_does_not_fit() -> None:
    fits = {"vllm.pool:Pool.free": "self, blocks, *, now="}
    assert signatures.problem(fits, ("9.9.9",)) is None
    assert signatures.problem(fits, ("1.0", "1.1")) == "vllm 9.9.9 was not checked with sessions; checked: 1.0, 1.1"
    changed = signatures.problem({"vllm.pool:Pool.free": "self, blocks"}, ("9.9.9",))
    assert changed == "vllm.pool:Pool.free takes (self, blocks, *, now=), expected (self, blocks)"
    gone = signatures.problem({"vllm.pool:Pool.gone": "self"}, ("9.9.9",))
    assert gone == "vllm.pool:Pool.gone takes (missing), expected (self)"


def test_every_method_that_the_scheduler_overrides_stands_in_the_table_as_it_is_overridden() -> None:
    tree = ast.parse((SOURCES / "scheduler.py").read_text(encoding="utf-8"))
    (cutting,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "_Cutting")
    called = {ast.unparse(node) for node in ast.walk(cutting) if isinstance(node, ast.Attribute)}
    methods = {node.name: node for node in cutting.body if isinstance(node, ast.FunctionDef)}
    overridden = {name for name in methods if f"super().{name}" in called} - {"__init__"}
    assert overridden == {"_update_request_as_session", "update_from_output"}
    for name in overridden:
        parameters = ", ".join(argument.arg for argument in methods[name].args.args)
        assert signatures.TABLE[f"{signatures.SCHEDULER}.{name}"] == parameters


def test_the_version_of_the_cpu_build_is_one_that_was_checked() -> None:
    assert engine_env.CPU.version in signatures.VERSIONS


def installed(folder: Path) -> Distribution:
    (found,) = distributions(path=[str(folder)])
    return found


def test_the_installed_folder_is_a_distribution_whose_entry_points_vllm_finds(tmp_path: Path) -> None:
    folder = ensure_plugin(tmp_path)
    assert folder == plugin_folder(tmp_path)
    found = installed(folder)
    assert (found.metadata["Name"], found.version) == ("mneme-vllm", "0.1.0")
    assert {(entry.group, entry.name, entry.value) for entry in found.entry_points} == {
        ("vllm.general_plugins", PLUGIN, "mneme_vllm.seeding:install"),
        ("vllm.endpoint_plugins", PLUGIN, "mneme_vllm.endpoint:SessionsPlugin"),
    }
    for entry in found.entry_points:
        module, _, name = entry.value.partition(":")
        assert f" {name}" in (folder / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    copied = {path.name: path.read_bytes() for path in (folder / "mneme_vllm").iterdir()}
    assert copied == {path.name: path.read_bytes() for path in SOURCES.glob("*.py")}


def test_installing_again_changes_nothing_and_other_sources_get_a_folder_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ensure_plugin(tmp_path)
    made = first.stat().st_mtime_ns
    assert ensure_plugin(tmp_path) == first
    assert first.stat().st_mtime_ns == made

    changed = tmp_path / "changed"
    (changed / "mneme_vllm").mkdir(parents=True)
    for path in (SOURCES.parent / "pyproject.toml", *SOURCES.glob("*.py")):
        target = changed / path.relative_to(SOURCES.parent)
        target.write_bytes(path.read_bytes() + (b"\n# other\n" if path.name == "cutting.py" else b""))
    monkeypatch.setattr(engine_env, "PLUGIN", changed)
    assert ensure_plugin(tmp_path) != first
    assert sorted(path.name for path in first.parent.iterdir()) == sorted([first.name, plugin_folder(tmp_path).name])


def test_the_wheel_carries_the_plugin_whole() -> None:
    names = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    wanted = {path.relative_to(ROOT).as_posix() for path in SOURCES.glob("*.py")}
    assert wanted | {"gpu/vllm_plugin/pyproject.toml"} <= names
