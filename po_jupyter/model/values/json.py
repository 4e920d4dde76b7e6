"""JSON values whose shape is somebody else's."""

from __future__ import annotations

from typing import Any, TypeAlias

# A JSON object of free shape: a row of a user, a JSON Schema, a provider's body, an error as `PoError.to_json` has it.
JsonObject: TypeAlias = dict[str, Any]

# A JSON value of free shape: dict, list, str, int, float, bool or None; a list may be a `LazyList`. To the type checker
# it is an `object`: code that looks inside asks first what the value is, code that hands it on need not.
JsonValue: TypeAlias = object
