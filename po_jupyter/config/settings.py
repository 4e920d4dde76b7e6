"""Every setting: its meaning, default and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)

from po_jupyter.config.notifications import NotificationChannel
from po_jupyter.config.objects_url import ObjectsUrl
from po_jupyter.config.prices import Price
from po_jupyter.model.run.rate_limit import RateLimit
from po_jupyter.model.values.durations import Seconds

Days = Annotated[float, Field(ge=0, le=36_500)]
ModelRef = Annotated[str, Field(pattern=r"^[a-z0-9_-]+:\S+$", max_length=300)]
NodeLabel = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]
FolderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]


def _expanded(value: Any) -> Any:
    if not isinstance(value, str | Path):
        return value
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("needs the path of a directory")
    try:
        return Path(value).expanduser().absolute()
    except (RuntimeError, OSError) as error:  # ~somebody who has no home here; a working directory that is gone
        raise ValueError(str(error)) from None


def _hard_to_guess(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) < _SHORTEST_TOKEN:
        raise ValueError(
            f"needs at least {_SHORTEST_TOKEN} characters, has {len(text)}; {_EXAMPLE_COMMAND} makes a good one"
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            f"may hold ASCII without spaces only, as a header can; {_EXAMPLE_COMMAND} makes a good one"
        )
    return value


_SHORTEST_TOKEN = 16
_EXAMPLE_COMMAND = '`python -c "import secrets; print(secrets.token_urlsafe())"`'
Token = Annotated[SecretStr, AfterValidator(_hard_to_guess)]


HubUrl = Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$"), AfterValidator(lambda url: url.rstrip("/"))]


def _of_a_store(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("is postgresql://USER@HOST/DATABASE; without it runs are in the data directory")
    return value


StoreUrl = Annotated[SecretStr, AfterValidator(_of_a_store)]
Directory = Annotated[Path, BeforeValidator(_expanded)]


class McpServer(BaseModel):
    """One MCP server: `command` with its arguments (spoken to over stdin and stdout), or the `url` of one that runs
    (streamable HTTP). `env` names variables that it inherits; `tools` those that may be used (unset: all)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: tuple[str, ...] | None = None
    url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    env: tuple[str, ...] = ()
    tools: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> McpServer:
        if bool(self.command) == bool(self.url):
            raise ValueError("a server has either a `command` (a list) or a `url`")
        if self.url and self.env:
            raise ValueError("`env` is of a `command`; a server behind a `url` has its own")
        return self


SECRETS = frozenset({"auth_token", "broker", "log_remote_token", "notifications", "store"})
"""Settings that no other process is sent with the rest."""


