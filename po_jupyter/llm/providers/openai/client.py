"""The provider for OpenAI: the choice between its two APIs (R2.7).

`llm.api` decides; without it `gpt-5*` and later go to Responses and every other model to Chat Completions,
whatever the base URL; a request with a seed, or for log probabilities, goes to Chat Completions. The choice is
logged with its reason when a model is first used.

Fallback: when a server answers a Responses request with an error that means "this API does not know this" (no
such route, or a model or setting that only Chat Completions has), that model goes to Chat Completions from then
on. The failed request counts as an attempt like any other (P7: one request per attempt, counted), and the next
attempt follows at once. With `llm.api: responses` there is no fallback.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import structlog

from po_jupyter.errors import ModelError, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import Api, ChatRequest, ChatResponse, OnText, Provider
from po_jupyter.llm.providers.compatible.chat_completions import ChatCompletions
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.openai.responses import Responses
from po_jupyter.llm.specs import ProviderEndpoint, plain_value
from po_jupyter.llm.wire.exchange import DEFAULT_TIMEOUT
from po_jupyter.llm.wire.http import Http

if TYPE_CHECKING:
    from po_jupyter.llm.providers.openai.batches import OpenAIBatches

log = structlog.get_logger(__name__)
_RESPONSES_FIRST = re.compile(r"gpt-(?:[5-9]|\d\d)")
_NO_MODEL = re.compile(r"model.{0,120}(?:not (?:exist|found)|no access)|no such model", re.I | re.S)
_CHAT_ONLY = re.compile(
    r"only (?:supported|available) (?:in|with|by|through) (?:the )?(?:v1/)?chat|"
    r"not (?:be )?(?:supported|available) (?:in|with|by|through) (?:the )?(?:v1/)?responses|"
    r"use (?:the )?(?:v1/)?chat",
    re.I,
)
_ACCOUNT = {"OPENAI_ORG_ID": "openai-organization", "OPENAI_PROJECT_ID": "openai-project"}
_UNKNOWN_SETTING = frozenset({"unknown_parameter", "unsupported_parameter"})


def make(context: ProviderContext) -> Provider:
    """The provider of a context. Raises ModelKeyError, and ModelRefused for an organization that is no header."""
    endpoint = replace(context.endpoint, headers=_account_headers(context.environ))
    return OpenAI(
        endpoint, context.http, name=context.spec.name, key_env=context.spec.key_env,
        behind_gateway=context.behind_gateway,
    )  # fmt: skip


def _account_headers(environ: Mapping[str, str]) -> dict[str, str]:
    """Who pays, where a key belongs to several: what OpenAI's own SDK takes from the environment."""
    headers = {}
    for variable, header in _ACCOUNT.items():
        value = plain_value(environ.get(variable, ""))
        if not (value.isascii() and value.isprintable()):
            raise ModelRefused(
                f"{variable} cannot be sent: it holds line breaks or other signs that no header has",
                hint="Set it right where the orchestrator starts, or unset it.",
                details={"variable": variable},
            )
        if value:
            headers[header] = value
    return headers


def make_azure(context: ProviderContext) -> Provider:
    """The provider of an Azure OpenAI resource, with its `v1` API; a model is the name of a deployment.

    Raises ModelKeyError, and ModelRefused when it is not said where the resource is.
    """
    base = context.base_url.rstrip("/")
    if not base:
        raise ModelRefused(
            f"{context.spec.name} has no address of its own: {context.spec.base_env} is not set",
            hint="Set it to the endpoint of your resource: https://NAME.openai.azure.com",
            details={"provider": context.spec.name, "variable": context.spec.base_env},
        )
    endpoint = ProviderEndpoint(_azure_base(base), context.key)
    return OpenAI(endpoint, context.http, name=context.spec.name, key_env=context.spec.key_env)


def _azure_base(url: str) -> str:
    """The base URL of the `v1` API at an endpoint, which may have it already."""
    if re.search(r"/v\d[^/]*$", url):
        return url
    return f"{url}/v1" if url.endswith("/openai") else f"{url}/openai/v1"


