"""The provider for Amazon Bedrock: where a request goes, and its signature.

With a key of Bedrock's own (`AWS_BEARER_TOKEN_BEDROCK`) the key is a bearer token. Otherwise each request is signed by
botocore (Signature Version 4) with the credentials of a login; no client of botocore's or boto3's is in between.

A model is the id of a model, of an inference profile (`us.anthropic.claude-...`, `global....`), or an ARN of one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeAlias
from urllib.parse import quote

from po_jupyter.errors import ModelError, ModelKeyError, ModelRefused
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText, Provider
from po_jupyter.llm.providers.bedrock.converse import ConverseReader, request_body
from po_jupyter.llm.providers.bedrock.errors import EXPIRED
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.short_lived import ShortLivedCredentials
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.exchange import HttpProvider, encode_json, exchange
from po_jupyter.llm.wire.http import Http, Target
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.model.values.json import JsonObject

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,2047}")
_REGION_OF_HOST = re.compile(r"bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")
Signer: TypeAlias = Callable[[str, bytes, Mapping[str, str], str], dict[str, str]]


def make(context: ProviderContext) -> Provider:
    """The provider of a context. Raises ModelRefused when no region is set."""
    spec, environ = context.spec, context.environ
    if not context.base_url:
        raise ModelRefused(
            f"{spec.name} has an address for each region, and {spec.region_env[0]} is not set",
            hint=f"Set {spec.region_env[0]} where the orchestrator starts, for example to us-east-1.",
            details={"provider": spec.name, "variable": spec.region_env[0]},
        )
    key = spec.key_in(environ)
    region = spec.region_in(environ)
    if match := _REGION_OF_HOST.search(context.base_url):
        region = match[1]
    endpoint = ProviderEndpoint(context.base_url, context.key if key else None)
    return Bedrock(endpoint, context.http, None if key else context.short_lived(), region)


class Bedrock(HttpProvider):
    """A provider for the Converse API of one region."""

    name = "bedrock"
    key_env = "AWS_BEARER_TOKEN_BEDROCK"

    def __init__(
        self,
        endpoint: ProviderEndpoint,
        http: Http,
        login: ShortLivedCredentials | None = None,
        region: str = "",
    ) -> None:
        """`login` is there where the endpoint has no key; `region` is that of its signatures."""
        super().__init__(endpoint, http)
        self._login = login
        self._region = region
        self._sign: Signer | None = None

    @cached_property
    def _targets(self) -> dict[tuple[str, bool], Target]:
        return {}

    def target(self, request: ChatRequest, *, stream: bool) -> Target:
        """The URL of a model. Raises ModelRefused for a name that cannot be a part of a URL."""
        model = request.model_name
        target = self._targets.get((model, stream))
        if target is None:
            if not _MODEL.fullmatch(model):
                raise ModelRefused(f"{model!r:.80} is not the name of a model, or the ARN of one, of Bedrock")
            method = "converse-stream" if stream else "converse"
            base = self.endpoint.base_url.rstrip("/")
            # Colons stay as they are: the transport would write them so, and what is sent has to be what is signed.
            path = quote(model, safe=":")
            target = Target(f"{base}/model/{path}/{method}", key=self.endpoint.key, name=self.name)
            self._targets[(model, stream)] = target
        return target

    def body(self, request: ChatRequest, *, stream: bool) -> JsonObject:
        """The body of a Converse request."""
        return request_body(request, provider=self.name)

    def reader(self, request: ChatRequest) -> ResponseReader:
        """A reader of Converse responses."""
        return ConverseReader(self.name, request, self.endpoint.key, self.key_env, self._region)

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Make one request. See `llm.chat.Provider`."""
        if self._login is None:
            return await super().chat(request, on_text=on_text)
        stream = on_text is not None
        raw = encode_json(self.body(request, stream=stream)).encode("utf-8", "replace")
        credentials = await self._login.current()
        target = await self._signed(self.target(request, stream=stream), raw, credentials)
        reader = self.reader(request)
        try:
            seconds = request.timeout or self.timeout
            return await exchange(self.http, target, raw, reader, seconds=seconds, on_text=on_text)
        except ModelError as error:
            if error.details.get("reason") in EXPIRED:
                self._login.reject(credentials)
            raise

    async def _signed(self, target: Target, raw: bytes, credentials: Mapping[str, str]) -> Target:
        """The target with a signature of this one request. Raises ModelKeyError without botocore."""
        if self._sign is None:
            self._sign = await asyncio.to_thread(_load_signer)  # importing it takes a while
        return target.with_headers(self._sign(str(target.url), raw, credentials, self._region))


def _load_signer() -> Signer:
    try:
        from po_jupyter.llm.providers.bedrock.signing import signature
    except ImportError:
        raise ModelKeyError(
            "bedrock needs the extra `bedrock`",
            hint="pip install 'po_jupyter[bedrock]'",
            details={"provider": "bedrock"},
        ) from None
    return signature
