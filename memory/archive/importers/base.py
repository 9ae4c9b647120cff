"""What every importer gives: drafts, each with the line of the file that it was read from.

An importer is a pure function from the bytes of a file to drafts. It raises `InvalidInput` that names the line for whatever
it cannot read, so that a file is taken as a whole or not at all. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import orjson

from memory.types import Draft
from runtime.errors import InvalidInput

BOM: Final = "\ufeff"


class Found(NamedTuple):
    """A draft, and the line (from 1) where it begins in the file."""

    line: int
    draft: Draft


class Importer(Protocol):
    """Reads one format. `name` is what the document is called; only text without a name of its own needs it."""

    def __call__(self, data: bytes, *, name: str) -> Iterator[Found]: ...


def text_of(data: bytes) -> str:
    """The file as text, without a byte order mark. Raises `InvalidInput` with the line of the first bad byte."""
    try:
        return data.decode().removeprefix(BOM)
    except UnicodeDecodeError as error:
        raise bad(data.count(b"\n", 0, error.start) + 1, f"byte {data[error.start]:#04x} is not UTF-8") from error


def json_lines(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every line that is not empty, as an object. Raises `InvalidInput` that names the line."""
    for number, line in enumerate(data.removeprefix(BOM.encode()).splitlines(), 1):
        if line.strip():
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise bad(number, f"is not JSON ({error})") from error
            yield number, checked_object(number, value)


def checked_object(line: int, value: Any) -> dict[str, Any]:
    """The value, which must be an object."""
    if not isinstance(value, dict):
        raise bad(line, f"holds {_kind(value)}; expected an object")
    return value


def text_in(line: int, item: Mapping[str, Any], *names: str, needed: bool = True) -> str | None:
    """The text under the first of these names that is there; empty text is as good as none."""
    for name in names:
        value = item.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise bad(line, f"{name!r} is {_kind(value)}; expected text")
        return value
    if needed:
        raise bad(line, f"has no {' or '.join(map(repr, names))}; expected text there")
    return None


def texts_in(line: int, item: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts, empty when it is not there."""
    value = item.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise bad(line, f"{name!r} is {_kind(value)}; expected a list of texts")
    return value


def time_in(line: int, item: Mapping[str, Any], name: str) -> datetime | None:
    """A time; one without a zone is in UTC."""
    value = text_in(line, item, name, needed=False)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise bad(line, f"{name!r} is {value!r}; expected a date or time such as 2027-01-31T09:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def names_of(values: Iterable[str]) -> tuple[str, ...]:
    """Names of one line each, without empty ones and repetitions."""
    return tuple(dict.fromkeys(name for value in values if (name := " ".join(value.split()))))


def bad(line: int, what: str) -> InvalidInput:
    """The error about a line; whoever reads the file puts the name of the file in front."""
    return InvalidInput(f"line {line}: {what}", param="file")


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
