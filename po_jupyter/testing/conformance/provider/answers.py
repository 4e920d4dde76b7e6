"""Cases of answers: text, usage, many answers at once."""

from __future__ import annotations

import asyncio
import json

from po_jupyter.llm.chat import ChatResponse, Provider
from po_jupyter.testing.conformance.provider.case_base import HELLO, UNICODE, CaseBase, as_json_text, load
from po_jupyter.testing.model_server import ModelServer


class AnswerCases(CaseBase):
    """Cases of answers."""

    # -- answers ----------------------------------------------------------------------------------------
    def test_the_exchanges_say_their_reference_and_its_date(self) -> None:
        file = load(self.exchanges)
        assert file["reference"].startswith("https://")
        assert file["read"]
        assert file["how"]

    async def test_a_plain_answer(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "plain")
        assert (response.text, response.finish) == (HELLO, "stop")
        assert response.model
        assert response.seconds > 0
        assert ChatResponse.from_json(json.loads(json.dumps(response.to_json()))) == response

    async def test_a_streamed_answer_comes_in_pieces_and_whole(
        self, server: ModelServer, provider: Provider
    ) -> None:
        """G11."""
        response, pieces, _ = await self.play(server, provider, "plain_stream")
        assert (response.text, response.finish) == (HELLO, "stop")
        assert "".join(pieces) == HELLO
        assert len(pieces) > 3

    async def test_streamed_and_whole_are_the_same(self, server: ModelServer, provider: Provider) -> None:
        whole, _, body = await self.play(server, provider, "unicode")
        streamed, _, streaming = await self.play(server, provider, "unicode_stream")
        assert whole.text == streamed.text == UNICODE
        for name in ("stream", "stream_options"):
            streaming.pop(name, None)
        assert body == streaming

    async def test_usage_is_counted(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "plain")
        assert response.usage.input_tokens > 0
        assert response.usage.output_tokens > 0
        assert response.usage.calls == 1
        assert not response.estimated

    async def test_usage_of_a_stream_is_counted(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "plain_stream")
        assert response.usage.input_tokens > 0
        assert response.usage.output_tokens > 0
        assert not response.estimated

    async def test_cached_tokens_are_part_of_the_input(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "cached")
        usage = response.usage
        assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (2006, 1920, 300)

    async def test_reasoning_tokens_are_part_of_the_output(
        self, server: ModelServer, provider: Provider
    ) -> None:
        response, _, _ = await self.play(server, provider, "reasoned")
        usage = response.usage
        assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (75, 1186, 1024)
        assert response.text == HELLO, "what the model thought is no part of the answer"

    async def test_the_request_has_an_id(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "plain")
        assert response.request_id

    async def test_an_empty_answer_is_an_answer(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "empty")
        assert response.text == ""

    async def test_what_is_not_known_is_passed_over(self, server: ModelServer, provider: Provider) -> None:
        response, pieces, _ = await self.play(server, provider, "noise_stream")
        assert response.text == "".join(pieces) == HELLO

    async def test_events_that_come_twice_count_once(self, server: ModelServer, provider: Provider) -> None:
        response, pieces, _ = await self.play(server, provider, "doubled_stream")
        once, _, _ = await self.play(server, provider, "plain_stream")
        assert response.text == "".join(pieces) == HELLO
        assert response.usage == once.usage

    # -- many -------------------------------------------------------------------------------------------
    async def test_calls_at_the_same_time_do_not_mix(self, server: ModelServer, provider: Provider) -> None:
        async def one(n: int) -> None:
            pieces: list[str] = []
            on_text = pieces.append if n % 2 else None
            response = await provider.chat(self.ask(f"number {n}"), on_text=on_text)
            assert response.text == f"echo: number {n}"
            assert "".join(pieces) in ("", response.text)

        await asyncio.gather(*(one(n) for n in range(20)))
        assert len(server.requests) == 20

    async def test_text_that_is_no_valid_unicode_is_sent_all_the_same(
        self, server: ModelServer, provider: Provider
    ) -> None:
        _, _, body = await self.play(server, provider, "plain", text="half \ud83d of a sign")
        assert "half" in as_json_text(body)
