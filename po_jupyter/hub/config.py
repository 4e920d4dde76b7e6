"""The configuration of the gateway: what `limits.yaml` may say, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from po_jupyter.config import Price
from po_jupyter.llm.specs import specs

Wire: TypeAlias = Literal["openai", "chat", "anthropic", "gemini", "mistral"]
"""What a provider speaks: `openai` is Chat Completions, Responses, files and batches; `chat` the first alone; `mistral`
Chat Completions, files and batches of its own kind."""

Count: TypeAlias = Annotated[int, Field(ge=0, le=10**15)]
Dollars: TypeAlias = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]

_WIRES: Mapping[str, Wire] = {
    "openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "mistral": "mistral",
}  # fmt: skip


class Strict(BaseModel):
    """A part of the configuration: frozen, and a field that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(Strict):
    """The limits of one scope; None: no limit. Tokens are input and output together.

    `models` are refs or aliases of those that may be used, out of the team's.
    """

    calls_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrency: Count | None = None
    tokens_per_day: Count | None = None
    tokens_per_month: Count | None = None
    usd_per_day: Dollars | None = None
    usd_per_month: Dollars | None = None
    models: tuple[str, ...] | None = None


class LimitBook(Strict):
    """All limits: of everybody together (`all`), of each user who has none of their own, of users and groups."""

    all: Limits = Limits()
    each_user: Limits = Limits()
    users: Mapping[str, Limits] = Field(default_factory=dict)
    groups: Mapping[str, Limits] = Field(default_factory=dict)


class UpstreamConfig(Strict):
    """One provider of the team: where its server is, where its key is kept, and what the server stands.

    key_env, key_file   the variable or the file that has the key; by default the provider's own variable
    base_url            of its server; by default the vendor's
    wire                what it speaks; for a provider that po_jupyter does not know
    fields              further fields at the top of a request's body that are passed on
    image_urls          images by their addresses are passed on to a server that is not the vendor's own; it fetches
                        them from within your network
    concurrency, calls_per_minute, tokens_per_minute   of the team's account, over all users
    """

    key_env: str = ""
    key_file: str = ""
    base_url: str = ""
    wire: Wire | None = None
    fields: tuple[str, ...] = ()
    image_urls: bool = False
    concurrency: Count | None = None
    calls_per_minute: Count | None = None
    tokens_per_minute: Count | None = None

    @property
    def limits(self) -> Limits:
        """The limits of the account."""
        return Limits(
            concurrency=self.concurrency,
            calls_per_minute=self.calls_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )


class QueueConfig(Strict):
    """The queue before the limits: how long a call waits in it (seconds), how many of a user and of all."""

    seconds: Annotated[float, Field(ge=0, le=600)] = 10.0
    per_user: Annotated[int, Field(ge=0, le=100_000)] = 100
    total: Annotated[int, Field(ge=0, le=100_000)] = 2000


class GatewayConfig(Strict):
    """The configuration of a gateway.

    providers           the team's providers by name
    models              refs of the models that the team has (`provider:model`)
    aliases             other names of these, by name
    prices              in US dollars for a million tokens, over the price list
    limits              see `LimitBook`
    time_zone           in which days and months begin
    ledger              path of a SQLite file, or a PostgreSQL URL; "" is `ledger.sqlite` beside this file
    ledger_env          the variable that holds it instead: a URL with a password does not belong into a file
    own_keys            users may use keys of their own beside the team's; the gateway only says so
    default_max_tokens  put into a request that sets no limit, where the model's own is not known
    start_servers_after seconds without a word of a user's server with live runs, after which the hub is asked to start
                        it; None: never
    max_body            bytes of a request
    max_batch           bytes of the input of a batch
    max_kept            bytes of the files that a user may keep at a vendor
    timeout             seconds without a byte from a vendor before a call is given up
    """

    providers: Mapping[str, UpstreamConfig]
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    aliases: Mapping[str, str] = Field(default_factory=dict)
    prices: Mapping[str, Price] = Field(default_factory=dict)
    limits: LimitBook = LimitBook()
    time_zone: str = "UTC"
    ledger: str = ""
    ledger_env: str = ""
    own_keys: bool = False
    start_servers_after: Annotated[float, Field(ge=1, le=86_400)] | None = None
    queue: QueueConfig = QueueConfig()
    default_max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 32_768
    max_body: Annotated[int, Field(ge=1024, le=1024**3)] = 8 * 1024**2
    max_batch: Annotated[int, Field(ge=1024, le=1024**3)] = 100 * 1024**2
    max_kept: Annotated[int, Field(ge=0)] = 1024**3
    timeout: Annotated[float, Field(ge=1, le=3600)] = 600.0

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r:.60} is no time zone; for example Europe/Berlin") from None
        return name

    @field_validator("providers")
    @classmethod
    def _providers_can_be_asked(cls, providers: Mapping[str, UpstreamConfig]) -> Mapping[str, UpstreamConfig]:
        for name, provider in providers.items():
            spec = specs().get(name)
            if not name.replace("-", "").isalnum() or name == "api":
                raise ValueError(
                    f"{name!r:.60} cannot be a part of an address: letters, digits and dashes only"
                )
            if spec is not None and (spec.runs_code or name in ("local", "fake")):
                raise ValueError(f"{name} has no server that a gateway could ask")
            if spec is None and provider.wire is None:
                raise ValueError(f"{name} is not known: say its `wire` and its `base_url`")
            url = base_url_of(name, provider)
            if not url.startswith(("https://", "http://")) or any(sign in url for sign in "@?#"):
                raise ValueError(
                    f"{name}: `base_url` must be http(s)://host/path, without a password or a query"
                )
        return providers

    @model_validator(mode="after")
    def _models_are_of_providers(self) -> GatewayConfig:
        for ref in (*self.models, *self.prices):
            name, colon, model = ref.partition(":")
            if not colon or not model.strip() or name not in self.providers:
                raise ValueError(f"{ref!r:.80} is no model of a provider here: write provider:model")
        known = {*self.models, *self.aliases}
        for alias, ref in self.aliases.items():
            if ref not in self.models:
                raise ValueError(f"the alias {alias!r:.60} is of {ref!r:.60}, which is not in `models`")
        book = self.limits
        for limits in (book.all, book.each_user, *book.users.values(), *book.groups.values()):
            if unknown := [ref for ref in limits.models or () if ref not in known]:
                raise ValueError(f"`limits` name {unknown[0]!r:.80}, which is not in `models`")
        return self


def base_url_of(name: str, provider: UpstreamConfig) -> str:
    """The address that a provider is asked at, without a slash at its end."""
    spec = specs().get(name)
    return (provider.base_url or (spec.base_url if spec is not None else "")).rstrip("/")


def wire_of(name: str, provider: UpstreamConfig) -> Wire:
    """What a provider speaks."""
    return provider.wire or _WIRES.get(name, "chat")
