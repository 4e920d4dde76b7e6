"""Every setting, in one frozen value, read in one place.

Weight grows from left to right: defaults < file < `PO_*` environment < traitlets at the Jupyter edge.
The file is `PO_CONFIG`, else `po.yaml`, `po.toml` or `po.json` in the data directory. An environment variable is the
setting's name in capitals behind `PO_` (`PO_MAX_RUNNING=8`).
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError

from po_jupyter.errors import InvalidSettings, Violation
from po_jupyter.model.violations import did_you_mean, violations_of

PREFIX = "PO_"
# Read by clients and by tests, or set for a worker; not settings of the orchestrator.
_OTHERS = frozenset({
    "PO_CONFIG", "PO_JUPYTER_URL", "PO_JUPYTER_TOKEN", "PO_TEST_STRICT", "PO_TESTING", "PO_CRASHPOINT",
})  # fmt: skip

Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]


def _expanded(value: Any) -> Any:
    return Path(value).expanduser().absolute() if isinstance(value, str | Path) else value


Directory = Annotated[Path, BeforeValidator(_expanded)]


class Settings(BaseModel):
    """The settings of an orchestrator and its workers.

    Paths are absolute; durations are in seconds; sizes in bytes. `source_of(name)` says where a value
    came from. A secret prints as stars.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Directory = Field(
        default_factory=lambda: user_data_path("po_jupyter", appauthor=False),
        description="Where runs, pipelines and artifacts live. Not on a network file system.",
    )
    models_dir: Directory = Field(
        default_factory=lambda: user_cache_path("po_jupyter", appauthor=False) / "models",
        description="Where the weights of local models are kept.",
    )
    auth_token: SecretStr | None = Field(
        default=None, description="A token that the orchestrator accepts besides Jupyter's own."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least severe log line that is written."
    )
    log_format: Literal["console", "json"] = Field(default="json", description="How log lines look.")
    log_max_bytes: Annotated[int, Field(ge=10_000)] = Field(
        default=10 * 1024 * 1024, description="Size at which the orchestrator's log file is put aside."
    )
    log_backups: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3, description="Log files that are kept beside the current one."
    )
    log_remote_url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] | None = Field(
        default=None, description="Where log lines are sent to as well, by HTTP POST."
    )
    log_remote_format: Literal["json", "otlp"] = Field(
        default="json", description="One JSON object a line, or OpenTelemetry's OTLP in JSON."
    )
    log_remote_token: SecretStr | None = Field(
        default=None, description="A bearer token for `log_remote_url`."
    )
    default_model: str = Field(
        default="local:smollm2-135m", description="The model of prompt tasks that name none."
    )
    default_max_tokens: Annotated[int, Field(ge=1)] = Field(
        default=1024, description="Bound of an answer, in tokens, where a pipeline sets none."
    )
    max_running: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=16, description="Runs that have a worker at the same time; the others queue."
    )
    store_shards: Annotated[int, Field(ge=1, le=64)] = Field(
        default=8, description="Databases that a new store spreads its runs over."
    )
    allow_network_store: bool = Field(
        default=False, description="Use a data directory on a network file system all the same."
    )
    heartbeat: Seconds = Field(default=2.0, description="How often a worker says that it lives.")
    lease_ttl: Seconds = Field(
        default=10.0, description="How long the orchestrator's lease holds without a renewal."
    )
    orphan_timeout: Seconds = Field(
        default=60.0, description="How long a worker goes on without an orchestrator before it checkpoints and exits."
    )
    shutdown_timeout: Seconds = Field(
        default=2.0, description="How long a stop waits for workers to drain before it ends them."
    )
    cancel_timeout: Seconds = Field(
        default=5.0, description="How long a cancelled worker may take to stop its tasks before it is ended."
    )
    spawn_attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="Tries to start a worker before the run is dead."
    )
    max_crashes: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="Consecutive crashes without a commit before the run is dead."
    )
    request_timeout: Seconds = Field(default=60.0, description="Of one request to a model, where a pipeline sets none.")
    retry_after_cap: Seconds = Field(default=120.0, description="The longest `Retry-After` that is waited for.")
    requests_per_minute: Annotated[int, Field(ge=1)] = Field(
        default=6000, description="Requests to the orchestrator per token and minute."
    )
    max_request_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=64 * 1024 * 1024, description="The largest body of a request to the orchestrator."
    )
    daily_usd: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="US dollars that all runs of one owner may use in a day (UTC)."
    )
    daily_tokens: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="Tokens that all runs of one owner may use in a day (UTC)."
    )
    worker_env: tuple[str, ...] = Field(
        default=(), description="Names of further environment variables that workers inherit."
    )
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    def source_of(self, name: str) -> str:
        """`default`, the file's path, the variable's name, or `jupyter`."""
        return self._sources.get(name, "default")


def load(
    environ: Mapping[str, str] | None = None, *, file: Path | None = None, jupyter: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of this process.

    Raises InvalidSettings with every violation, each naming the file or the variable it came from.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    strangers: list[Violation] = []
    known = list(Settings.model_fields)

    def take(name: str, value: Any, source: str) -> None:
        if name in known:
            values[name] = value
            sources[name] = source
        else:
            strangers.append(Violation(source, f"`{name}` is not a setting{did_you_mean(name, known)}"))

    path = file or _file_of(environ)
    if path is not None:
        for name, value in _read(path).items():
            take(name, value, str(path))
    for variable, text in environ.items():
        if variable.startswith(PREFIX) and variable not in _OTHERS:
            name = variable.removeprefix(PREFIX).lower()
            if name in known:
                take(name, _from_text(name, text), variable)
    for name, value in (jupyter or {}).items():
        take(name, value, "jupyter")

    found: list[Violation] = strangers
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for violation in violations_of(error, known=known, what="the settings"):
            name = violation.where.split(".")[0].split("[")[0]
            found.append(violation._replace(where=sources.get(name, ""), message=f"{violation.message}"))
    if found:
        raise InvalidSettings(
            "the settings cannot be used:", violations=found, hint="`po config` shows every setting and its source."
        )
    settings._sources.update(sources)
    return settings


def _file_of(environ: Mapping[str, str]) -> Path | None:
    if environ.get("PO_CONFIG"):
        return Path(environ["PO_CONFIG"]).expanduser()
    data_dir = environ.get("PO_DATA_DIR")
    base = Path(data_dir).expanduser() if data_dir else user_data_path("po_jupyter", appauthor=False)
    return next((p for p in (base / f"po.{kind}" for kind in ("yaml", "toml", "json")) if p.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".toml":
            data: Any = tomllib.loads(text)
        elif path.suffix == ".json":
            data = json.loads(text)
        else:
            from ruamel.yaml import YAML

            data = YAML(typ="safe", pure=True).load(text)
    except OSError as error:
        raise InvalidSettings(f"the settings file {path} cannot be read: {error.strerror}") from None
    except Exception as error:  # each of the three readers has errors of its own
        raise InvalidSettings(f"the settings file {path} cannot be read: {str(error).splitlines()[0]}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InvalidSettings(f"the settings file {path} must hold a mapping of settings")
    return data


def _from_text(name: str, text: str) -> Any:
    return [part.strip() for part in text.split(",") if part.strip()] if name == "worker_env" else text
