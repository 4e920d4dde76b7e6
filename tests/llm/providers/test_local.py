"""The provider of the embedded model: bounds of schemas, nobody to run it."""

import json

import pytest

from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.providers.local import MAX_ITEMS, MAX_LENGTH, bounded
from po_jupyter.llm.providers.registry import Providers


async def test_a_local_model_without_anybody_to_run_it_says_so():
    with pytest.raises(ModelUnavailable, match="nobody runs a local model"):
        Providers({}).get("local:smollm2-135m")


def test_a_schema_for_a_small_model_gets_bounds_in_a_copy():
    schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "short": {"type": "string", "maxLength": 3},
            "long": {"type": "string", "minLength": 500},
            "tags": {"type": "array", "items": {"type": "string"}},
            "pair": {"type": "array", "maxItems": 2},
            "label": {"enum": ["a"], "type": "string"},
            "maxLength": {"type": "string"},
        },
    }
    before = json.dumps(schema)
    properties = bounded(schema)["properties"]
    assert json.dumps(schema) == before
    assert properties["text"]["maxLength"] == MAX_LENGTH and properties["short"]["maxLength"] == 3
    assert properties["long"]["maxLength"] == 500 and properties["tags"]["maxItems"] == MAX_ITEMS
    assert properties["tags"]["items"]["maxLength"] == MAX_LENGTH and properties["pair"]["maxItems"] == 2
    assert (
        properties["label"] == schema["properties"]["label"]
        and properties["maxLength"]["maxLength"] == MAX_LENGTH
    )
    assert bounded(schema)["additionalProperties"] is False
