"""Writes what documents say of the settings: the table of docs/operations.md and mneme.example.toml.

`python -m scripts.settings_docs` after a change of runtime/settings.py; a test compares. Source: ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from runtime.settings import Section, Settings

ROOT: Final = Path(__file__).resolve().parent.parent
# What stands in the example file for a setting whose default is no value.
EXAMPLES: Final[dict[str, Any]] = {
    "llm.base_url": "http://127.0.0.1:8000/v1",
    "llm.model": "Qwen/Qwen3-8B",
    "llm.api_key": "secret",
    "engine.block_size": 32,
    "engine.enforce_eager": True,
    "engine.dtype": "float32",
    "embed.base_url": "http://127.0.0.1:8001/v1",
    "embed.api_key": "secret",
    "embed.dim": 768,
    "embed.threads": 2,
    "qdrant.url": "http://127.0.0.1:6333",
    "qdrant.api_key": "secret",
    "database.url": "postgresql+psycopg://mneme@db.example/mneme",
    "auth.required": True,
    "evals.data": "/srv/data",
    "evals.prices": "/etc/mneme/prices.toml",
    "sandbox.workers": 2,
    "tools.enabled": ["python", "memory_search"],
    "telemetry.otlp_endpoint": "http://127.0.0.1:4318/v1/traces",
}


class Documented(NamedTuple):
    """One setting as the documents show it."""

    key: str
    default: Any
    description: str


def documented(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Documented]:
    """Every setting in the order of its definition."""
    for name, field in section.model_fields.items():
        if _is_section(field.annotation):
            yield from documented(field.annotation, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            default = field.get_default(call_default_factory=True)
            plain = str(default) if isinstance(default, Path) else default
            yield Documented(prefix + name, plain, field.description or "")


def table() -> str:
    """The Markdown table of docs/operations.md."""
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    rows += [f"| `{key}` | {_shown(default)} | {text} |" for key, default, text in documented()]
    return "\n".join(rows)


def example() -> str:
    """The text of mneme.example.toml."""
    lines = [
        "# Every setting of Mneme with its default. Copy this to mneme.toml and take away the `# ` before what you",
        "# change. Where the default is no value, an example stands. Environment variables go before this file.",
    ]
    titles = {
        name: (field.annotation.__doc__ or "").strip().splitlines()[0]
        for name, field in Settings.model_fields.items()
        if _is_section(field.annotation)
    }
    group = None
    for key, default, text in documented():
        section, _, name = key.rpartition(".")
        if section != group:
            lines += ["", f"# {titles[section]}", f"[{section}]"] if section else [""]
            group = section
        note = "; ".join(part for part in (text, "not set by default" if default is None else "") if part)
        setting = f"# {name} = {json.dumps(EXAMPLES[key] if default is None else default)}"
        lines.append(f"{setting:<45}# {note}" if note else setting)
    return "\n".join(lines) + "\n"


def operations(page: str) -> str:
    """The page docs/operations.md with today's table in it."""
    marks = r"(<!-- settings: begin -->\n).*?(<!-- settings: end -->)"
    return re.sub(marks, lambda found: f"{found[1]}{table()}\n{found[2]}", page, flags=re.DOTALL)


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _shown(default: Any) -> str:
    if default is None:
        return "–"
    return f"`{json.dumps(default) if isinstance(default, bool | list) else default}`" if default != "" else "empty"


if __name__ == "__main__":
    (ROOT / "mneme.example.toml").write_text(example(), encoding="utf-8")
    page = ROOT / "docs" / "operations.md"
    page.write_text(operations(page.read_text(encoding="utf-8")), encoding="utf-8")
