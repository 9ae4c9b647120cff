"""Settings: the only reader of environment and TOML. Flags > environment > `mneme.toml` > defaults (contract §3).

`load()` returns the settings and, for `doctor`, the origin of every value. An unknown key, wherever it stands, is an
error that names its origin. Everything else in the code gets the object passed in. Source: ours.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from runtime.errors import SettingsError

PREFIX = "MNEME_"
PACKAGED_MODEL = "smollm2-135m-instruct"
PACKAGED_ENCODER = "minilm-l6"
BUILT_IN_TOOLS = ("python", "memory_search")
# Variables of other programs that are honoured, below their own MNEME_ counterparts.
FOREIGN = {
    "DATABASE_URL": "database.url",
    "OPENAI_BASE_URL": "llm.base_url",
    "OPENAI_API_KEY": "llm.api_key",
    "QDRANT_URL": "qdrant.url",
    "QDRANT_API_KEY": "qdrant.api_key",
}


class Section(BaseModel):
    """A group of settings: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LLMSettings(Section):
    """Which model server answers. Without `base_url` an own vLLM process is started (see `engine`)."""

    base_url: str | None = Field(None, description="OpenAI-compatible server, e.g. http://127.0.0.1:8000/v1")
    model: str | None = Field(None, description="model name there; default: the first it lists")
    api_key: SecretStr | None = None
    timeout_s: float = Field(600.0, gt=0, description="longest wait for a whole answer")
    idle_timeout_s: float = Field(120.0, gt=0, description="longest silence before and between tokens")
    connect_timeout_s: float = Field(5.0, gt=0)
    retries: int = Field(4, ge=0, le=20, description="tries after the first, for failures that may pass")
    retry_base_s: float = Field(0.5, ge=0, description="first back-off; doubles, with jitter, up to 30 s")
    max_connections: int = Field(256, ge=1)


class EngineSettings(Section):
    """Our own vLLM process, used when `llm.base_url` is unset."""

    model: str = Field(PACKAGED_MODEL, description="a packaged model, a local folder, or a Hugging Face name")
    host: str = "127.0.0.1"
    port: int = Field(8643, ge=1, le=65535)
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda when the host has such a device")
    max_model_len: int | None = Field(4096, ge=256, description="null: what the model allows")
    kv_space_gib: int = Field(1, ge=1, description="CPU only: memory for the KV cache")
    block_size: int | None = Field(None, description="default: 32 on CPU, the engine's own on CUDA")
    enforce_eager: bool | None = Field(None, description="default: true on CPU, false on CUDA")
    dtype: Literal["bfloat16", "float16", "float32"] | None = Field(
        None, description="default: float32 on a CPU that emulates bfloat16, else the model's own"
    )
    omp_threads_bind: str = Field("auto", description="CPU only: VLLM_CPU_OMP_THREADS_BIND")
    sessions: Literal["resubmit", "in_engine"] = Field(
        "resubmit", description="in_engine: a plug-in in vLLM holds the KV cache of a session between its calls"
    )
    session_idle_s: float = Field(
        60.0, gt=0, description="in_engine: a session that nobody asks for so long is given up"
    )
    extra_args: list[str] = []
    ready_timeout_s: float = Field(900.0, gt=0)


class EmbedSettings(Section):
    """What turns memories and questions into vectors. With `base_url` a server of the OpenAI protocol does."""

    model: str = Field(
        PACKAGED_ENCODER, description="minilm-l6, wordllama-256, hashing-384; with base_url the model's name there"
    )
    base_url: str | None = Field(None, description="server with /embeddings, e.g. http://127.0.0.1:8001/v1")
    api_key: SecretStr | None = None
    dim: int | None = Field(None, ge=2, le=65536, description="default: what the encoder gives; another is refused")
    prefix_doc: str = Field("", description="with base_url: what the model expects before a document")
    prefix_query: str = Field("", description="with base_url: what the model expects before a question")
    batch_size: int = Field(64, ge=1, le=4096, description="texts encoded at a time")
    threads: int | None = Field(None, ge=1, le=64, description="default: half of the processors; not with base_url")
    timeout_s: float = Field(60.0, gt=0, description="with base_url: longest wait for one batch")
    codec: Literal["f32", "f16", "int8", "f8_e4m3", "pca50_int8", "pca50_f8", "binary"] = Field(
        "int8", description="how the index keeps vectors; the database keeps float16"
    )


