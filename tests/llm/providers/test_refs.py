"""Model refs and the keys that their providers need."""

import subprocess
import sys

import pytest

from po_jupyter.errors import InvalidInput, ModelKeyError
from po_jupyter.llm.providers.refs import (
    answers_problem,
    batch_problem,
    embeddings_problem,
    files_problem,
    images_problem,
    missing_key,
    parse_ref,
    provider_key,
    ref_problem,
    runs_code,
)
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.specs import specs
from po_jupyter.platform.source_root import SOURCE_ROOT


def test_an_unknown_provider_is_named_with_the_known_ones():
    """P11."""
    problem = ref_problem("openia:gpt")
    assert problem.startswith("no provider is called 'openia'; did you mean `openai`? (known: alibaba, ")
    assert "did you mean `moonshot`" in ref_problem("kimi:k2") and "`gemini`" in ref_problem("google:x")
    with pytest.raises(InvalidInput, match="did you mean `openai`"):
        parse_ref("openia:gpt")
    assert parse_ref("openai:ft:gpt-4o:x") == ("openai", "ft:gpt-4o:x")


@pytest.mark.parametrize("ref", ["gpt-4o", "openai:", ":x", ""])
def test_a_ref_without_its_two_parts_is_explained(ref):
    assert "write provider:model" in ref_problem(ref)


def test_a_missing_key_names_the_variable_and_the_command():
    """P11, G16."""
    assert missing_key("openai:gpt-4o", {}) == "OPENAI_API_KEY"
    assert missing_key("openai:gpt-4o", {"OPENAI_API_KEY": "x"}) is None
    assert missing_key("fake:echo", {}) is None
    with pytest.raises(ModelKeyError) as caught:
        Providers({"OPENAI_API_KEY": "  "}).get("openai:gpt-4o")
    assert "OPENAI_API_KEY" in str(caught.value) and "po keys set openai" in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "späte"])
def test_a_key_that_cannot_be_sent_is_found_early_and_not_shown(key):
    """P10."""
    with pytest.raises(ModelKeyError) as caught:
        provider_key(specs()["openai"], {"OPENAI_API_KEY": key})
    assert key not in str(caught.value)


@pytest.mark.parametrize("key", ['"sk-1234"', "'sk-1234'", ' "sk-1234" ', "sk-1234\n"])
def test_a_key_in_quotes_is_the_key_inside(key):
    assert provider_key(specs()["openai"], {"OPENAI_API_KEY": key}) == "sk-1234"
    assert missing_key("openai:x", {"OPENAI_API_KEY": '""'}) == "OPENAI_API_KEY"
    assert provider_key(specs()["openai"], {"OPENAI_API_KEY": "sk-'12"}) == "sk-'12"


def test_a_key_that_is_optional_may_be_missing():
    assert provider_key(specs()["ollama"], {}) is None and missing_key("ollama:qwen3:4b", {}) is None
    assert provider_key(specs()["ollama"], {"OLLAMA_API_KEY": " k "}) == "k"
    assert provider_key(specs()["fake"], {}) is None


def test_what_a_provider_cannot_do_is_said_in_one_line():
    assert (
        images_problem("deepseek:deepseek-chat")
        == "deepseek takes no images, and the model is deepseek:deepseek-chat"
    )
    assert images_problem("openai:gpt-4o") is None and images_problem("nobody:x") is None
    assert "(anthropic, gemini, mistral, openai), and groq has none here" in batch_problem("groq:llama-3.3")
    assert batch_problem("openai:gpt-4o") is None and batch_problem("nobody:x") is None
    assert runs_code("codex-cli:default") and not runs_code("openai:gpt-4o") and not runs_code("nobody:x")


@pytest.mark.parametrize(
    ("able", "unable"),
    [
        ("openai:gpt-5-mini", "openai:gpt-3.5-turbo"),
        ("openai:gpt-4o-mini", "openai:gpt-4o-audio-preview"),
        ("openai:o4-mini", "openai:o3-mini"),
        ("anthropic:claude-sonnet-4-5", "anthropic:claude-3-haiku-20240307"),
        ("anthropic:claude-3-5-haiku-20241022", "anthropic:claude-2.1"),
        ("gemini:gemini-2.5-flash", "gemini:gemini-2.5-flash-preview-tts"),
        ("bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock:openai.gpt-oss-120b-1:0"),
        ("bedrock:amazon.nova-lite-v1:0", "bedrock:amazon.nova-micro-v1:0"),
        ("nobody:x", "vllm:Qwen/Qwen3-4B"),
        ("fake:echo", "local:smollm2-135m"),
    ],
)
def test_models_that_cannot_read_pdf_are_refused_with_those_that_can(able: str, unable: str):
    assert files_problem(able) is None
    assert "for example, anthropic:" in (files_problem(unable) or "")


@pytest.mark.parametrize(
    ("vectors", "answers"),
    [
        ("openai:text-embedding-3-small", "openai:gpt-5-mini"),
        ("gemini:gemini-embedding-001", "gemini:gemini-2.5-flash"),
        ("vertex:text-multilingual-embedding-002", "vertex:gemini-2.5-pro"),
        ("mistral:codestral-embed", "mistral:mistral-small-latest"),
        ("alibaba:text-embedding-v4", "alibaba:qwen-plus"),
        ("zhipu:embedding-3", "zhipu:glm-4.7"),
    ],
)
def test_models_that_make_vectors_give_no_answers(vectors: str, answers: str):
    assert embeddings_problem(vectors) is None and answers_problem(answers) is None
    assert "gives answers and makes no vectors" in (embeddings_problem(answers) or "")
    assert f"gives no answers; name one that does, for example {vectors.partition(':')[0]}:" in (
        answers_problem(vectors) or ""
    )


@pytest.mark.parametrize("ref", ["ollama:nomic-embed-text", "local:smollm2-135m", "azure:mine", "nobody:x"])
def test_names_of_ones_own_servers_tell_nothing(ref: str):
    assert embeddings_problem(ref) is None and answers_problem(ref) is None


@pytest.mark.integration
def test_naming_providers_needs_neither_http_nor_prices():
    code = "import sys; from po_jupyter.llm.providers.refs import ref_problem; ref_problem('openai:x')\n"
    code += "print([m for m in ('httpx', 'aiohttp', 'genai_prices', 'jsonschema') if m in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=SOURCE_ROOT, check=True
    )
    assert ran.stdout.strip() == "[]"
