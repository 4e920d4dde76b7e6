"""Reviews: what people say of the answers of rows."""

from __future__ import annotations

from po_jupyter.server.routing.request import ApiRequest, JsonResponse
from po_jupyter.server.routing.reviews import ReviewBody, ReviewsQuery
from po_jupyter.server.routing.shapes import Query


async def review(request: ApiRequest[Query, ReviewBody]) -> JsonResponse:
    """Say of a row's answer that it is right, or what would be. The answer itself stays as it is."""
    body = request.body
    recorded, is_new = await request.orchestrator.reviews.record(
        request.path["id"], request.owner, body.task, body.index,
        decision=body.decision, output=body.output, note=body.note, answer=body.answer, request=body.request,
    )  # fmt: skip
    return JsonResponse({"review": recorded}, 201 if is_new else 200)


async def reviews(request: ApiRequest[ReviewsQuery, None]) -> JsonResponse:
    """What people said of a map's rows, in row order: of each person the last of a row, beside the answer of now."""
    query = request.query
    page, cursor = await request.orchestrator.reviews.page(
        request.path["id"], request.owner, query.task, cursor=query.cursor, limit=query.limit
    )
    return JsonResponse({"reviews": page, "next": cursor})
