"""Opens a log with Inspect's own reader, for evals/bench/inspect_log.py; runs in an environment of its own.

    inspect_peer.py FILE

Prints one JSON object: what Inspect understood of it. Source: ours.
"""

import json
import sys
import tempfile
from pathlib import Path

from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries, write_eval_log


def main():
    log = read_eval_log(sys.argv[1])
    summaries = read_eval_log_sample_summaries(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        # Its own format, which its viewer reads; what was lost on the way would show.
        binary = str(Path(folder) / "log.eval")
        write_eval_log(log, binary)
        again = read_eval_log(binary)
    metrics = {metric.name: metric.value for score in log.results.scores for metric in score.metrics.values()}
    print(
        json.dumps(
            {
                "version": log.version,
                "status": log.status,
                "task": log.eval.task,
                "model": log.eval.model,
                "samples": len(log.samples),
                "epochs": max(sample.epoch for sample in log.samples),
                "correct": sum(score.value == "C" for s in log.samples for score in s.scores.values()),
                "targets": [sample.target for sample in log.samples[:3]],
                "inputs": [sample.input for sample in log.samples[:3]],
                "outputs": [sample.output.completion for sample in log.samples[:3]],
                "tokens": sum(usage.total_tokens for usage in log.stats.model_usage.values()),
                "metrics": metrics,
                "summaries": len(summaries),
                "kept": len(again.samples),
            }
        )
    )


if __name__ == "__main__":
    main()
