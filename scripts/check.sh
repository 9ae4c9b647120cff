#!/usr/bin/env bash
# Style, format, types and layers of the whole tree.
set -euo pipefail
cd "$(dirname "$0")/.."

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy --strict .
.venv/bin/lint-imports
