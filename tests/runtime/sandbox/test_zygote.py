"""A zygote that is ended takes its child along, wherever it is just then."""

from __future__ import annotations

import subprocess
import sys

from runtime.sandbox.probe import ENVIRONMENT, ROOT

ENDED_AT_THE_FORK = """
import mmap, os, signal, sys
sys.path.append(sys.argv[1])
from runtime.sandbox import layers, zygote
quick_fork = zygote._quick_fork
def fork_and_be_ended():
    child = quick_fork()
    if child: os.kill(os.getpid(), signal.SIGTERM)
    return child
zygote._quick_fork = fork_and_be_ended
signal.signal(signal.SIGTERM, zygote._stop)
payload = b'[["def f(x):\\\\n    while True: pass", "f", [1]]]'
jobs, service = os.pipe()
os.write(service, payload)
job = (len(payload), 60.0, 1 << 30, 1 << 16, 1, 1 << 20)
try:
    zygote._job(layers.prepare("reduced"), job, jobs, os.dup(1), mmap.mmap(-1, zygote.BUFFER_BYTES))
except SystemExit:
    try: print("left", os.waitpid(-1, os.WNOHANG))
    except ChildProcessError: print("none left")
"""


def test_a_zygote_that_is_ended_at_the_fork_ends_its_child() -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-s", "-c", ENDED_AT_THE_FORK, str(ROOT)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (ran.stdout, ran.stderr) == ("none left\n", "")
