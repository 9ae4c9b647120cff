"""From the words of `--data` to records: a file, a name, or a data set of Hugging Face.

    aime2025                     a built-in name: in the folder of data sets, else made, else fetched
    folder/                      a folder of data sets, where built-in names are looked for first
    my/problems.jsonl            a local file, one JSON object a line
    hf:openai/gsm8k:main:test    Hugging Face

Local files need no network. Source: evaluation sheet §2 (loader contract).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio.to_thread
from pydantic import BaseModel

from evals.base import DataSet, Sample, Split, Suite
from evals.hub import Hub, Say, read_ref
from evals.sets import BUILT_IN, BuiltIn
from runtime import textsafe
from runtime.errors import InvalidInput, UnknownName


@dataclass(frozen=True, slots=True)
class Loader:
    """Finds data sets. `folder`: where built-in names are looked for; `split`: what a file is that does not say."""

    hub: Hub
    say: Say
    folder: Path | None = None
    split: Split = "test"

    async def load(self, words: Sequence[str], otherwise: Sequence[str]) -> list[DataSet]:
        """The data sets that were named, or else `otherwise`, in their order.

        Raises `InvalidInput` for what cannot be read, `UnknownName` for what is not there.
        """
        folders = [Path(word) for word in words if _is_folder(word)]
        if len(folders) > 1:
            raise InvalidInput(f"data: {len(folders)} folders; expected at most one", param="data")
        loader = replace(self, folder=folders[0] if folders else self.folder)
        named = [word for word in words if not _is_folder(word)]
        return [await loader._one(word) for word in (named or otherwise)]

    async def _one(self, word: str) -> DataSet:
        if word.startswith("hf:"):
            fetched = await self.hub.get(read_ref(word), self.say)
            source = f"{fetched.ref}@{fetched.revision}"
            return DataSet(fetched.ref.id.partition("/")[2], source, fetched.licence, self.split, fetched.rows)
        if word in BUILT_IN:
            return await self._built_in(BUILT_IN[word])
        path = Path(word)
        if path.suffix != ".jsonl":
            near = difflib.get_close_matches(word, BUILT_IN, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UnknownName(
                f"data {word!r}: expected a .jsonl file, hf:<owner>/<name>[:config][:split], or one of "
                f"{', '.join(BUILT_IN)}{hint}",
                param="data",
            )
        return await self._file(path, path.stem, "not stated", self.split)

    async def _built_in(self, item: BuiltIn) -> DataSet:
        for path in _places(self.folder, item):
            if path.is_file():
                found = await self._file(path, item.name, item.licence, item.split)
                if item.read is None:
                    return found
                return replace(found, records=tuple(await anyio.to_thread.run_sync(item.read, found.records)))
        if item.made is not None:
            made = await anyio.to_thread.run_sync(item.made)
            return DataSet(item.name, item.origin, item.licence, item.split, tuple(made))
        if item.hub is None:
            where = f"in {str(self.folder)!r}" if self.folder else "because no folder is set"
            raise UnknownName(
                f"data {item.name!r}: not found {where}; give its folder with --data or the setting 'evals.data'",
                param="data",
            )
        fetched = await self.hub.get(item.hub, self.say)
        return DataSet(item.name, f"{fetched.ref}@{fetched.revision}", fetched.licence, item.split, fetched.rows)

    async def _file(self, path: Path, name: str, licence: str, split: Split) -> DataSet:
        records = await anyio.to_thread.run_sync(read_lines, path)
        return DataSet(name, str(path), licence, split, tuple(records))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file. Raises `InvalidInput` naming the line that is no JSON object."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"data {str(path)!r}: {error}; expected a readable UTF-8 file", param="data") from error
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = textsafe.loads(line)
        except ValueError as error:
            raise InvalidInput(f"data {str(path)!r}, line {number}: not JSON: {error}", param="data") from error
        if not isinstance(record, dict):
            raise InvalidInput(f"data {str(path)!r}, line {number}: expected a JSON object", param="data")
        records.append(record)
    if not records:
        raise InvalidInput(f"data {str(path)!r}: holds no record; expected one JSON object a line", param="data")
    return records


def samples_of(suite: Suite, sets: Sequence[DataSet], options: BaseModel) -> list[list[Sample]]:
    """The samples of each set. Raises `InvalidInput` for none at all, and for an id that comes twice."""
    read = [suite.samples(data, options) for data in sets]
    seen: set[str] = set()
    for sample in (sample for samples in read for sample in samples):
        if sample.id in seen:
            raise InvalidInput(f"data: the id {sample.id!r} comes twice; expected ids of their own", param="data")
        seen.add(sample.id)
    if not seen:
        raise InvalidInput(f"suite {suite.spec.name!r}: the data holds no sample of it", param="data")
    return read


def _is_folder(word: str) -> bool:
    return not word.startswith("hf:") and word not in BUILT_IN and Path(word).is_dir()


def _places(folder: Path | None, item: BuiltIn) -> list[Path]:
    """Where the file may lie: at its place, or directly in the folder."""
    if folder is None or item.file is None:
        return []
    return [folder / item.file, folder / Path(item.file).name]