class QdrantSettings(Section):
    """The Qdrant server that keeps the vectors. Without `url` an index within this process does."""

    url: str | None = Field(None, description="e.g. http://127.0.0.1:6333")
    api_key: SecretStr | None = None


class DatabaseSettings(Section):
    """Where runs are kept. PostgreSQL: `postgresql+psycopg://user@host/name`."""

    url: str | None = Field(None, description="default: SQLite under MNEME_HOME")
    synchronous: Literal["FULL", "NORMAL"] = Field(
        "FULL", description="SQLite only: NORMAL may lose the last commits in a power cut"
    )
    busy_timeout_s: float = Field(30.0, gt=0, description="how long a transaction waits for another process's lock")
    pool_size: int = Field(10, ge=1)

    @field_validator("url")
    @classmethod
    def _known_kind(cls, url: str | None) -> str | None:
        file = url is not None and re.match(r"sqlite(\+aiosqlite)?:///(?!:memory:).", url)
        server = url is not None and re.match(r"postgres(ql(\+psycopg)?)?://", url)
        if url is not None and not file and not server:
            raise ValueError("expected postgresql://user@host/name, or sqlite:///path/of/a/file")
        return url


class ServerSettings(Section):
    """The HTTP service."""

    host: str = "127.0.0.1"
    port: int = Field(8642, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64)
    root_path: str = Field("", description="sub-path behind a proxy")
    max_body_bytes: int = Field(8_000_000, ge=1024)


class AuthSettings(Section):
    """Who may call. Identity comes from the API key only."""

    required: bool | None = Field(None, description="default: false on a loopback address, true elsewhere")


class RunSettings(Section):
    """How runs are executed."""

    concurrency: int = Field(16, ge=1, description="queued runs that one process executes at a time")
    heartbeat_s: float = Field(2.0, gt=0)
    dead_after_s: float = Field(12.0, gt=0, description="silence after which a process counts as dead")
    flush_ms: float = Field(150.0, ge=0, description="token deltas are written at most this much later")
    model_wait_s: float = Field(
        300.0, ge=0, description="how long a queued run waits for a model server that cannot be reached"
    )
    max_recoveries: int = Field(100, ge=1, description="then the run fails instead of being picked up again")


class EvalSettings(Section):
    """Evaluations."""

    data: Path | None = Field(None, description="folder of data sets, where built-in names are looked for first")
    prices: Path | None = Field(None, description="TOML table of what a million tokens cost, by model")


class SandboxSettings(Section):
    """How model-written code is shut in. `mneme doctor` says which level this machine has."""

    min_level: Literal["strong", "standard"] = Field("standard", description="code is not run with less than this")
    allow_weak: bool = Field(
        False,
        description="make do without Landlock when even `standard` is missing; development only, never in a server",
    )
    workers: int | None = Field(None, ge=1, le=256, description="default: one for each processor")
    seconds: float = Field(
        2.0, gt=0, le=600, description="the most wall and CPU time of one program; what an agent asks for is cut to it"
    )