def api_for(request: ChatRequest) -> tuple[Api, str]:
    """(the API of a request, the reason as text for the log)."""
    if request.api is not None:
        return request.api, f"llm.api is {request.api}"
    if _RESPONSES_FIRST.match(request.model_name):
        if request.seed is not None:
            return "chat", "only Chat Completions has a seed"
        if request.logprobs:
            return "chat", "log probabilities are read from Chat Completions"
        return "responses", "gpt-5 and later go to Responses"
    return "chat", "models before gpt-5 and of other makers go to Chat Completions"


class OpenAI:
    """A provider for OpenAI, or another server with one or both of its APIs; its batch API is under `batches`."""

    embeds = True

    def __init__(
        self,
        endpoint: ProviderEndpoint,
        http: Http,
        *,
        name: str = "openai",
        key_env: str = "OPENAI_API_KEY",
        timeout: float = DEFAULT_TIMEOUT,
        behind_gateway: bool = False,
    ) -> None:
        """`key_env` is the variable that messages about the key name; `timeout` is in seconds. `behind_gateway`: what
        the hub, its proxy or its gateway say of themselves says nothing about the model's server."""
        self._behind_gateway = behind_gateway
        self.name = name
        self._endpoint = endpoint
        self._http = http
        self._key_env = key_env
        self._timeout = timeout
        self._chat = ChatCompletions(endpoint, http, name=name, key_env=key_env, timeout=timeout)
        self._responses = Responses(endpoint, http, name=name, key_env=key_env, timeout=timeout)
        self._chat_only: dict[str, str] = {}  # model -> reason
        self._logged: set[tuple[str, str]] = set()

    @cached_property
    def batches(self) -> OpenAIBatches:
        """The batch API. See `llm.batches.protocol.Batches`."""
        from po_jupyter.llm.providers.openai.batches import OpenAIBatches

        def api_of(request: ChatRequest) -> str:
            return self._choose_api(request)[0]

        return OpenAIBatches(
            self._endpoint, self._http, api_of, name=self.name, key_env=self._key_env, timeout=self._timeout
        )

    def _choose_api(self, request: ChatRequest) -> tuple[Api, str]:
        """(the API, the reason): as `api_for`, but for models that this server's Responses API did not know."""
        api, reason = api_for(request)
        if request.api is None and api == "responses" and request.model_name in self._chat_only:
            return "chat", self._chat_only[request.model_name]
        return api, reason

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Make one request. See `llm.chat.Provider`."""
        if request.embed:
            return await self._chat.chat(request)
        api, reason = self._choose_api(request)
        model = request.model_name
        if (model, api) not in self._logged:
            self._logged.add((model, api))
            log.info("api chosen", provider=self.name, model=model, api=api, reason=reason)
        if api == "chat":
            return await self._chat.chat(request, on_text=on_text)
        try:
            return await self._responses.chat(request, on_text=on_text)
        except (ModelRefused, ModelUnavailable) as error:
            of_gateway = self._behind_gateway and (error.page or error.gateway)
            if request.api is not None or of_gateway or not unknown_to_responses(error):
                raise
            self._chat_only[model] = f"the Responses API of this server does not know it: {error.message:.200}"
            log.warning("api fallback", provider=self.name, model=model, api="chat", reason=error.message)
            raise ModelUnavailable(
                f"{error.message}; {model} goes to Chat Completions from now on",
                hint="Set llm.api: chat to send no request in vain.",
                details=error.details,
                at_once=True,
            ) from None

    async def aclose(self) -> None:
        """Close nothing: the connections belong to `Http`."""


def unknown_to_responses(error: ModelError) -> bool:
    """True when the Responses API does not know the route, the model or a setting of a request.

    False for a model that does not exist at all, a bad value and everything else: the other API would not help.
    """
    status, reason = error.http_status, error.reason
    if reason == "model_not_found":
        return False
    if status in (404, 405, 501):
        return _NO_MODEL.search(error.message) is None
    if status in (400, 422):
        return reason in _UNKNOWN_SETTING or _CHAT_ONLY.search(error.message) is not None
    return False
