"""The context of models: how many tokens a prompt and its answer may have together."""

from __future__ import annotations

from functools import lru_cache

from po_jupyter.llm.specs import specs

LOCAL_CONTEXT = 2048  # as `llm.local.server` starts the model of this machine
UNKNOWN_CONTEXT = 32_000  # of a model that the list does not have: what nearly all have today


@lru_cache(maxsize=1024)
def context_of(ref: str) -> int:
    """The context of the model `ref` in tokens, as the list of prices has it. Loads the list, where it is needed."""
    provider, _, model = ref.partition(":")
    if provider == "local":
        return LOCAL_CONTEXT
    spec = specs().get(provider)
    if spec is None or spec.free or not spec.price_id:
        return UNKNOWN_CONTEXT
    from genai_prices.data_snapshot import get_snapshot  # 0.2 s, so only where it is needed

    try:
        _, found = get_snapshot().find_provider_model(model, None, spec.price_id, None)
    except LookupError:
        return UNKNOWN_CONTEXT
    return found.context_window or UNKNOWN_CONTEXT
