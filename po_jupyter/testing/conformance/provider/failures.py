"""Cases of failures: ends that are no answers, and errors, each the right one and without the key."""

from __future__ import annotations

import pytest

from po_jupyter.errors import (
    AnswerTruncated,
    ModelError,
    ModelKeyError,
    ModelRateLimited,
    ModelRefused,
    ModelUnavailable,
)
from po_jupyter.llm.chat import Provider
from po_jupyter.testing.conformance.provider.case_base import CaseBase, values_under
from po_jupyter.testing.model_server import ModelServer


class FailureCases(CaseBase):
    """Cases of failures."""

    # -- ends that are no answers -----------------------------------------------------------------------
    @pytest.mark.parametrize("name", ["truncated", "truncated_stream", "context_full"])
    async def test_truncation_is_an_error_with_its_usage(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        error = await self.fails(server, provider, name, AnswerTruncated, max_tokens=10)
        assert not error.transient
        assert error.details["usage"]["output_tokens"] > 0
        assert error.details["sample"].startswith("Once")

    @pytest.mark.parametrize("name", ["refused", "refused_stream"])
    async def test_a_refusal_is_an_error_with_its_words(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        error = await self.fails(server, provider, name, ModelRefused)
        assert not error.transient
        assert error.details["usage"]["input_tokens"] > 0
        assert "refused" in str(error)

    async def test_a_content_filter_is_a_refusal(self, server: ModelServer, provider: Provider) -> None:
        error = await self.fails(server, provider, "filtered", ModelRefused)
        assert not error.transient

    @pytest.mark.parametrize("name", ["gave_up", "malformed_tool", "failed_stream"])
    async def test_an_answer_that_was_given_up_is_worth_another_try(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        error = await self.fails(server, provider, name, ModelError)
        assert error.transient

    async def test_a_stream_that_breaks_is_transient_and_its_tokens_are_counted(
        self, server: ModelServer, provider: Provider
    ) -> None:
        error = await self.fails(server, provider, "cut_stream", ModelUnavailable)
        assert error.details["usage"]["output_tokens"] > 0

    async def test_an_error_inside_a_stream_is_that_error(
        self, server: ModelServer, provider: Provider
    ) -> None:
        error = await self.fails(server, provider, "error_stream", ModelUnavailable)
        assert "broke off" not in str(error)

    # -- errors -----------------------------------------------------------------------------------------
    @pytest.mark.parametrize("name", ["unauthorized", "forbidden"])
    async def test_a_refused_key_is_a_key_error_without_the_key(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        """P10."""
        error = await self.fails(server, provider, name, ModelKeyError)
        assert not error.transient

    @pytest.mark.parametrize("name", ["not_found", "too_long", "no_credit"])
    async def test_what_waiting_does_not_cure_is_refused(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        error = await self.fails(server, provider, name, ModelRefused)
        assert not error.transient
        assert name != "not_found" or error.hint

    async def test_a_rate_limit_says_how_long_to_wait(self, server: ModelServer, provider: Provider) -> None:
        """P7."""
        error = await self.fails(server, provider, "rate_limited", ModelRateLimited)
        assert error.retry_after == 7.0

    @pytest.mark.parametrize("name", ["server_error", "overloaded"])
    async def test_a_failing_server_is_transient(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        error = await self.fails(server, provider, name, ModelError)
        assert error.transient

    @pytest.mark.parametrize("name", ["not_found", "rate_limited", "server_error", "truncated"])
    async def test_errors_name_the_request_where_the_server_does(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        exchange = self.exchange(name)
        ids = [v for k, v in exchange["headers"].items() if "request-id" in k or "trace-id" in k]
        ids += values_under(exchange["body"], "request_id", "responseId")
        error = await self.fails(server, provider, name, ModelError)
        if ids:
            assert error.details["request_id"] in ids
