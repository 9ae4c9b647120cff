"""What children get of our environment."""

from __future__ import annotations

import pytest

from gpu import child_env

ENVIRON = {
    "PATH": "/bin",
    "LC_ALL": "C.UTF-8",
    "CUDA_VISIBLE_DEVICES": "0",
    "PIP_EXTRA_INDEX_URL": "https://index.example/simple",
    "https_proxy": "http://user:secret@proxy.example",
    "HF_TOKEN": "hf-1",
    "DATABASE_URL": "postgresql://secret",
    "OPENAI_API_KEY": "sk-1",
    "MNEME_DATABASE__URL": "postgresql://secret",
    "VLLM_API_KEY": "sk-2",
    "AWS_SECRET_ACCESS_KEY": "aws",
}
PLAIN = {"PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES"}


def test_any_child_gets_only_what_every_program_needs() -> None:
    assert set(child_env.plain(ENVIRON)) == PLAIN


def test_pip_gets_its_configuration_and_the_proxy() -> None:
    assert set(child_env.for_pip(ENVIRON)) == PLAIN | {"PIP_EXTRA_INDEX_URL", "https_proxy"}


def test_a_download_from_the_hub_gets_token_and_proxy() -> None:
    assert set(child_env.for_hub(ENVIRON)) == PLAIN | {"HF_TOKEN", "https_proxy"}


def test_a_local_model_asks_nobody() -> None:
    env = child_env.for_local_model(ENVIRON)
    assert set(env) == PLAIN | {"HF_HUB_OFFLINE"}


def test_without_an_argument_our_own_environment_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("LC_TEST", "1")
    assert child_env.plain()["LC_TEST"] == "1"
    assert "DATABASE_URL" not in child_env.plain()
