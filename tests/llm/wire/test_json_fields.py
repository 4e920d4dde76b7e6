"""Fields of a vendor's JSON: a value of the wrong type counts as absent."""

import pytest

from po_jupyter.llm.wire.json_fields import as_cost, as_count, as_text, mapping_at, mappings_in

STRANGE = [None, [], {}, "x", -1, 1.5, True]


@pytest.mark.parametrize("value", STRANGE)
def test_no_value_raises(value):
    assert isinstance(as_text(value), str) and as_count(value) >= 0
    assert isinstance(mapping_at(value, "x"), dict) and isinstance(mappings_in(value), list)
    assert as_cost(value) is None or as_cost(value) >= 0


def test_the_right_types_are_read():
    assert (as_text("a"), as_text(1)) == ("a", "")
    assert (as_count(3), as_count(2.9), as_count(-2), as_count("3")) == (3, 2, 0, 0)
    assert (as_cost(0), as_cost(0.25), as_cost(-0.1), as_cost("1")) == (0.0, 0.25, None, None)
    assert mapping_at({"a": {"b": 1}}, "a") == {"b": 1} and mapping_at({"a": [1]}, "a") == {}
    assert mappings_in([{"a": 1}, 2, None, {"b": 3}]) == [{"a": 1}, {"b": 3}]
