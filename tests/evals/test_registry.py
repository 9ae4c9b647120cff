"""Suites by name; and the suite of the contributing page, which works as it stands there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from agents.base import Answer
from evals import registry
from evals.base import DataSet
from evals.suites.fields import NoOptions
from runtime.errors import InvalidInput, UnknownName

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[2]
IMPORTS = """
from pydantic import BaseModel
from evals.base import Answer, DataSet, Grader, Sample, Score, SuiteSpec
from evals.scorers.token import token
from evals.suites.fields import NoOptions
"""


def test_every_suite_says_what_it_is() -> None:
    assert set(registry.names()) >= {"aime", "gsm8k", "hmmt", "math500", "small"}
    for name in registry.names():
        spec = registry.get(name).spec
        assert spec.name == name
        assert spec.version >= 1
        assert spec.sets
        assert spec.description
        assert spec.options.model_json_schema()["additionalProperties"] is False


def test_an_unknown_suite_or_option_is_refused_with_what_there_is() -> None:
    with pytest.raises(UnknownName, match="did you mean 'math500'"):
        registry.get("math50")
    with pytest.raises(InvalidInput, match=r"option 'x' of suite 'aime'.*known options: none"):
        registry.options_of(registry.get("aime"), {"x": 1})


async def test_the_suite_of_the_contributing_page_works() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", page, flags=re.MULTILINE | re.DOTALL)
    (source,) = [block for block in blocks if "class Capitals" in block]
    names: dict[str, Any] = {}
    exec(compile(IMPORTS + textwrap.dedent(source), "CONTRIBUTING.md", "exec"), names)
    suite = names["Capitals"]()
    data = DataSet("capitals", "here", "CC0", "test", ({"country": "Norway", "capital": "Oslo"},))
    (sample,) = suite.samples(data, NoOptions())
    assert (await suite.score(sample, Answer("It is Oslo."), None)).correct
    assert not (await suite.score(sample, Answer("It is Osloer."), None)).correct
