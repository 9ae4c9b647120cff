"""The options of the agent: the hyper-parameters of the sheet by their names.

`format` is what kind of memory is read and written: `ps` typed concepts, `oe` lessons, `none` neither. Source: arcmemo §4;
contract §5.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Gate = Literal["train", "train+agree", "train+recolour", "train+agree+recolour"]


class ArcMemoConfig(BaseModel):
    """See docs/agents.md.

    `samples` threads are drawn, each with up to `retries` retries; a thread is retried while its last program fails the
    `criterion`. `num_feedback_passes`: so many earlier attempts are shown, -1 for all. `context_tokens`: what the
    memory may take of a selection prompt; a larger one is looked through for a shortlist first. `select_tokens`: for
    the reply of a selection, with what the model thinks before it. `seconds`: for one program on all grids of a call.
    `gate`: what must hold before anything is learned, see agents/arc_memo/gate.py. `vision`: a picture of the puzzle
    goes with the caption call. `executable`: concepts may carry helpers, functions that programs call.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal["ps", "oe", "none"] = "ps"
    samples: int = Field(3, ge=1, le=64)
    retries: int = Field(2, ge=0, le=16)
    criterion: Literal["train"] = "train"
    error_feedback: Literal["first", "all"] = "all"
    num_feedback_passes: int = Field(1, ge=-1, le=16)
    include_past_outcomes: bool = True
    reselect_concepts: bool = False
    abstain: bool = True
    top_k: int = Field(5, ge=1, le=64)
    usage_threshold: int = Field(2, ge=0, le=100)
    select_tokens: int = Field(8_000, ge=16, le=1_000_000)
    context_tokens: int = Field(24_000, ge=500, le=1_000_000)
    gate: Gate = "train"
    vision: bool = False
    executable: bool = False
    temperature: float = Field(0.8, ge=0, le=2)
    auxiliary_temperature: float = Field(0.3, ge=0, le=2)
    seconds: float = Field(2.0, gt=0, le=60)
    at_once: int = Field(8, ge=1, le=64)
