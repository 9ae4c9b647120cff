"""The scripted model's own parts: scripts, minimal instances, the registry that finds it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from runtime.errors import InvalidInput
from runtime.llm import scripted
from runtime.llm.instance import minimal_instance
from runtime.llm.openai import OpenAICompatible
from runtime.llm.registry import resolve
from runtime.llm.scripted import Rule, Script, Scripted
from runtime.settings import Settings


class Leaf(BaseModel):
    name: str = Field(min_length=3)
    kind: str | None


class Tree(BaseModel):
    leaf: Leaf
    child: Tree | None
    scores: list[float] = Field(min_length=2)
    low: int = Field(gt=4, multiple_of=5)


def test_the_smallest_instance_is_valid_also_for_a_schema_that_contains_itself() -> None:
    TypeAdapter(Tree).validate_python(minimal_instance(Tree.model_json_schema()))


def test_a_schema_without_a_finite_instance_is_refused() -> None:
    endless = {"type": "object", "properties": {"again": {"$ref": "#"}}, "required": ["again"]}
    with pytest.raises(ValueError, match="no finite instance"):
        minimal_instance(endless)  # type: ignore[arg-type]


def test_the_documented_script_is_a_script() -> None:
    lines = [line for line in (scripted.__doc__ or "").splitlines() if line.startswith("    ")]
    for rule in tomllib.loads("\n".join(lines))["rule"]:
        Rule.model_validate(rule)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.toml", "[[rule]]\nwhat = 1"), ("b.toml", "not toml"), ("c.toml", '[[rule]]\nfault = "x"'), ("d.txt", "")],
)
def test_a_bad_script_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=name):
        Script.load(tmp_path / name)


@pytest.mark.parametrize("path", ["/dev/zero", "/nowhere.toml", "/"])
def test_nothing_but_a_script_is_opened(path: str) -> None:
    with pytest.raises(InvalidInput, match="expected a file"):
        resolve(f"scripted/{path}", Settings())


def test_references_find_their_backend() -> None:
    assert isinstance(resolve("scripted/echo", Settings()), Scripted)
    for ref in (None, "bare-name", "openai/gpt", "vllm/Qwen/Qwen3-8B"):
        assert isinstance(resolve(ref, Settings()), OpenAICompatible)
