"""An environment of its own for another memory store, made once. Source: ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def environment(home: Path, name: str, packages: Sequence[str]) -> Path:
    """The interpreter of the environment `name` below `home`, with the packages; what is there is taken as it is.

    Raises `CalledProcessError` when they cannot be installed; then nothing is left behind.
    """
    folder = home / "bench" / name
    python = folder / "bin" / "python"
    if not python.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, text=True)
            pip = [str(python), "-m", "pip", "install", "-q", *packages]
            subprocess.run(pip, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return python
