"""The parts of requests: messages, items and contents, in which all that is not text has a bound of its own.

What is not read here is not passed on: servers differ in what they take a part without a type for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from po_jupyter.hub.problems import invalid
from po_jupyter.hub.wires.operations import Api
from po_jupyter.hub.wires.request_fields import GEMINI_FUNCTIONS, GEMINI_PARTS, ITEMS, MEDIA, PARTS
from po_jupyter.model.values.json import JsonObject

_IMAGES = frozenset({"image_url", "input_image", "image"})
_URL = re.compile(r"https?://", re.IGNORECASE)
_DATA = re.compile(r"data:image/|(?!//)[a-z0-9+/=_-]{1,64}+(?![^a-z0-9+/=_\s-])", re.IGNORECASE)
_DETAILS = (None, "low", "high", "auto")


class Images:
    """The images of a request: their number, the bytes of those that are in it as base64, and how many are given by
    their addresses."""

    def __init__(self, api: Api) -> None:
        """None is read yet."""
        self._api = api
        self.count = self.size = self.urls = 0

    def read(self, body: JsonObject) -> None:
        """Read a body, of any wire but Gemini's. Raises GatewayProblem for a part that cannot be counted."""
        if self._api == "responses":
            if not isinstance(body.get("instructions"), str | None):
                raise invalid("`instructions` must be a text")
            if not isinstance(items := body.get("input"), str):
                for item in objects(items, "input"):
                    self._item(item)
            return
        for message in objects(body.get("messages"), "messages"):
            if message.get("type") not in (None, "message"):
                raise invalid("a message has no `type`")
            _check_plain(message)
            self._content(message.get("content"))
        self._content(body.get("system"))

    def _item(self, item: JsonObject) -> None:
        """An item of Responses. Its name is taken away: by that alone, one that is kept at the vendor is found."""
        item.pop("id", None)
        if "type" not in item and not {"role", "content"} <= set(item):
            raise invalid("an item without a `type` has `role` and `content`")
        kind = item.get("type", "message")
        if not isinstance(kind, str) or kind not in ITEMS:
            raise invalid(f"an item of the type {kind!r:.60} is not passed on: its tokens cannot be bounded")
        _check_plain(item)
        for name in ("content", "output", "summary"):
            self._content(item.get(name))

    def _content(self, content: object) -> None:
        if isinstance(content, str | None):
            return
        if not isinstance(content, list):
            raise invalid("a content is a text or a list of parts")
        for part in content:
            if isinstance(part, dict):
                self._part(part)
            elif not isinstance(part, str):
                raise invalid("a part is an object")

    def _part(self, part: JsonObject) -> None:
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in PARTS[self._api]:
            raise invalid(f"a part of the type {kind!r:.60} is not passed on: its tokens cannot be bounded")
        _check_plain(part, but="image_url" if kind in _IMAGES else "")
        if kind in _IMAGES:
            self._add(part)
        for name in ("content", "thinking"):
            self._content(part.get(name))

    def _add(self, part: JsonObject) -> None:
        self.count += 1
        place = part.get("image_url") if self._api != "messages" else part.get("source")
        details = [part.get("detail")]
        if isinstance(place, dict):
            if place.get("type") not in (None, "base64", "url"):
                raise invalid("an image is given as base64 or by its URL")
            details.append(place.get("detail"))
            place = place.get("url") or place.get("data")
        if not isinstance(place, str) or (not (is_url := bool(_URL.match(place))) and not _DATA.match(place)):
            raise invalid("an image is given as base64 or by its URL")
        if any(detail not in _DETAILS for detail in details):
            raise invalid("`detail` of an image is low, high or auto: of others the tokens cannot be bounded")
        if is_url:
            self.urls += 1
        else:
            self.size += len(place)

    def read_gemini(self, contents: list[JsonObject]) -> None:
        """Read the contents of Gemini's wire."""
        for content in contents:
            for n, part in enumerate(objects(content.get("parts"), "parts")):
                part = content["parts"][n] = in_camel_case(part)
                check_names(part, GEMINI_PARTS, "part")
                for name in ("functionCall", "functionResponse"):
                    if (function := part.get(name)) is not None:
                        part[name] = function = in_camel_case(function if isinstance(function, dict) else {})
                        check_names(function, GEMINI_FUNCTIONS, f"field of {name}")
                if part.get("inlineData") is not None:
                    self._add_gemini(part)

    def _add_gemini(self, part: JsonObject) -> None:
        data = part["inlineData"]
        data = part["inlineData"] = in_camel_case(data if isinstance(data, dict) else {})
        if not str(data.get("mimeType")).startswith("image/") or not isinstance(data.get("data"), str):
            raise invalid("`inlineData` other than images is not passed on: its tokens cannot be bounded")
        self.count += 1
        self.size += len(data["data"])


def _check_plain(part: JsonObject, *, but: str = "") -> None:
    for name in MEDIA:
        if name != but and part.get(name) is not None:
            raise invalid(
                f"{name!r} is not passed on here: its tokens cannot be bounded, or it may be somebody else's"
            )
    check_cache(part)


def check_cache(part: Mapping[str, object]) -> None:
    """Refuse a cache at another price. Raises GatewayProblem."""
    control = part.get("cache_control")
    if isinstance(control, dict) and control.get("ttl") not in (None, "5m"):
        raise invalid("a cache for longer than 5 minutes is not passed on: its price is another")


def check_names(body: Mapping[str, object], known: frozenset[str], what: str) -> None:
    """Refuse an object with names that are not known. Raises GatewayProblem."""
    for name in body:
        if name not in known:
            raise invalid(
                f"the {what} {name!r:.60} is not passed on: what it costs cannot be bounded. An administrator can "
                "allow further fields of a provider (`fields`)"
            )


def objects(value: object, name: str) -> list[JsonObject]:
    """A list of objects; of None an empty one. Raises GatewayProblem."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(f"`{name}` must be a list of objects")
    return value


def in_camel_case(value: JsonObject) -> JsonObject:
    """An object with names as Gemini's reference has them; its servers read snake_case as well."""
    return dict(_camel_pairs(value))


def _camel_pairs(value: JsonObject) -> Iterator[tuple[str, object]]:
    seen: set[str] = set()
    for name, inner in value.items():
        camel = re.sub(r"_+([a-zA-Z0-9])", lambda match: match[1].upper(), name)
        if camel in seen:
            raise invalid(f"`{camel:.60}` is there twice")
        seen.add(camel)
        yield camel, inner
