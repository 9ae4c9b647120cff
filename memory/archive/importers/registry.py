"""Which formats can be read, how they are told apart, and what comes with the program.

A format is recognised by what is in the file, never by its name. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from memory.archive.importers import mcp_memory, mem0, plain
from memory.archive.importers.base import BOM, Found, Importer
from memory.builtin.arc_concepts import loader as arc_concepts
from memory.types import Draft
from runtime.errors import InvalidInput, UnknownName

Format = Literal["archive", "mem0", "mcp", "text", "builtin"]
# Those that a person can name.
FORMATS: Final[tuple[Format, ...]] = ("archive", "mem0", "mcp", "text")
IMPORTERS: Final[Mapping[Format, Importer]] = {"mem0": mem0.drafts, "mcp": mcp_memory.drafts, "text": plain.drafts}
# What `builtin:NAME` reads; each entry makes the drafts of a collection that is part of the program.
BUILTIN: Final[dict[str, Callable[[], Iterable[Draft]]]] = {"arc-concepts": arc_concepts.drafts}
PREFIX: Final = "builtin:"
# Names that stand in a document of the program, whichever comes first.
TELLING: Final[Mapping[bytes, Format]] = {
    b'"entities"': "mcp",
    b'"results"': "mem0",
    b'"memories"': "mem0",
    b'"memory"': "mem0",
}
ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")


def format_of(data: bytes) -> Format:
    """The format of a file by its content. Raises `InvalidInput` for JSON of none of these programs."""
    if is_zip(data):
        return "archive"
    head = data.removeprefix(BOM.encode()).lstrip()
    if not head.startswith((b"{", b"[{", b"[ ", b"[\n", b"[\r", b"[\t", b"[]")):
        return "text"
    if mcp_memory.is_lines(data):
        return "mcp"
    told = sorted((head.find(name), known) for name, known in TELLING.items() if name in head)
    if told:
        return told[0][1]
    raise InvalidInput(
        "the file is JSON, but of no program that is known: neither mem0 nor the MCP memory server. Name its format "
        f"({', '.join(FORMATS)}) if it is one of them",
        param="format",
    )


def is_zip(head: bytes) -> bool:
    """Whether a file that begins like this is packed."""
    return head.startswith(ZIP)


def format_named(name: object) -> Format:
    """The format of that name. Raises `InvalidInput`."""
    for known in FORMATS:
        if known == name:
            return known
    raise InvalidInput(f"format {name!r}: expected one of {', '.join(FORMATS)}", param="format")


def read(format_: Format, data: bytes, name: str) -> list[Found]:
    """The drafts of a file. Raises `InvalidInput` that names the file and the line."""
    importer = IMPORTERS.get(format_)
    if importer is None:
        raise InvalidInput(
            f"format {format_!r}: cannot be read from bytes; expected {', '.join(IMPORTERS)}", param="format"
        )
    try:
        return list(importer(data, name=name))
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error.message}; nothing was imported", param=error.param) from error


def builtin(source: str) -> list[Draft]:
    """The drafts of a collection that comes with the program, `builtin:NAME`. Raises `UnknownName`, `InvalidInput`."""
    if not source.startswith(PREFIX):
        raise InvalidInput(f"source {source!r}: expected {PREFIX}NAME, or the path of a file", param="source")
    made = BUILTIN.get(source.removeprefix(PREFIX))
    if made is None:
        known = ", ".join(sorted(BUILTIN)) or "none in this release"
        raise UnknownName(f"{source!r}: not found; there is {known}", param="source")
    return list(made())
