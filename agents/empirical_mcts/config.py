"""The options of the agent: the hyper-parameters of the sheet by their names, and the rules of search that they make.

What is None is as the profile says. Source: empirical_mcts §4; search/profile.py for the profiles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from memory.experiences import By
from search.profile import PROFILES, Profile

METHOD: Final = "empirical-mcts"
NEVER: Final = 1.0
Share = Annotated[float, Field(ge=0, le=1)]


class EmpiricalMCTSConfig(BaseModel):
    """See docs/agents.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    profile: Literal["published", "robust", "evidence"] = "robust"
    rollouts: int = Field(8, ge=0, le=256)
    alpha: Share | None = None
    gamma: Share | None = None
    c: float | None = Field(None, ge=0)
    k: int | None = Field(None, ge=1, le=64)
    expansion: Literal["prompt", "refine"] = "prompt"
    final: Literal["fused", "q", "vote", "posterior"] | None = None
    stop_at: float | None = Field(None, gt=0.5, le=1)
    dual_order: bool = False
    role: bool = True
    temperature: float = Field(0.95, ge=0, le=2)
    top_p: float = Field(0.9, gt=0, le=1)
    memory_when: Literal["comparison", "question"] = "comparison"
    method: str = Field(METHOD, min_length=1, max_length=100, pattern=r"^[\w.:@/-]+$")
    retrieval_k: int | None = Field(None, ge=0, le=64)
    threshold: float | None = Field(None, ge=-1, le=1)
    memories: int | None = Field(None, ge=0, le=64)

    def rules(self) -> Profile:
        """The rules of the search."""
        named = {name: getattr(self, name) for name in ("alpha", "gamma", "c", "k", "stop_at")}
        changes: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if self.stop_at == NEVER:
            changes["stop_at"] = None
        if self.final is not None:
            changes["final"] = "mass" if self.final == "posterior" else self.final
        return replace(PROFILES[self.profile], **changes)

    def retrieval(self) -> Retrieval:
        """How experiences are found and shown."""
        usual = PUBLISHED if self.profile == "published" else ROBUST
        return Retrieval(
            k=usual.k if self.retrieval_k is None else self.retrieval_k,
            threshold=usual.threshold if self.threshold is None else self.threshold,
            memories=usual.memories if self.memories is None else self.memories,
            by=usual.by,
            robust=usual.robust,
        )


@dataclass(frozen=True, slots=True)
class Retrieval:
    """`k` experiences at most, none below `threshold`; `memories` others of the vault beside them. `robust`: no two that say
    the same, a limit of tokens, measured usefulness at work."""

    k: int
    threshold: float
    memories: int
    by: By
    robust: bool


PUBLISHED: Final = Retrieval(k=10, threshold=0.9, memories=0, by="key", robust=False)
ROBUST: Final = Retrieval(k=5, threshold=0.35, memories=5, by="key_or_text", robust=True)
