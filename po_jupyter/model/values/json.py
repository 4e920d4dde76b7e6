"""JSON values whose shape is somebody else's."""

from __future__ import annotations

from typing import Any, TypeAlias

# A JSON object of free shape: a row of a user, a JSON Schema, a provider's body, an error as `PoError.to_json` has it.
JsonObject: TypeAlias = dict[str, Any]
