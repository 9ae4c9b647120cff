"""The weights that `make setup-test` has fetched, and the encoders that are made from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from memory.encoders.minilm import MiniLM
from memory.encoders.packaged import PACKAGED, is_fetched, weights_folder
from memory.encoders.static import StaticTable
from runtime.settings import load


@pytest.fixture(scope="session")
def fetched_home() -> Path:
    """A home with every packaged weight, that of the user: nothing is fetched here, and nothing written."""
    home = load().settings.home
    for name in PACKAGED:
        if not is_fetched(home, name):
            pytest.fail(f"the weights of {name} are not there; run `mneme models pull {name}` (make test does)")
    return home


@pytest.fixture(scope="session")
def minilm(fetched_home: Path) -> MiniLM:
    return MiniLM(weights_folder(fetched_home, "minilm-l6"), revision="r", threads=1)


@pytest.fixture(scope="session")
def static(fetched_home: Path) -> StaticTable:
    return StaticTable(weights_folder(fetched_home, "wordllama-256"), revision="r", threads=1)