class Settings(BaseModel):
    """The settings of an orchestrator and its workers.

    Paths are absolute; durations in seconds; sizes in bytes. `source_of(name)`: where a value came from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Directory = Field(
        default_factory=lambda: user_data_path("po_jupyter", appauthor=False),
        description="Where runs, pipelines and artifacts live. Not on a network file system.",
    )
    store: StoreUrl | None = Field(
        default=None,
        description="A PostgreSQL database for what is else in DATA_DIR/store: postgresql://USER@HOST/DATABASE.",
    )
    blobs: ObjectsUrl | None = Field(
        default=None,
        description="Where the nodes of one `store` share files of runs and uploaded rows: s3://BUCKET/PREFIX or the "
        "path of a directory that all of them mount. Unset: each node has its own in DATA_DIR.",
    )
    broker: SecretStr | None = Field(
        default=None,
        description="A message broker that tells nodes of new runs, beside what the `store` tells them itself.",
    )
    node: FolderName | None = Field(
        default=None,
        description="The name of this server among those of one `store`. Unset: made of the machine's and DATA_DIR.",
    )
    node_works: bool = Field(
        default=True,
        description="Work runs of a shared `store` off here. False: this server only serves them, others work.",
    )
    node_labels: tuple[NodeLabel, ...] = Field(
        default=(),
        description="What this node has that runs may need, `gpu` for example, where the `store` is shared.",
    )
    node_ttl: Annotated[float, Field(ge=0.5, le=300)] = Field(
        default=5.0,
        description="How long a node of a shared `store` may be silent before its runs go to others.",
    )
    health_port: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        default=None,
        description="The port where `po worker` answers probes, at /health and /ready, without a token. Unset: none.",
    )
    models_dir: Directory = Field(
        default_factory=lambda: user_cache_path("po_jupyter", appauthor=False) / "models",
        description="Where the weights of local models are kept.",
    )
    auth_token: Token | None = Field(
        default=None,
        description="A token that the orchestrator accepts besides Jupyter's own; at least 16 characters.",
    )
    max_wrong_tokens: Annotated[int, Field(ge=1)] = Field(
        default=10,
        description="Wrong tokens that one address may send before it has to wait, longer each time.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least severe log line that is written."
    )
    log_format: Literal["console", "json"] = Field(default="json", description="How log lines look.")
    log_max_bytes: Annotated[int, Field(ge=10_000)] = Field(
        default=10 * 1024 * 1024,
        description="Size at which the orchestrator's log file, or that of a run's worker, is put aside.",
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
    log_remote_token: SecretStr | None = Field(default=None, description="A bearer token for `log_remote_url`.")
    hub_url: HubUrl | None = Field(
        default=None,
        description="The gateway of a hub, through which models are asked: https://hub.example/services/po.",
    )
    hub_runs_url: HubUrl | None = Field(
        default=None, description="The hub's service of shared runs. Unset: `po-runs`, beside `hub_url`."
    )
    hub_behalf: bool = Field(
        default=False, description="Models are asked in each owner's name: the service of shared runs sets it."
    )
    default_model: str = Field(
        default="local:smollm2-135m", description="The model of prompt tasks that name none."
    )
    default_max_tokens: Annotated[int, Field(ge=1)] = Field(
        default=4096, description="Bound of an answer without thoughts, in tokens, where a pipeline sets none."
    )
    max_running: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=16, description="Runs that have a worker at the same time; the others queue."
    )
    shared_worker: bool = Field(
        default=True,
        description="Work runs of prompts alone off together in one process; without, each run has its own.",
    )
    max_shared_running: Annotated[int, Field(ge=1, le=2000)] = Field(
        default=500,
        description="Runs of prompts alone that are at work at the same time in processes that they share; "
        "`max_running` counts the others.",
    )
    worker_start: Literal["fork", "spawn"] | None = Field(
        default=None,
        description="How a worker comes to be: a fork of a process that is ready for it, or a fresh process. Unset: "
        "`spawn` on Windows and macOS, else `fork`.",
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
        default=60.0,
        description="How long a worker goes on without an orchestrator before it checkpoints and exits.",
    )
    shutdown_timeout: Seconds | None = Field(
        default=None,
        description="How long a stop waits for workers to finish calls in flight; it ends none of them. Unset: 2, "
        "where the end of the server is that of its container 8, in Kubernetes 25.",
    )
    cancel_timeout: Seconds = Field(
        default=5.0, description="How long a cancelled worker may take to stop its tasks before it is ended."
    )
    spawn_attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="Tries to start a worker before the run is dead."
    )
    spawn_delay: Seconds = Field(
        default=0.5, description="Before the second try to start a worker; doubled before each one after it."
    )
    spawn_max_delay: Seconds = Field(
        default=30.0, description="The longest wait between two tries to start a worker."
    )
    silence_grace: Seconds = Field(
        default=30.0,
        description="How much longer than the longest timeout of its tasks a worker may say nothing before it is "
        "taken for hung.",
    )
    max_crashes: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="Consecutive crashes without a commit before the run is dead."
    )
    request_timeout: Seconds = Field(
        default=60.0, description="Of one request to a model, where a pipeline sets none."
    )
    retry_after_cap: Seconds = Field(default=120.0, description="The longest `Retry-After` that is waited for.")
    rate_limits: Mapping[str, RateLimit] = Field(
        default_factory=dict,
        description="What a provider or a model may be asked by all runs together: {openai: {requests: 500, "
        "tokens: 200000}}, per `rate_window`.",
    )
    rate_window: Seconds = Field(
        default=60.0, description="The window that `rate_limits` and servers' own limits are counted in."
    )
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
    skip_validation: bool = Field(
        default=False, description="Start every run although a key or the like that it needs is missing."
    )
    prices: dict[ModelRef, Price] = Field(
        default_factory=dict,
        description="US dollars for a million tokens of a model, over the price list's: "
        "{'openai:my-model': {input: 0.5, output: 1.5, cached: 0.1}}.",
    )
    cli_agents: bool = Field(
        default=False, description="Allow models that are CLI agents (claude-cli, codex-cli, opencode-cli)."
    )
    batch_poll_min: Seconds = Field(
        default=5.0,
        description="How long after its start a batch at a provider is looked at first; then less often.",
    )
    batch_poll_max: Seconds = Field(default=120.0, description="The longest wait between two looks at a batch.")
    batch_grace: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30.0,
        description="How long a provider may take to list a batch whose answer was lost, before it is not there.",
    )
    batch_cancel_wait: Seconds = Field(
        default=660.0,
        description="How long a cancelled run waits for what its batches have finished; OpenAI takes up to 600.",
    )
    max_upload_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=4 * 1024**3, description="The largest file of rows that is taken for a seed."
    )
    mcp_servers: dict[FolderName, McpServer] = Field(
        default_factory=dict,
        description="MCP servers whose tools runs may use, by name: {command: [...], env: [NAMES]} or {url}; "
        "in PO_MCP_SERVERS as JSON.",
    )
    worker_env: tuple[str, ...] = Field(
        default=(), description="Names of further environment variables that workers inherit."
    )
    pipelines_dir: Directory | None = Field(
        default=None,
        description="A folder whose *.yaml and *.json are registered as pipelines at every start. Unset: none.",
    )
    inbox_dir: Directory | None = Field(
        default=None,
        description="The watch folder: a seed file in its `pending` becomes a run. Unset: there is none.",
    )
    inbox_suffix: Annotated[str, Field(pattern=r"^[^/\\]+\.json$")] = Field(
        default="-seed.json", description="How the name of a seed file ends."
    )
    inbox_zip_suffix: Annotated[str, Field(pattern=r"^[^/\\]+\.zip$")] = Field(
        default="-seed.zip", description="How an archive's name ends that holds `seed.json` and `artifacts/`."
    )
    inbox_pending: FolderName = Field(default="pending", description="Where seed files are dropped.")
    inbox_current: FolderName = Field(default="current", description="Where the files of runs are that go on.")
    inbox_complete: FolderName = Field(default="complete", description="Where the files of ended runs are.")
    inbox_rejected: FolderName = Field(
        default="rejected", description="Where files are that cannot be run, each with its reason beside it."
    )
    inbox_debounce: Annotated[float, Field(ge=0.01, le=60)] = Field(
        default=0.1, description="How long changes of the watch folder are gathered before it is looked at."
    )
    inbox_stable: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=0.5, description="How long a file's size and time must stay the same before it is read."
    )
    inbox_rescan: Seconds = Field(
        default=30.0, description="How often the watch folder is looked through although nothing was noticed."
    )
    inbox_max_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=64 * 1024 * 1024, description="The largest seed file, or `seed.json` of an archive."
    )
    zip_max_files: Annotated[int, Field(ge=1)] = Field(default=1000, description="Files in an archive.")
    zip_max_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=512 * 1024 * 1024, description="What the files of an archive may have together, unpacked."
    )
    zip_max_ratio: Annotated[int, Field(ge=1)] = Field(
        default=200, description="How much larger than packed a file of an archive may be, from 1 MB on."
    )
    retention_done: Days = Field(
        default=30, description="Days after which a finished run is deleted. 0: never."
    )
    retention_cancelled: Days = Field(
        default=0, description="Days after which a cancelled run, which can be resumed, is deleted. 0: never."
    )
    retention_failed: Days = Field(
        default=0, description="Days after which a failed run, which can be resumed, is deleted. 0: never."
    )
    retention_dead: Days = Field(
        default=0, description="Days after which a dead letter, which can be requeued, is deleted. 0: never."
    )
    retention_max_bytes: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Above this size of all runs the oldest go, of states that have days only. 0: no limit.",
    )
    retention_every: Annotated[float, Field(gt=0, le=365)] = Field(
        default=1, description="Days between two cleanings."
    )
    cache_max_bytes: Annotated[int, Field(ge=0)] = Field(
        default=1024**3,
        description="How large the cache of models' answers may be; then the oldest go. 0: no answer is kept or used.",
    )
    cache_days: Days = Field(
        default=30, description="Days after which an answer in the cache is not used any more. 0: never."
    )
    notifications: dict[FolderName, NotificationChannel] = Field(
        default_factory=dict,
        description="Who is told of ends, failures and gates, by name: {ops: {webhook: URL, secret: whsec_...}} or "
        "{mail: {apprise: URL}}; `events` chooses some of done, failed, budget, dead, gate, cancelled. In "
        "PO_NOTIFICATIONS as JSON.",
    )
    notification_patience: Seconds = Field(
        default=86_400.0, description="How long a notification that cannot be delivered is tried again."
    )
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] | None = Field(
        default=None,
        description="Where people reach this Jupyter server, for the links in notifications: "
        "https://hub.example/user/ada/. Unset: its address on this machine.",
    )
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    def source_of(self, name: str) -> str:
        """`default`, the file's path, the variable's name, or `jupyter`."""
        return self._sources.get(name, "default")
