"""Usage of one call from the counts of vendors."""

from po_jupyter.llm.wire.usage import anthropic_usage, usage_from
from po_jupyter.model.run.usage import Usage


def test_a_usage_without_validation_is_the_validated_one():
    made = usage_from(10, 4, cached=3, written=2, reasoning=1, cost=0.5)
    assert made == Usage.model_validate(made.to_json()) and made.calls == 1


def test_the_cache_of_anthropic_is_part_of_the_input():
    counts = {
        "input_tokens": 5,
        "output_tokens": 7,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 3,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    assert anthropic_usage(counts) == usage_from(28, 7, cached=20, written=3, reasoning=2)
    assert anthropic_usage({"input_tokens": None, "output_tokens": "many"}) == usage_from(0, 0)
