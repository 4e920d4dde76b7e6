"""The context that a provider is made from."""

import pytest

from po_jupyter.errors import ModelKeyError
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.specs import specs


def test_the_environment_is_in_no_repr():
    """P10."""
    context = ProviderContext(specs()["openai"], {"OPENAI_API_KEY": "k-secret"}, None)
    assert "k-secret" not in repr(context)


def test_the_base_url_of_the_environment_wins_and_the_key_comes_with_it():
    spec = specs()["openai"]
    context = ProviderContext(spec, {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": " http://x/v1 "}, None)
    assert (context.endpoint.base_url, context.endpoint.key) == ("http://x/v1", "k")
    assert ProviderContext(spec, {}, None).base_url == spec.base_url
    with pytest.raises(ModelKeyError):
        _ = ProviderContext(spec, {}, None).endpoint
