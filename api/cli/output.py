"""What commands print: JSON with `--json`, else plain columns; results on stdout, remarks on stderr.

Nothing is coloured, wrapped or redrawn when the stream is not a terminal. Source: contract §2; ours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: object) -> None:
    """One JSON document on stdout; dates and paths as text."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart; the last one is not padded, so lines carry no trailing blanks."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings) - 1)]
    return "\n".join(
        "".join(f"{cell:<{width}}  " for cell, width in zip(line, widths, strict=False)) + line[-1] for line in lines
    )


def in_colour(stream: TextIO) -> bool:
    """Whether what is printed there may carry colours: only on a terminal."""
    return stream.isatty()


def remark(text: str) -> None:
    """A line for the person at the terminal, on stderr."""
    print(text, file=sys.stderr, flush=True)
