"""Reading the fields of records, which every publisher names differently. Source: evaluation sheet §2 (loader contract)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, JsonValue

from evals.base import SPLITS, DataSet, Split
from runtime.errors import InvalidInput
from runtime.types import JsonObject


class NoOptions(BaseModel):
    """A suite without options."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def text(data: DataSet, number: int, names: Sequence[str]) -> str:
    """The first of the fields that the record has, as text; a number is written out. Raises `InvalidInput`."""
    record = data.records[number]
    for name in names:
        value = record.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    raise InvalidInput(
        f"data set {data.name!r}, record {number + 1}: expected text in one of the fields {', '.join(names)}; it has "
        f"{', '.join(sorted(record)) or 'none'}",
        param="data",
    )


def id_of(data: DataSet, number: int, names: Sequence[str] = ("id", "unique_id", "problem_idx")) -> str:
    """The id of a record, made from the name of its set and its place when it is only a number, or missing."""
    for name in names:
        value = data.records[number].get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{data.name}-{value}"
    return f"{data.name}-{number + 1}"


def split_of(data: DataSet, number: int) -> Split:
    """The split that the record declares, or else that of its set. Raises `InvalidInput` for an unknown one."""
    declared = data.records[number].get("split", data.split)
    if declared not in SPLITS:
        raise InvalidInput(
            f"data set {data.name!r}, record {number + 1}: split {declared!r}; expected one of {', '.join(SPLITS)}",
            param="data",
        )
    return declared


def meta_of(data: DataSet, number: int, names: Sequence[str]) -> dict[str, JsonValue]:
    """The named fields that the record has."""
    record: JsonObject = data.records[number]
    return {name: record[name] for name in names if record.get(name) is not None}
