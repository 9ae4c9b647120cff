"""Prompt files: Markdown beside the agent that uses them, placeholders as `{{name}}`, strict in both directions.

A missing value and a surplus one are errors, so a prompt and its caller cannot drift apart; values are put in once and
never looked through for placeholders, so text from a model or a user cannot pull in another value. The hash of the
file goes into the log of every run. Source: ours.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import MnemeError, boundary

PLACEHOLDER = re.compile(r"\{\{\s*([a-z_][a-z0-9_]*)\s*\}\}")


@dataclass(frozen=True, slots=True)
class PromptFile:
    """One prompt. `sha256` is of the text as it stands in the file."""

    name: str
    text: str
    sha256: str

    @property
    def placeholders(self) -> frozenset[str]:
        """The names it wants."""
        return frozenset(PLACEHOLDER.findall(self.text))

    def render(self, **values: str) -> str:
        """The text with every placeholder replaced. Raises `MnemeError` naming what is missing or too much."""
        missing, surplus = self.placeholders - values.keys(), values.keys() - self.placeholders
        if missing or surplus:
            raise MnemeError(
                f"prompt {self.name!r}: missing values {sorted(missing)}, unknown values {sorted(surplus)}; "
                f"expected exactly {sorted(self.placeholders)}"
            )
        return PLACEHOLDER.sub(lambda match: values[match.group(1)], self.text).strip()


def load_prompt(path: Path) -> PromptFile:
    """Read `<agent>/prompts/<stem>.md`; its name is `<agent>/<stem>`.

    Raises `MnemeError` when it cannot be read, and for braces that open a placeholder and are none.
    """
    with boundary(f"prompt file {str(path)!r}"):
        text = path.read_text(encoding="utf-8")
    name = f"{path.parent.parent.name}/{path.stem}"
    rest = PLACEHOLDER.sub(" ", text)
    stray = rest.find("{{")
    if stray >= 0:
        around = rest[stray : stray + 20]
        raise MnemeError(f"prompt {name!r}: {around!r} is no placeholder; expected '{{{{name}}}}' in lower case")
    return PromptFile(name, text, hashlib.sha256(text.encode()).hexdigest())
