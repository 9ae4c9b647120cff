"""A stand-in for vLLM in tests: a process that listens, answers /health, has a child, and dies or hangs when told.

    python fake_engine.py --port N [--mark TEXT] [--fail TEXT]

The child ignores SIGTERM and has a session of its own: the worst that a real engine could leave behind.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHILD = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--mark", default="")
parser.add_argument("--fail")
arguments = parser.parse_args()

if arguments.fail:
    print(f"(EngineCore pid=1) {arguments.fail}", flush=True)
    print("RuntimeError: see above", flush=True)
    sys.exit(1)

child = subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True, stdout=subprocess.PIPE)
assert child.stdout is not None
child.stdout.readline()
hung = False


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        global hung
        if self.path == "/die":
            os._exit(7)
        if self.path == "/hang":
            hung = True
        status = 503 if hung and self.path == "/health" else 200
        body = json.dumps({"pid": os.getpid(), "child": child.pid, "env": dict(os.environ)}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return


print(f"serving on {arguments.port}", flush=True)
ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler).serve_forever()
