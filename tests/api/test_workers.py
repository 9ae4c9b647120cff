"""What a serving child is told: the parent's settings, whole."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from api.workers import settings_of_line, settings_to_line
from runtime.settings import LLMSettings, ServerSettings, Settings


def test_settings_arrive_at_a_child_as_they_are_with_secrets(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        llm=LLMSettings(base_url="http://127.0.0.1:1/v1", api_key=SecretStr("sk-secret"), retries=0),
        server=ServerSettings(workers=3, root_path="/mneme"),
    )
    line = settings_to_line(settings)
    assert line.count(b"\n") == 1
    assert settings_of_line(line) == settings
