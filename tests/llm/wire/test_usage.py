"""Usage of one call from the counts of vendors."""

from po_jupyter.llm.providers.compatible.family import QUIRKS
from po_jupyter.llm.wire.usage import anthropic_usage, chat_usage, usage_from
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


def test_thoughts_beside_the_completion_are_output_too():
    """Figures of xAI's "Consumption and Rate Limits", and of OpenAI's "Reasoning models"."""
    beside = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": 135,
        "completion_tokens_details": {"reasoning_tokens": 94},
    }
    within = {
        "prompt_tokens": 75,
        "completion_tokens": 1186,
        "total_tokens": 1261,
        "completion_tokens_details": {"reasoning_tokens": 1024},
    }
    assert chat_usage(beside) == usage_from(32, 103, reasoning=94)
    assert chat_usage(within) == usage_from(75, 1186, reasoning=1024)
    assert chat_usage(beside | {"total_tokens": None}) == usage_from(32, 9, reasoning=94)


def test_vendors_say_what_a_call_cost_in_their_own_ways():
    def cost(**counts: object) -> float | None:
        return chat_usage({"prompt_tokens": 1, "completion_tokens": 1, **counts}, says_cost=True).cost

    assert cost(cost_in_usd_ticks=37_756_000) == 0.0037756  # xAI
    assert cost(cost={"request_cost": 0.005, "total_cost": 0.005339}) == 0.005339  # Perplexity
    assert cost(cost=0.95, is_byok=False, cost_details={"upstream_inference_cost": 0.95}) == 0.95  # OpenRouter
    assert cost(cost=0.05, is_byok=True, cost_details={"upstream_inference_cost": 1.0}) == 1.05
    assert cost(cost=0, is_byok=True, cost_details={"upstream_inference_cost": None}) is None
    assert cost(cost={"total_cost": "?"}) is cost(cost=None) is None
    assert {name for name, quirks in QUIRKS.items() if quirks.says_cost} == {"openrouter", "perplexity", "xai"}
