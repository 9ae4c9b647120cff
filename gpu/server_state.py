"""How our model server stands, and how patient its watch is. Source: ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Phase = Literal["stopped", "installing", "converting", "starting", "ready", "restarting", "failed"]


@dataclass(frozen=True, slots=True)
class ServerState:
    """What /ready and doctor show. `owner`: this process started the server; `pid` is its supervisor's."""

    phase: Phase
    detail: str
    since: datetime
    base_url: str
    log: str
    restarts: int = 0
    model: str | None = None
    pid: int | None = None
    owner: bool = False


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds between looks at the server, and how patient to be."""

    poll_s: float = 1.0
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    stable_s: float = 60.0  # ready for this long: earlier failures no longer count
    unhealthy_s: float = 60.0  # silent for this long: a hung server; a busy CPU answers late
    grace_s: float = 5.0
    give_up_after: int = 6
