"""Scoped tokens: made, listed, revoked. A token is part of one response only, that of its making."""

from __future__ import annotations

import asyncio

from po_jupyter.errors import Forbidden
from po_jupyter.server.routing.request import ApiRequest, JsonResponse
from po_jupyter.server.routing.shapes import Query, TokenBody


async def list_tokens(request: ApiRequest[Query, None]) -> JsonResponse:
    """My scoped tokens, without the tokens themselves."""
    return JsonResponse({"tokens": request.extension.authenticator.tokens.list(request.owner)})


async def create_token(request: ApiRequest[Query, TokenBody]) -> JsonResponse:
    """Make a token for some scopes and some time; `secret` is the token, in this answer only."""
    body = request.body
    for scope in body.scopes:
        if not await request.may(scope):
            raise Forbidden(
                f"you may not give away the scope {scope}: you do not have it",
                hint="Make a token with scopes that you have.",
                details={"scope": scope},
            )
    text, token = await asyncio.to_thread(
        request.extension.authenticator.tokens.create,
        name=body.name, scopes=body.scopes, seconds=body.expires, owner=request.owner, user=request.user,
    )  # fmt: skip
    return JsonResponse({"token": token, "secret": text}, 201)


async def revoke_token(request: ApiRequest[Query, None]) -> JsonResponse:
    """Make a scoped token worth nothing, from the next request on; schedules that it added are paused."""
    await request.orchestrator.schedules.pause_of_token(request.path["id"], owner=request.owner)
    await asyncio.to_thread(request.extension.authenticator.tokens.revoke, request.path["id"], request.owner)
    return JsonResponse(None, 204)
