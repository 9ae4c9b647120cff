"""The words of `--data`: files, folders, names; what is recorded of them; what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals import registry
from evals.base import DataSet, Sample, digest
from evals.hub import Hub
from evals.loading import Loader, samples_of
from evals.sets import BUILT_IN
from memory.types import Draft
from runtime.errors import InvalidInput, UnknownName

pytestmark = pytest.mark.anyio
LINE = '{"id": "a", "problem": "p", "answer": 1}'


@pytest.fixture
def said() -> list[str]:
    return []


def loader(tmp_path: Path, said: list[str], folder: Path | None = None) -> Loader:
    return Loader(Hub(tmp_path / "hub", hub="http://127.0.0.1:9", viewer="http://127.0.0.1:9"), said.append, folder)


async def test_a_local_file_needs_no_network(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{LINE}\n\n{LINE}\n", encoding="utf-8")
    (data,) = await loader(tmp_path, said).load([str(path)], ())
    assert (data.name, data.source, data.split, len(data.records)) == ("mine", str(path), "test", 2)
    assert said == []


async def test_a_built_in_name_is_looked_for_in_the_folder_first(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "aime").mkdir()
    (tmp_path / "aime" / "aime2024.jsonl").write_text(LINE, encoding="utf-8")
    (tmp_path / "aime2022.jsonl").write_text(LINE, encoding="utf-8")
    of_setting = await loader(tmp_path, said, tmp_path).load(["aime2024", "aime2022"], ())
    of_words = await loader(tmp_path, said).load([str(tmp_path), "aime2024", "aime2022"], ())
    assert of_setting == of_words
    assert [(data.name, data.split) for data in of_words] == [("aime2024", "test"), ("aime2022", "experience")]
    assert "MAA" in of_words[0].licence


async def test_without_a_name_the_sets_of_the_suite_are_asked(tmp_path: Path, said: list[str]) -> None:
    (data,) = await loader(tmp_path, said).load([], ("sums",))
    assert (data.name, data.source) == ("sums", "made")


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("aime2042", "did you mean 'aime2"),
        ("absent.jsonl", "absent.jsonl"),
        ("aime2021", "setting 'evals.data'"),
        ("hf:x", "hf:<owner>/<name>"),
        ("hf:a/b:c:d:e", "hf:<owner>/<name>"),
    ],
)
async def test_what_is_not_there_is_refused_with_what_there_is(
    tmp_path: Path, said: list[str], word: str, named: str
) -> None:
    with pytest.raises(InvalidInput, match=named.replace("[", r"\[")):
        await loader(tmp_path, said).load([word], ())


@pytest.mark.parametrize(
    ("text", "named"), [("", "no record"), ("[1]", "line 1: expected a JSON object"), ("{}\n{", "line 2: not JSON")]
)
async def test_a_file_that_is_broken_is_refused_by_its_line(
    tmp_path: Path, said: list[str], text: str, named: str
) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=named):
        await loader(tmp_path, said).load([str(path)], ())


async def test_two_folders_are_one_too_many(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(InvalidInput, match="at most one"):
        await loader(tmp_path, said).load([str(tmp_path / "a"), str(tmp_path / "b")], ())


def test_an_id_that_comes_twice_is_refused() -> None:
    suite = registry.get("aime")
    record = {"id": "a", "problem": "p", "answer": 1}
    data = DataSet("d", "s", "", "test", (record, record))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="'a' comes twice"):
        samples_of(suite, [data], registry.options_of(suite, {}))


def test_the_digest_is_of_what_is_asked_and_of_nothing_else() -> None:
    base = Sample("a", "one", {"kind": "math", "problem": "p"}, "1", meta={"x": 1, "y": 2})
    same = Sample("a", "another name", {"problem": "p", "kind": "math"}, "1", meta={"y": 2, "x": 1}, chance=0.5)
    assert digest([base]) == digest([same])
    for other in (
        Sample("b", "one", base.task, "1", meta=base.meta),
        Sample("a", "one", {"kind": "math", "problem": "q"}, "1", meta=base.meta),
        Sample("a", "one", base.task, "2", meta=base.meta),
        Sample("a", "one", base.task, "1", "train", base.meta),
        Sample("a", "one", base.task, "1", meta=base.meta, memories=(Draft("m"),)),
    ):
        assert digest([base]) != digest([other])
    assert digest([base, base]) != digest([base])


def test_the_digest_of_a_known_record_stays_as_it_is() -> None:
    sample = Sample("a", "one", {"kind": "math", "problem": "p"}, "1")
    # Old results name their data by it.
    assert digest([sample]) == "fb82e350d44661d1a3dd8e82f3f1c068457433786bf81b3adf4cf4e39c0fde39"


def test_every_built_in_set_can_be_had_somewhere() -> None:
    for name, item in BUILT_IN.items():
        assert item.name == name
        assert item.file or item.hub or item.made
        assert item.licence


def test_unknown_suites_are_refused_with_the_near_one() -> None:
    with pytest.raises(UnknownName, match="did you mean 'aime'"):
        registry.get("aimee")
