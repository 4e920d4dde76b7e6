"""Cases of requests: messages, settings, schemas, images, tools, reasoning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from po_jupyter.errors import AnswerUnreadable
from po_jupyter.llm.bounds import output_limit
from po_jupyter.llm.chat import ChatResponse, Message, Provider
from po_jupyter.llm.structured.parsing import AnswerValidator, parse_json
from po_jupyter.testing.conformance.provider.case_base import (
    CLOCK,
    EFFORTS,
    LIMITS,
    PAGE,
    PIXEL,
    RICH_SCHEMA,
    SCHEMA,
    SHAPES,
    SOUND,
    STOPS,
    TIERS,
    WEATHER,
    CaseBase,
    as_json_text,
    values_under,
)
from po_jupyter.testing.model_server import ModelServer


class RequestCases(CaseBase):
    """Cases of requests."""

    # -- what is sent -----------------------------------------------------------------------------------
    async def test_system_messages_are_sent(self, server: ModelServer, provider: Provider) -> None:
        _, _, body = await self.play(server, provider, "plain", system="Be short.")
        assert "Be short." in as_json_text(body)

    async def test_several_system_messages_are_sent(self, server: ModelServer, provider: Provider) -> None:
        turns = (
            Message("system", "First rule."),
            Message("user", "Hi"),
            Message("system", "Second rule."),
            Message("user", "Go on"),
        )
        _, _, body = await self.play(server, provider, "plain", messages=turns)
        assert "First rule." in as_json_text(body)
        assert "Second rule." in as_json_text(body)

    async def test_turns_keep_their_order(self, server: ModelServer, provider: Provider) -> None:
        turns = (Message("user", "turn one"), Message("assistant", "turn two"), Message("user", "turn three"))
        _, _, body = await self.play(server, provider, "plain", messages=turns)
        text = as_json_text(body)
        assert text.index("turn one") < text.index("turn two") < text.index("turn three")

    async def test_only_what_was_asked_for_is_sent(self, server: ModelServer, provider: Provider) -> None:
        """R2.7: one default of the temperature, which is to send none; the same for everything else."""
        _, _, body = await self.play(server, provider, "plain")
        assert not values_under(
            body, "temperature", "top_p", "seed", "tools", "tool_choice", *STOPS, *EFFORTS, *SHAPES[:1]
        )

    async def test_the_limit_is_sent(self, server: ModelServer, provider: Provider) -> None:
        _, _, body = await self.play(server, provider, "plain", max_tokens=321)
        (sent,) = values_under(body, *LIMITS)
        assert sent == output_limit(self.ask(max_tokens=321)), "with the room to think, where the model thinks"

    async def test_the_temperature_is_sent(self, server: ModelServer, provider: Provider) -> None:
        _, _, body = await self.play(server, provider, "plain", temperature=0.25)
        assert values_under(body, "temperature") == [] if self.fixed == self.model else [0.25]

    async def test_no_temperature_goes_to_a_model_that_refuses_it(
        self, server: ModelServer, provider: Provider
    ) -> None:
        """R2.7."""
        if self.fixed is None:
            pytest.skip("inapplicable: every model takes a temperature")
        _, _, body = await self.play(server, provider, "plain", temperature=0.25, model=self.fixed)
        assert values_under(body, "temperature") == []

    async def test_stop_sequences_end_the_answer(self, server: ModelServer, provider: Provider) -> None:
        response, _, body = await self.play(server, provider, "stopped", stop=("END",))
        assert response.text.rstrip() == "One, two", "sent, or cut here"
        assert response.finish == "stop"
        if "END" in as_json_text(self.exchange("stopped")["body"]):
            assert values_under(body, *STOPS) == []
        else:
            assert values_under(body, *STOPS) == [["END"]]

    async def test_a_seed_is_sent_or_left_out(self, server: ModelServer, provider: Provider) -> None:
        _, _, body = await self.play(server, provider, "plain", seed=7)
        assert values_under(body, "seed") == ([] if "seed" in self.lacks else [7])

    async def test_json_mode(self, server: ModelServer, provider: Provider) -> None:
        response, _, body = await self.play(server, provider, "json", json=True)
        assert parse_json(response.text) == {"label": "bug", "score": 3}
        assert values_under(body, *SHAPES[:1], "format", "responseMimeType") or "JSON" in as_json_text(body)

    async def test_a_schema_is_enforced_or_told(self, server: ModelServer, provider: Provider) -> None:
        response, _, body = await self.play(server, provider, "json", schema=SCHEMA)
        assert AnswerValidator(SCHEMA).violations(parse_json(response.text)) == []
        assert "praise" in as_json_text(body)

    async def test_a_schema_with_a_stream(self, server: ModelServer, provider: Provider) -> None:
        response, pieces, _ = await self.play(server, provider, "json_stream", schema=SCHEMA)
        assert parse_json(response.text) == {"label": "bug", "score": 3}
        assert "".join(pieces) == response.text

    async def test_what_of_a_schema_cannot_be_enforced_is_told(
        self, server: ModelServer, provider: Provider
    ) -> None:
        before = json.dumps(RICH_SCHEMA)
        _, _, body = await self.play(server, provider, "json", schema=RICH_SCHEMA)
        assert "^[a-z]+$" in as_json_text(body)
        assert "exclusiveMinimum" in as_json_text(body)
        assert json.dumps(RICH_SCHEMA) == before, "the caller's schema is not touched"

    async def test_images_are_sent(self, server: ModelServer, provider: Provider) -> None:
        """G15."""
        turns = (Message("user", "What is this?", images=(PIXEL,)),)
        _, _, body = await self.play(server, provider, "plain", messages=turns)
        assert PIXEL.data in as_json_text(body)
        assert "image/png" in as_json_text(body) or values_under(body, "format") == ["png"]
        assert "What is this?" in as_json_text(body)

    async def test_documents_are_sent(self, server: ModelServer, provider: Provider) -> None:
        """A PDF goes out whole, as the kind of part that the vendor has for it."""
        if "files" in self.lacks:
            pytest.skip("inapplicable: no model takes documents")
        turns = (Message("user", "What does it say?", files=(PAGE,)),)
        _, _, body = await self.play(server, provider, "plain", messages=turns)
        assert PAGE.data in as_json_text(body)
        assert "application/pdf" in as_json_text(body) or values_under(body, "format") == ["pdf"]
        assert "What does it say?" in as_json_text(body)

    async def test_sounds_are_sent(self, server: ModelServer, provider: Provider) -> None:
        """A sound goes out whole, as the kind of part that the vendor has for it; where it has none, nothing does."""
        turns = (Message("user", "What is said?", files=(SOUND,)),)
        if self.hearer is None:
            pytest.skip("inapplicable: no model takes sound")
        _, _, body = await self.play(server, provider, "plain", messages=turns, model=self.hearer)
        assert SOUND.data in as_json_text(body)
        assert "What is said?" in as_json_text(body)

    async def test_log_probabilities_are_asked_for(self, server: ModelServer, provider: Provider) -> None:
        """With their alternatives, and only where the request wants them."""
        if self.says_logprobs is None:
            pytest.skip("inapplicable: no model gives log probabilities")
        _, _, body = await self.play(
            server, provider, "json", model=self.says_logprobs, schema=SCHEMA, logprobs=True
        )
        asked = values_under(body, "logprobs", "top_logprobs", "responseLogprobs")
        assert sorted(map(str, asked)) == ["5", "True"]
        _, _, body = await self.play(server, provider, "json", model=self.says_logprobs, schema=SCHEMA)
        assert values_under(body, "logprobs", "top_logprobs", "responseLogprobs") == []

    @pytest.mark.parametrize("tier", ["flex", "standard", "priority"])
    async def test_a_service_tier_is_sent_by_the_vendors_name(
        self, server: ModelServer, provider: Provider, tier: Any
    ) -> None:
        if tier not in self.tiers:
            pytest.skip("inapplicable: the API does not have this tier")
        _, _, body = await self.play(server, provider, "plain", service_tier=tier)
        assert values_under(body, *TIERS) == [self.tiers[tier]]
        _, _, body = await self.play(server, provider, "plain")
        assert values_under(body, *TIERS) == []

    # -- tools ------------------------------------------------------------------------------------------
    @pytest.mark.parametrize("stream", ["", "_stream"])
    async def test_a_tool_call(self, server: ModelServer, provider: Provider, stream: str) -> None:
        """G15."""
        response, _, body = await self.play(server, provider, f"tool{stream}", tools=(WEATHER, CLOCK))
        (call,) = response.tool_calls
        assert (call.name, dict(call.arguments)) == ("get_weather", {"city": "Berlin"})
        assert call.id
        assert response.finish == "tool_calls"
        assert "get_time" in as_json_text(body)

    async def test_two_tool_calls_in_their_order(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "two_tools", tools=(WEATHER, CLOCK))
        assert [call.name for call in response.tool_calls] == ["get_weather", "get_time"]
        assert len({call.id for call in response.tool_calls}) == 2
        assert dict(response.tool_calls[1].arguments) == {}

    @pytest.mark.parametrize("choice", ["none", "required", "get_weather"])
    async def test_the_choice_of_a_tool_is_sent(
        self, server: ModelServer, provider: Provider, choice: str
    ) -> None:
        _, _, body = await self.play(server, provider, "tool", tools=(WEATHER,), tool_choice=choice)
        (sent,) = values_under(body, "tool_choice", "functionCallingConfig", "toolChoice")
        if choice == "get_weather" and "forced tools" not in self.lacks:
            assert choice in as_json_text(sent)

    @pytest.mark.parametrize("name", ["tool", "thought_tool", "thought_tool_stream"])
    async def test_results_of_tools_go_back_with_what_the_provider_wants_back(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        request = self.ask(
            "Weather in Berlin?", tools=(WEATHER,), model=self.thinker if "thought" in name else None
        )
        response, _, _ = await self.play(server, provider, name, request)
        again = ChatResponse.from_json(json.loads(json.dumps(response.to_json())))  # as a crash leaves it
        (call,) = again.tool_calls
        result = Message("tool", "18 degrees", tool_call_id=call.id)
        _, _, body = await self.play(server, provider, "plain", request.then(again.message, result))
        text = as_json_text(body)
        assert "18 degrees" in text
        assert call.name in text
        assert "Berlin" in text
        for secret in ("signature", "thoughtSignature", "encrypted_content", "reasoning_content"):
            for value in values_under(self.exchange(name), secret):
                if value and "thought" in name and not name.endswith("_stream"):
                    assert value in text, f"{secret} goes back"

    async def test_arguments_that_are_not_json_are_unreadable(
        self, server: ModelServer, provider: Provider
    ) -> None:
        error = await self.fails(server, provider, "bad_tool", AnswerUnreadable, tools=(WEATHER,))
        assert "Ber" in error.details["sample"]

    # -- reasoning --------------------------------------------------------------------------------------
    @pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
    async def test_an_effort_is_sent_to_models_that_reason(
        self, server: ModelServer, provider: Provider, effort: Any
    ) -> None:
        if self.thinker is None:
            pytest.skip("inapplicable: no model is told how much to reason")
        _, _, body = await self.play(
            server, provider, "plain", effort=effort, max_tokens=9000, model=self.thinker
        )
        assert effort == "none" or values_under(body, *EFFORTS)
