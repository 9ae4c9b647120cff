"""The data sets that are known by name: where they lie in a folder of data, where they are published, who may use them.

Nothing is shipped but tasks that are made on the spot. Source: evaluation sheet §1, §2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from evals.base import Split
from evals.suites import arc_data, generated, reasoning, small

MATHARENA: Final = "text MIT (MathArena); the problems belong to the organisers of the contest"
MAA: Final = "text MIT (MathArena); problems © MAA"
NON_COMMERCIAL: Final = "CC BY-NC-SA 4.0; the problems belong to the organisers of the contest"
NONE_STATED: Final = "none stated; problems © MAA"


@dataclass(frozen=True, slots=True)
class HubRef:
    """A data set on Hugging Face. Without a config, and without a split, it must have one only, or a `test` split."""

    id: str
    config: str | None = None
    split: str | None = None

    def __str__(self) -> str:
        return ":".join(("hf", *(part for part in (self.id, self.config, self.split) if part)))


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """`file`: its place in a folder of data sets; `licence` is that of the file, the hub says its own. `made`: makes the
    records where there is no file, `origin` says out of what. `read`: the records behind the lines of a file that holds
    something else, such as ids."""

    name: str
    file: str | None = None
    licence: str = ""
    hub: HubRef | None = None
    split: Split = "test"
    made: Callable[[], list[dict[str, Any]]] | None = None
    origin: str = "made"
    read: Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]] | None = None


_ALL: Final = (
    BuiltIn("aime2024", "aime/aime2024.jsonl", MAA, HubRef("HuggingFaceH4/aime_2024", split="train")),
    BuiltIn("aime2025", "aime/aime2025.jsonl", MAA, HubRef("MathArena/aime_2025", split="train")),
    BuiltIn("aime2026", None, NON_COMMERCIAL, HubRef("MathArena/aime_2026", split="train")),
    # Memories may be built from these, never from those of later years.
    BuiltIn("aime2021", "aime/aime2021.jsonl", NONE_STATED, split="experience"),
    BuiltIn("aime2022", "aime/aime2022.jsonl", NONE_STATED, split="experience"),
    BuiltIn("hmmt_feb_2024", "aime/hmmt_feb_2024.jsonl", MATHARENA),
    BuiltIn("hmmt_feb_2025", None, NON_COMMERCIAL, HubRef("MathArena/hmmt_feb_2025", split="train")),
    BuiltIn("hmmt_nov_2025", None, NON_COMMERCIAL, HubRef("MathArena/hmmt_nov_2025", split="train")),
    BuiltIn("hmmt_feb_2026", None, NON_COMMERCIAL, HubRef("MathArena/hmmt_feb_2026", split="train")),
    BuiltIn("cmimc_2024", "aime/cmimc_2024.jsonl", MATHARENA),
    BuiltIn("apex_2025", None, NON_COMMERCIAL, HubRef("MathArena/apex_2025", split="train")),
    BuiltIn("apex_shortlist", None, NON_COMMERCIAL, HubRef("MathArena/apex-shortlist", split="train")),
    BuiltIn("math500", "math500/math500.jsonl", "MIT", HubRef("HuggingFaceH4/MATH-500", split="test")),
    BuiltIn("gsm8k", "gsm8k/gsm8k_test_400.jsonl", "MIT", HubRef("openai/gsm8k", "main", "test")),
    BuiltIn("fact_recall", "small_model/fact_recall.jsonl", "CC0", made=generated.fact_recall),
    BuiltIn("equations", "small_model/equations.jsonl", "CC0", made=generated.equations),
    BuiltIn("sums", None, "CC0", made=small.sums),
    *(
        BuiltIn(
            f"{version}-{part}",
            None,
            arc_data.LICENCE,
            split=split,
            made=partial(arc_data.records, version, part),
            origin=arc_data.source(version),
        )
        for version in arc_data.VERSIONS
        for part, split in arc_data.SPLITS.items()
    ),
    *(
        BuiltIn(name, "arc/splits.jsonl", arc_data.LICENCE, split=split, read=partial(arc_data.subset, name))
        for name, split in arc_data.SUBSETS.items()
    ),
    *(
        BuiltIn(
            f"rg-{name}",
            reasoning.FILE,
            reasoning.LICENCE,
            made=partial(reasoning.made, name),
            origin=f"{reasoning.PACKAGE}: {name}",
            read=partial(reasoning.seeded, f"rg-{name}"),
        )
        for name in reasoning.GENERATORS
    ),
)
BUILT_IN: Final[Mapping[str, BuiltIn]] = {item.name: item for item in _ALL}
