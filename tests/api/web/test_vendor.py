"""The browser libraries: fetched once, and missed without harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.web import vendor


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of their own, so that those of this machine stay as they are."""
    monkeypatch.setattr(vendor, "VENDOR", tmp_path / "vendor")
    monkeypatch.setattr(vendor, "WORK", tmp_path / "work")
    monkeypatch.setattr(vendor, "AXE", tmp_path / "axe.js")
    return tmp_path


def npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only npm there is."""
    program = folder / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_without_npm_it_says_so(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(elsewhere))
    assert "npm is not installed" in (vendor.fetch(dev=False) or "")
    assert not vendor.has("cytoscape")


def test_a_registry_that_does_not_answer_is_named(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(elsewhere, "echo 'npm error network ENOTFOUND' >&2; exit 1", monkeypatch)
    assert vendor.fetch(dev=False) == "npm ci failed: npm error network ENOTFOUND"


def test_the_files_of_the_packages_are_copied_once(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = " ".join(f"node_modules/{source}" for source in vendor.FILES.values())
    licences = " ".join(f"node_modules/{source.split('/')[0]}/LICENSE" for source in vendor.FILES.values())
    npm(
        elsewhere,
        f"for f in {files} {licences}; do mkdir -p $(dirname $f); echo $f > $f; done; echo >> ../called",
        monkeypatch,
    )
    assert vendor.fetch(dev=False) is None
    assert vendor.fetch(dev=False) is None
    assert (elsewhere / "called").read_text().count("\n") == 1
    assert all((elsewhere / "vendor" / name).is_file() for name in vendor.FILES)
    assert vendor.has("cytoscape")
    assert "d3-hierarchy" in (elsewhere / "vendor" / "LICENSES.txt").read_text()


def test_a_module_finds_the_modules_that_it_imports(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = dict.fromkeys(vendor.FILES.values(), "")
    kept["eventsource-parser/dist/stream.js"] = 'import { createParser } from "./index.js";'
    kept["d3-force/dist/d3-force.min.mjs"] = 'import{quadtree as t}from"d3-quadtree"'
    for source, text in kept.items():
        file = elsewhere / "work" / "node_modules" / source
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        (elsewhere / "work" / "node_modules" / source.split("/")[0] / "LICENSE").touch()
    npm(elsewhere, "exit 0", monkeypatch)
    assert vendor.fetch(dev=False) is None
    made = elsewhere / "vendor"
    imported = [(made / name).read_text().split('"')[1] for name in ("eventsource-parser.js", "d3-force.js")]
    assert imported == ["./eventsource-parser-index.js", "./d3-quadtree.js"]
    assert all((made / name).is_file() for name in imported)


def test_every_library_is_pinned() -> None:
    lock = (vendor.HERE / "package-lock.json").read_text()
    for source in vendor.FILES.values():
        assert f'"node_modules/{source.split("/")[0]}"' in lock