class McpServerSettings(Section):
    """One MCP server: a command that is started and spoken to over its standard streams, or an address."""

    command: str | None = Field(None, min_length=1, description="program to start; exactly one of command and url")
    args: list[str] = []
    env: dict[str, SecretStr] = Field({}, description="beside HOME, PATH and the like, nothing else is inherited")
    cwd: Path | None = None
    url: str | None = Field(None, pattern=r"^https?://", description="streamable HTTP, e.g. https://tools.example/mcp")
    headers: dict[str, SecretStr] = {}
    defaults: dict[str, dict[str, JsonValue]] = Field(
        {}, description="by tool: parameters that are always sent and that the model neither sees nor sets"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("expected either `command` or `url`")
        if self.url is None and self.headers:
            raise ValueError("`headers` go with `url`; expected `env` for a command")
        if self.command is None and (self.args or self.env or self.cwd is not None):
            raise ValueError("`args`, `env` and `cwd` go with `command`; expected `headers` for an url")
        return self


class ToolSettings(Section):
    """What tools agents may use."""

    mcp: dict[str, McpServerSettings] = Field(
        {}, description="MCP servers by name, as tables `[tools.mcp.NAME]`; docs/agents.md, Tools"
    )
    enabled: list[str] | None = Field(
        None, description="tools, and servers with all of their tools; default: all built-in ones and all of `mcp`"
    )
    connect_timeout_s: float = Field(
        30.0, gt=0, description="longest wait for an MCP server to start and list its tools"
    )

    @field_validator("mcp")
    @classmethod
    def _names(cls, mcp: dict[str, McpServerSettings]) -> dict[str, McpServerSettings]:
        for name in mcp:
            if not re.fullmatch(r"[a-z0-9]+(?:[-_][a-z0-9]+)*", name) or len(name) > 32 or name in BUILT_IN_TOOLS:
                raise ValueError(
                    f"server name {name!r}: expected at most 32 of a-z, 0-9, single - and _ inside, and not "
                    f"{' or '.join(map(repr, BUILT_IN_TOOLS))}"
                )
        return mcp

    @field_validator("enabled")
    @classmethod
    def _exist(cls, enabled: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if "mcp" not in info.data:  # it is wrong itself
            return enabled
        servers: dict[str, McpServerSettings] = info.data["mcp"]
        for name in enabled or ():
            server, _, tool = name.partition("__")
            if name not in BUILT_IN_TOOLS and not (server in servers and (tool or server == name)):
                known = ", ".join([*BUILT_IN_TOOLS, *servers])
                raise ValueError(f"tool {name!r} is unknown; expected one of {known}, or SERVER__TOOL")
        return enabled


class TelemetrySettings(Section):
    """Logs and traces. Never the content of prompts or answers at INFO."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    otlp_endpoint: str | None = Field(None, description="OpenTelemetry traces go there; needs the extra `otlp`")


class Settings(BaseSettings):
    """Every setting of the service."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, case_sensitive=False
    )

    home: Path = Field(Path("~/.mneme"), description="database, models, engines, artefacts")
    llm: LLMSettings = LLMSettings()
    engine: EngineSettings = EngineSettings()
    embed: EmbedSettings = EmbedSettings()
    qdrant: QdrantSettings = QdrantSettings()
    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    runs: RunSettings = RunSettings()
    evals: EvalSettings = EvalSettings()
    sandbox: SandboxSettings = SandboxSettings()
    tools: ToolSettings = ToolSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` merged: the environment is read there, so that each value keeps its origin."""
        return (init_settings,)

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL that is in force, always with an async driver."""
        url = self.database.url
        if url is None:
            return f"sqlite+aiosqlite:///{self.home / 'mneme.db'}"
        for plain in ("postgresql://", "postgres://"):
            if url.startswith(plain):
                return "postgresql+psycopg://" + url.removeprefix(plain)
        if url.startswith("sqlite://"):
            return "sqlite+aiosqlite://" + url.removeprefix("sqlite://")
        return url

    @property
    def database_folder(self) -> Path:
        """Where the SQLite files lie: workflows and checkpoints stand beside the runs they belong to."""
        path = self.database_url.partition(":///")[2].partition("?")[0]
        return Path(path).parent if self.database_url.startswith("sqlite") and path else self.home

    @property
    def llm_base_url(self) -> str:
        """The model server that is asked: the configured one, or our own process."""
        return self.llm.base_url or f"http://{self.engine.host}:{self.engine.port}/v1"

    @property
    def loopback(self) -> bool:
        """True when only this machine can reach the service."""
        return self.server.host in {"127.0.0.1", "::1", "localhost"} or self.server.host.startswith("127.")

    @property
    def auth_required(self) -> bool:
        return not self.loopback if self.auth.required is None else self.auth.required


class Loaded(NamedTuple):
    """Settings, and for each dotted key that was set where the value came from."""

    settings: Settings
    origins: dict[str, str]


class _Environment(EnvSettingsSource):
    """pydantic-settings' reader of nested variables, over the mapping it is given instead of `os.environ`."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._env.items()}


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    toml: Path | None = None,
) -> Loaded:
    """Read every source and merge them.

    `flags` maps dotted keys (`server.port`) to values; a None means the flag was not given. `toml` defaults to
    `MNEME_CONFIG`, else `mneme.toml` in the working folder when it is there. Raises `SettingsError` for an unknown
    key, an unreadable file or a value of the wrong type, naming key and origin.
    """
    env = os.environ if env is None else env
    layers: list[tuple[str, dict[str, Any]]] = []
    path = _toml_path(env, toml)
    if path is not None:
        layers.append((str(path), _read_toml(path)))
    foreign: dict[str, Any] = {}
    for name, key in FOREIGN.items():
        if env.get(name):
            _put(foreign, key, env[name])
    layers.append(("environment", foreign))
    _reject_unknown_variables(env)
    try:
        layers.append(("environment", _Environment(env)()))
    except Exception as error:
        raise SettingsError(f"environment: {error}: expected JSON for a nested value; fix the variable") from error
    given: dict[str, Any] = {}
    for key, value in (flags or {}).items():
        if value is not None:
            _put(given, key, value)
    layers.append(("flag", given))

    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    known = frozenset(known_keys())
    for origin, layer in layers:
        for key, value in _leaves(layer, known):
            _put(merged, key, value)
            origins[key] = origin
    try:
        return Loaded(Settings(**merged), origins)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(item, origins) for item in error.errors())) from error


def known_keys(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Every dotted key there is, in the order of the definition."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from known_keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def _toml_path(env: Mapping[str, str], given: Path | None) -> Path | None:
    if given is None and env.get("MNEME_CONFIG"):
        given = Path(env["MNEME_CONFIG"])
    if given is not None:
        if not given.is_file():
            raise SettingsError(f"settings file {str(given)!r}: not found; expected a TOML file")
        return given
    default = Path("mneme.toml")
    return default if default.is_file() else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"settings file {str(path)!r}: {error}; expected valid TOML") from error


def _reject_unknown_variables(env: Mapping[str, str]) -> None:
    known = {PREFIX + key.upper().replace(".", "__") for key in known_keys()} | {"MNEME_CONFIG"}
    sections = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in env:
        upper = name.upper()
        if upper.startswith(PREFIX) and upper not in known | sections:
            raise SettingsError(f"environment variable {name!r}: unknown setting{_hint(upper, known)}")


def _hint(word: str, known: set[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "; `mneme doctor` lists every setting"


def _explain(item: Any, origins: Mapping[str, str]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    near = (k for k in origins if k == key or k.startswith(key + ".") or key.startswith(k + "."))
    origin = next((origins[k] for k in near), "default")
    if item["type"] == "extra_forbidden":
        return f"setting {key!r} ({origin}): unknown{_hint(key, set(known_keys()))}"
    return f"setting {key!r} ({origin}): {item['msg']}, got {_masked(key, item['input'])}"


def _masked(key: str, value: Any) -> str:
    """A value as an error may show it: without the credentials that belong into it."""
    if key.endswith("api_key"):
        return "a secret"
    if key.startswith("tools.mcp"):
        return "a value that may hold secrets"
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", repr(value))


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = value


def _leaves(tree: Mapping[str, Any], known: frozenset[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values by key; a setting that is itself a table is one value."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and prefix + name not in known:
            yield from _leaves(value, known, f"{prefix}{name}.")
        else:
            yield prefix + name, value
