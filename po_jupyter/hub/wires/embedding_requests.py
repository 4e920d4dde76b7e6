"""Requests for embeddings, read and bounded: texts alone, whose tokens are input, and nothing is written."""

from __future__ import annotations

from po_jupyter.hub.problems import invalid
from po_jupyter.hub.wires.operations import Api
from po_jupyter.hub.wires.request_bounds import BoundedRequest
from po_jupyter.hub.wires.request_fields import GEMINI_EMBEDDING, TOP
from po_jupyter.hub.wires.request_parts import check_names, in_camel_case, objects
from po_jupyter.llm.vectors import MOST_DIMENSIONS
from po_jupyter.model.values.json import JsonObject

_MOST_TEXTS = 256  # of a request: their vectors are some megabytes, which the gateway reads at once
_SIZES = ("dimensions", "output_dimension", "outputDimensionality")


def bound_embeddings(
    api: Api, body: JsonObject, *, path_model: str = "", fields: tuple[str, ...] = ()
) -> BoundedRequest:
    """The request in a body; `path_model` and `fields` as for `bound_request`. Raises GatewayProblem."""
    if api == "embeddings":
        check_names(body, TOP[api].union(fields), "field")
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise invalid("`model` is missing")
        _check_input(body.get("input"))
        _check_sizes(body)
        return _bounded(api, model, body)
    body = in_camel_case(body)
    if "requests" in body:
        check_names(body, frozenset({"requests"}).union(fields), "field")
        body["requests"] = requests = [in_camel_case(one) for one in objects(body["requests"], "requests")]
        _check_count(len(requests))
    else:
        requests = [body]
    for request in requests:
        check_names(request, GEMINI_EMBEDDING.union(fields), "field of a text")
        named = request.get("model")
        if named is not None and named not in (path_model, f"models/{path_model}"):
            raise invalid("a text is for the model of the address, and names another one")
        _check_texts(request.get("content"))
        _check_sizes(request)
    return _bounded(api, path_model, body)


def _bounded(api: Api, model: str, body: JsonObject) -> BoundedRequest:
    return BoundedRequest(api, model, body, False, None, 1, 0, 0)


def _check_input(input: object) -> None:
    """A text, a list of texts, or tokens by number, which are no more than their bytes either."""
    if isinstance(input, str) and input:
        return
    if not isinstance(input, list) or not input:
        raise invalid("`input` must be a text or a list of texts")
    if all(map(_is_token, input)):
        return
    _check_count(len(input))
    for text in input:
        if not isinstance(text, str) and not (isinstance(text, list) and text and all(map(_is_token, text))):
            raise invalid("`input` has texts, or tokens by number: anything else cannot be counted")


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_count(count: int) -> None:
    if not 1 <= count <= _MOST_TEXTS:
        raise invalid(f"a request for embeddings has 1 to {_MOST_TEXTS} texts, and this one {count:,}")


def _check_texts(content: object) -> None:
    """A content of Gemini's: parts that are texts."""
    if not isinstance(content, dict):
        raise invalid("`content` must be an object")
    check_names(content, frozenset({"parts", "role"}), "field of content")
    for part in objects(content.get("parts"), "parts"):
        check_names(part, frozenset({"text"}), "part")
        if not isinstance(part.get("text"), str):
            raise invalid("a part of `content` must be a text")


def _check_sizes(body: JsonObject) -> None:
    for name in _SIZES:
        value = body.get(name)
        if value is not None and (not _is_token(value) or not 1 <= value <= MOST_DIMENSIONS):
            raise invalid(f"`{name}` must be a whole number from 1 to {MOST_DIMENSIONS:,}")
