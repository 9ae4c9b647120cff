"""The rules of a search, as one value; three sets of them have names.

`PUBLISHED` follows the released code number for number, faults included, for parity. `ROBUST` repairs it and is the
default. `EVIDENCE` is ours: what code found out outranks opinion, judgements are noisy observations of one posterior,
and that posterior decides where to search, when to stop and what to answer. Any other set is `dataclasses.replace` of
one of them. Source: empirical_mcts §3.3–3.9, §4; `EVIDENCE` ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from runtime.errors import InvalidInput, UnknownName
from runtime.types import JsonObject
from search.base import Kind

Ranking = Literal["borda", "bradley_terry"]
Ties = Literal["id", "margin"]
Backup = Literal["path", "published", "robust", "posterior"]
Selection = Literal["ucb", "puct", "thompson"]
Visits = Literal["frozen", "descendants"]
Close = Literal["count", "surpassed", "never"]
FinalRule = Literal["fused", "q", "vote", "mass"]
Opponent = Literal["parent", "champion"]
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "alpha": (0, 1),
    "gamma": (0, 1),
    "c": (0, 1e6),
    "eps": (1e-12, 1e6),
    "k": (1, 1e6),
    "z": (1e-6, 1e6),
    "stop_at": (0, 1),
    "min_answers": (1, 1e6),
    "prior_sd": (1e-3, 1e3),
    "bias_sd": (0, 1e3),
    "temper": (0, 1e3),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """The constants and rules of one search.

    `alpha` weighs the global value against the local one, `gamma` is the decay, `c` and `eps` belong to UCB, `k` is the
    child limit, `z` the scale of values. `ties` orders equal Borda counts. `close`: when a node takes no more children.
    `stop_on_pass`: an objective 1.0 ends the search. `stop_at`: the probability that ends it early, None for never, and
    not before `min_answers` answers. `prior_sd` and `bias_sd` are the standard deviations, in log-odds, of an answer's
    strength and of the pull of the first place in a comparison. `spare_judge`: answers with the same canonical form are
    not compared, and where objective signals differ they decide, not the judge. `temper` how much strength counts
    beside number in the mass of an answer.
    """

    name: str
    alpha: float = 0.9
    gamma: float = 0.1
    c: float = 1.4
    eps: float = 1e-5
    k: int = 2
    z: float = 1.0
    ranking: Ranking = "borda"
    ties: Ties = "margin"
    backup: Backup = "robust"
    selection: Selection = "ucb"
    visits: Visits = "descendants"
    close: Close = "surpassed"
    final: FinalRule = "fused"
    expansions: tuple[Kind, ...] = ("child",)
    opponents: tuple[Opponent, ...] = ("parent",)
    spare_judge: bool = False
    stop_on_pass: bool = True
    stop_at: float | None = None
    min_answers: int = 3
    prior_sd: float = 1.0
    bias_sd: float = 1.0
    temper: float = 3.0

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InvalidInput(f"{name}: got {value!r}, expected {low:g} to {high:g}", param=name)
        if "child" not in self.expansions:
            raise InvalidInput(f"expansions: got {self.expansions!r}, expected 'child' among them", param="expansions")

    def to_json(self) -> JsonObject:
        """All fields; tuples become lists."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**fields)


PUBLISHED: Final = Profile(
    "published",
    z=10.0,
    ties="id",
    backup="published",
    visits="frozen",
    close="count",
    stop_on_pass=False,
)
ROBUST: Final = Profile("robust")
EVIDENCE: Final = Profile(
    "evidence",
    ranking="bradley_terry",
    backup="posterior",
    selection="thompson",
    close="never",
    final="mass",
    expansions=("child", "fresh", "merge"),
    opponents=("champion", "parent"),
    spare_judge=True,
    stop_at=0.95,
)
PROFILES: Final[Mapping[str, Profile]] = {profile.name: profile for profile in (PUBLISHED, ROBUST, EVIDENCE)}


def profile(name: str) -> Profile:
    """The profile of that name; raises `UnknownName` listing the ones there are."""
    if name not in PROFILES:
        raise UnknownName(f"profile {name!r} does not exist; there are {', '.join(PROFILES)}", param="profile")
    return PROFILES[name]
