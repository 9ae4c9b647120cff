"""Which kind of job is handled by what. Source: ours."""

from __future__ import annotations

from collections.abc import Mapping

from memory.jobs import Handler
from memory.pipelines import classify, extract, feedback, summarise
from memory.pipelines.base import Parts


def handlers(parts: Parts) -> Mapping[str, Handler]:
    """The handlers of every pipeline, by the kind of their jobs."""
    return {
        extract.KIND: extract.Extract(parts),
        classify.KIND: classify.Classify(parts),
        feedback.KIND: feedback.Feedback(parts),
        summarise.KIND: summarise.Summarise(parts),
    }
