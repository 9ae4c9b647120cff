"""Is an exported evaluation a log of Inspect? Opened with Inspect's own reader, in an environment of its own.

    python -m evals.bench.inspect_log evl_…        exports it, reads it back, and compares the figures
    python -m evals.bench.inspect_log --try        first runs a small evaluation with the scripted model

Exits 1 when Inspect does not open it or understands other figures than those of the report. Source: ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import anyio

from agents.build import open_service
from evals import log as logs
from evals.bench.environment import environment
from evals.export_inspect import exported
from evals.hub import Hub
from evals.loading import Loader
from evals.log import Log
from evals.plan import Plan
from evals.report import full
from evals.runner import Bench
from runtime import migrate, textsafe
from runtime.settings import load

PACKAGES: Final = ("inspect-ai",)
PEER: Final = Path(__file__).parent / "peers" / "inspect_peer.py"
TIMEOUT_S: Final = 300
ITEMS: Final = 5
ATTEMPTS: Final = 2


def check(log: Log, home: Path, told_home: Path) -> list[str]:
    """What differs between our report and what Inspect read; `home` holds the environments of benches."""
    python = environment(home, "inspect", PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{log.id}.json"
        file.write_text(textsafe.dumps(exported(log)), encoding="utf-8")
        done = subprocess.run(
            [str(python), str(PEER), str(file)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    if done.returncode != 0:
        return [f"Inspect does not open it: {done.stderr[-2000:]}"]
    read: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps({name: value for name, value in read.items() if name not in ("inputs", "outputs")}))
    ours, records = full(told_home, log), log.records()
    wanted = {
        "status": "success" if ours["status"] == "complete" else "cancelled",
        "task": ours["suite"],
        "samples": len(records),
        "kept": len(records),
        "summaries": len(records),
        "correct": sum(record.correct for record in records),
        "tokens": ours["cost"]["tokens"],
    }
    different = [
        f"{name}: ours {value!r}, Inspect's {read[name]!r}" for name, value in wanted.items() if read[name] != value
    ]
    if abs(read["metrics"]["accuracy"] - ours["scores"]["all"]["accuracy"]) > 1e-9:
        different.append(f"accuracy: ours {ours['scores']['all']['accuracy']}, Inspect's {read['metrics']['accuracy']}")
    return different


async def tried(home: Path) -> Log:
    """A small evaluation with the scripted model, in a home of its own."""
    script = home / "script.toml"
    script.write_text('[[rule]]\nreplies = ["\\\\boxed{2}", "It is 11.", "The answer is 12."]\n', encoding="utf-8")
    flags = {"home": str(home), "llm.model": f"scripted/{script}", "embed.model": "hashing-384"}
    settings = load(flags | {"telemetry.log_level": "WARNING"}).settings
    await anyio.to_thread.run_sync(migrate.upgrade, settings)
    async with open_service(settings, take_queued=False) as service:
        bench = Bench(service, (await service.keys.local()).user_id)
        plan = Plan("small", "direct", limit=ITEMS, epochs=ATTEMPTS, options={"facts": 5})
        return await bench.run(plan, Loader(Hub(home / "data"), print))


def main() -> int:
    """The entry point."""
    parser = argparse.ArgumentParser(description=str(__doc__))
    parser.add_argument("id", nargs="?")
    parser.add_argument("--try", dest="trial", action="store_true")
    given = parser.parse_args()
    settings = load().settings
    if given.trial:
        with tempfile.TemporaryDirectory() as folder:
            different = check(anyio.run(tried, Path(folder)), settings.home, Path(folder))
    elif given.id:
        different = check(logs.find(settings.home, given.id), settings.home, settings.home)
    else:
        parser.error("expected the id of an evaluation, or --try")
    print("\n".join(different) or "Inspect reads the same figures")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
