#!/usr/bin/env bash
# Resolves pyproject.toml into requirements.lock (the service) and requirements-dev.lock (the service and its tests).
# The files hold names, versions and hashes for every platform, and no address of any index.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
  .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-annotate --no-header "$@"
}

compile pyproject.toml scripts/build-requirements.in -o requirements.lock "$@"
compile pyproject.toml scripts/build-requirements.in --extra dev --extra otlp -c requirements.lock \
  -o requirements-dev.lock "$@"
