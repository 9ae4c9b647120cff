#!/usr/bin/env bash
# Makes .venv and installs the locked versions into it:  scripts/setup.sh serve|test
# Does nothing when they are in place. What this machine lacks is installed when that needs no question (root and
# apt-get), and otherwise named together with the command that installs it; nothing is left out in silence.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:?usage: scripts/setup.sh serve|test}
case $mode in
  serve) lock=requirements.lock extra= ;;
  test) lock=requirements-dev.lock extra="[dev,otlp]" ;;
  *) echo "scripts/setup.sh: unknown mode '$mode'; expected serve or test" >&2; exit 2 ;;
esac

say() { echo "setup: $*" >&2; }
fail() { echo "setup: $*" >&2; exit 1; }
can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_updated=
apt() {
  if [ -z "$apt_updated" ]; then apt-get update -qq && apt_updated=1; fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need PACKAGE WHY: installs a Debian package, or says how.
need() {
  if can_apt; then
    say "installing $1 ($2)"
    apt "$1" || fail "apt-get could not install $1, which is needed: $2"
  else
    fail "$1 is missing ($2). Install it:  sudo apt-get install $1"
  fi
}

find_python() {
  for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "no Python 3.11 or later found. Install one, or name it:  make serve PYTHON=/path/to/python3"
}

make_venv() {
  local python
  python=$(find_python)
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    local package
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    need "$package" "python3 -m venv cannot work without it"
  fi
  say "making .venv with $python"
  "$python" -m venv --clear .venv
}

# Another Python than the one .venv was made with (an upgrade of the system) leaves links that lead nowhere.
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  make_venv
fi

# The stamp stands for everything that decides what is installed. A test environment serves as well.
digest_of() { cat "$1" pyproject.toml | sha256sum | cut -d' ' -f1; }
stamp=.venv/.installed-$mode
if [ "$(cat "$stamp" 2>/dev/null)" != "$(digest_of "$lock")" ] &&
  ! { [ "$mode" = serve ] && [ "$(cat .venv/.installed-test 2>/dev/null)" = "$(digest_of requirements-dev.lock)" ]; }
then
  rm -f .venv/.installed-*
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then .venv/bin/python -m ensurepip -q; fi
  if ! .venv/bin/uv --version >/dev/null 2>&1; then .venv/bin/python -m pip install -q "uv>=0.11"; fi
  say "installing $lock"
  # uv does not read pip's configuration; behind a mirror that only pip knows, pip does the same, slower.
  if ! .venv/bin/uv pip install -q --python .venv/bin/python --require-hashes -r "$lock"; then
    say "uv could not install; trying pip"
    .venv/bin/python -m pip install -q --require-hashes -r "$lock"
  fi
  # The build backend comes from the lock as well, so nothing is fetched for it.
  .venv/bin/uv pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e ".$extra"
  digest_of "$lock" >"$stamp"
fi

# The libraries of the pages, when npm is here; without them the pages are plain HTML, and this says so.
if [ "$mode" = test ]; then
  command -v npm >/dev/null || need npm "the browser tests need the libraries of the pages"
  .venv/bin/python -m api.web.vendor --dev
else
  .venv/bin/python -m api.web.vendor
fi

if [ "$mode" = test ]; then
  command -v chromium >/dev/null || command -v google-chrome >/dev/null ||
    need chromium "the browser tests drive it"
  command -v initdb >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null ||
    need postgresql "the tests of runs and workers start a real server"
fi
