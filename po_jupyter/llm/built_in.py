"""The built-in providers: the rows of the provider table, and other names that people try. Data alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from po_jupyter.llm.provider_spec import Login, Spec


def _compatible(
    name: str,
    base_url: str,
    example: str,
    *,
    price_id: str = "",
    prefix: str = "",
    key_env: str = "",
    images: bool = True,
    embeddings: bool = False,
    embedding_models: str = "",
    price_note: str = "",
    domains: tuple[str, ...] = (),
    audio: str = "",
    logprobs: str = "",
) -> Spec:
    """A vendor whose server speaks Chat Completions; its differences are in `providers.compatible.family`."""
    prefix = prefix or name.upper()
    return Spec(
        name,
        "po_jupyter.llm.providers.compatible.chat_completions:make",
        key_env=key_env or f"{prefix}_API_KEY",
        base_env=f"{prefix}_BASE_URL",
        base_url=base_url,
        price_id=price_id,
        example=example,
        images=images,
        audio=audio,
        logprobs=logprobs,
        embeddings=embeddings,
        embedding_models=embedding_models,
        price_note=price_note,
        domains=domains,
    )


def _own_server(name: str, base_url: str, example: str, audio: str = "", logprobs: str = ".") -> Spec:
    """A server with Chat Completions on the user's own machines: without a bill, and mostly without a key."""
    return replace(
        _compatible(name, base_url, example, embeddings=True, audio=audio, logprobs=logprobs),
        free=True,
        key_optional=True,
    )


def _cli_agent(name: str, example: str, *keys: str) -> Spec:
    return Spec(
        name,
        "po_jupyter.llm.providers.cli_agents.client:make",
        example=example,
        runs_code=True,
        images=False,
        price_note="the program bills its own account, and says itself what a call cost, if it knows",
        agent_keys=keys,
    )


_AWS = Login(
    "po_jupyter.llm.providers.bedrock.login:obtain",
    credentials=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    extra="bedrock",
    module="botocore",
    variables=(
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    files=(".aws/credentials", ".aws/config"),
    machines=("Amazon EC2",),
)

_GOOGLE_CLOUD = Login(
    "po_jupyter.llm.providers.vertex.login:obtain",
    credentials=("VERTEX_ACCESS_TOKEN", "VERTEX_LOGIN_PROJECT", "VERTEX_LOGIN_QUOTA_PROJECT"),
    extra="vertex",
    module="google.auth",
    variables=("GOOGLE_APPLICATION_CREDENTIALS",),
    files=(".config/gcloud/application_default_credentials.json",),
    machines=("Google Compute Engine",),
)

_GOOGLE_EMBEDDINGS = r"(?:gemini-|text-(?:multilingual-)?)?embedding|textembedding|multimodalembedding"

# Of open models, as their makers call them ("Supported models", docs.vllm.ai; "Multimodal", llama.cpp).
_HEARING = r"(?i:.*(?:audio|voxtral|ultravox|omni))"
_GEMINI_READERS = r"gemini-(?!.*(?:embedding|tts|image|audio|live))"

BUILT_IN: tuple[Spec, ...] = (
    Spec(
        "openai",
        "po_jupyter.llm.providers.openai.client:make",
        key_env="OPENAI_API_KEY",
        base_env="OPENAI_BASE_URL",
        base_url="https://api.openai.com/v1",
        price_id="openai",
        example="openai:gpt-5-mini",
        batch=True,
        # Those that see ("File inputs"); o1-mini and o3-mini do not, models of sound hear and speak instead.
        pdf=r"(?:ft:)?(?!.*(?:audio|realtime|transcribe|tts|image|search))"
        r"(?:gpt-(?:4o|4\.[15]|[5-9]|\d\d)|chatgpt-4o|o(?:1|3|[4-9])(?!-mini)|o4-mini)",
        # Those that reason give none, but from gpt-5.1 on with `effort: none` ("Using GPT-5", developers.openai.com).
        logprobs=r"(?:ft:)?(?!.*(?:audio|realtime|search|vision))(?:gpt-(?:3\.5|4|5\.[1-9])|gpt-5.*chat|chatgpt-4o)",
        audio="gpt-audio",  # in Chat Completions alone (its page among the models); gpt-4o-audio-preview is shut down
        embeddings=True,
        embedding_models=r"(?i:.*(?:embed|bge-|e5-|gte-|minilm))",  # those of other servers that speak its APIs too
        service_tiers=("flex", "priority"),
    ),
    Spec(
        "anthropic",
        "po_jupyter.llm.providers.anthropic.client:make",
        key_env="ANTHROPIC_API_KEY",
        base_env="ANTHROPIC_BASE_URL",
        base_url="https://api.anthropic.com",
        price_id="anthropic",
        example="anthropic:claude-sonnet-4-5",
        batch=True,
        pdf=r"claude-(?!2|instant|3-(?:opus|sonnet|haiku))",  # "PDF support": all that are active
        service_tiers=("priority",),
    ),
    Spec(
        "gemini",
        "po_jupyter.llm.providers.gemini.client:make",
        key_env="GEMINI_API_KEY",
        base_env="GEMINI_BASE_URL",
        base_url="https://generativelanguage.googleapis.com",
        price_id="google",
        example="gemini:gemini-2.5-flash",
        pdf=_GEMINI_READERS,
        audio=_GEMINI_READERS,
        logprobs=r"gemini-2\.0",  # others: "Logprobs is not enabled" (vercel/ai#5418, langchain-google#1266; 2026-11)
        batch=True,
        embeddings=True,
        embedding_models=_GOOGLE_EMBEDDINGS,
        service_tiers=("flex", "priority"),
    ),
    _compatible(
        "deepseek",
        "https://api.deepseek.com",
        "deepseek:deepseek-chat",
        price_id="deepseek",
        logprobs=r"deepseek-(?!reasoner)",  # "Create Chat Completion", api-docs.deepseek.com
        images=False,
    ),
    _compatible("moonshot", "https://api.moonshot.ai/v1", "moonshot:kimi-k2.5", price_id="moonshotai"),
    _compatible("zai", "https://api.z.ai/api/paas/v4", "zai:glm-4.6", price_id="zai"),
    _compatible(
        "zhipu",
        "https://open.bigmodel.cn/api/paas/v4",
        "zhipu:glm-4.7",
        price_id="zhipuai",
        embeddings=True,
        embedding_models="embedding-",
    ),
    _compatible(
        "alibaba",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "alibaba:qwen-plus",
        prefix="DASHSCOPE",
        embeddings=True,
        embedding_models=r".*embedding",
        price_note="the price list has none of Model Studio, whose prices differ by region: give yours in `prices`",
    ),
    _compatible(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "openrouter:openai/gpt-5-mini",
        price_id="openrouter",
        embeddings=True,
        audio=r"google/gemini-|openai/gpt-audio|mistralai/voxtral",  # "Audio", openrouter.ai/docs
    ),
    _compatible("groq", "https://api.groq.com/openai/v1", "groq:llama-3.3-70b-versatile", price_id="groq"),
    replace(
        _compatible(
            "mistral",
            "https://api.mistral.ai/v1",
            "mistral:mistral-small-latest",
            price_id="mistral",
            audio="voxtral-(?:small|latest)",  # "Chat with Audio", docs.mistral.ai; the minis only transcribe
            embeddings=True,
            embedding_models=r".*embed",
        ),
        factory="po_jupyter.llm.providers.compatible.mistral:make",
        batch=True,
    ),
    _compatible("xai", "https://api.x.ai/v1", "xai:grok-4.20", price_id="x-ai"),
    _compatible(
        "together",
        "https://api.together.xyz/v1",
        "together:openai/gpt-oss-120b",
        price_id="together",
        embeddings=True,
        domains=("together.ai",),
    ),
    _compatible(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        "fireworks:accounts/fireworks/models/gpt-oss-120b",
        price_id="fireworks",
        embeddings=True,
        logprobs=".",  # "Querying text models", docs.fireworks.ai: 5 at most
    ),
    _compatible(
        "cerebras", "https://api.cerebras.ai/v1", "cerebras:gpt-oss-120b", price_id="cerebras", images=False
    ),
    _compatible(
        "huggingface",
        "https://router.huggingface.co/v1",
        "huggingface:openai/gpt-oss-120b:groq",
        price_id="huggingface",
        key_env="HF_TOKEN",
    ),
    _compatible("perplexity", "https://api.perplexity.ai", "perplexity:sonar", price_id="perplexity"),
    Spec(
        "azure",
        "po_jupyter.llm.providers.openai.client:make_azure",
        key_env="AZURE_OPENAI_API_KEY",
        base_env="AZURE_OPENAI_ENDPOINT",
        price_id="azure",
        example="azure:gpt-5-mini",
        logprobs=".",  # as OpenAI's; a model is the name of a deployment, which may be any
        embeddings=True,
        domains=("azure.com", "azure.us", "azure.cn", "azure-api.net"),
    ),
    Spec(
        "bedrock",
        "po_jupyter.llm.providers.bedrock.client:make",
        key_env="AWS_BEARER_TOKEN_BEDROCK",
        base_env="BEDROCK_BASE_URL",
        base_url="https://bedrock-runtime.{region}.amazonaws.com",
        price_id="aws",
        example="bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        domains=("amazonaws.com", "amazonaws.com.cn"),
        pdf=r".*(?:anthropic\.claude-(?!2|v2|instant)|amazon\.nova-(?:lite|pro|premier|2-))",
        service_tiers=("flex", "priority"),
        login=_AWS,
        region_env=("AWS_REGION", "AWS_DEFAULT_REGION"),
    ),
    Spec(
        "vertex",
        "po_jupyter.llm.providers.vertex.client:make",
        key_env="VERTEX_API_KEY",
        base_env="VERTEX_BASE_URL",
        base_url="https://{region}-aiplatform.googleapis.com",
        price_id="google",
        example="vertex:gemini-2.5-flash",
        price_note="the price list has Google's own newer models: give those of others, and of tuned ones, in `prices`",
        embeddings=True,
        # Of Gemini 2 alone: 3 and later refuse them (litellm#31600, GoogleCloudPlatform/generative-ai#2947).
        logprobs=r"(?:publishers/google/models/)?gemini-2\.",
        audio=rf"(?:publishers/google/models/)?{_GEMINI_READERS}",
        embedding_models=rf"(?:publishers/google/models/)?(?:{_GOOGLE_EMBEDDINGS})",
        login=_GOOGLE_CLOUD,
        region_env=("GOOGLE_CLOUD_LOCATION",),
    ),
    _own_server("ollama", "http://127.0.0.1:11434/v1", "ollama:qwen3:4b"),
    _own_server("vllm", "http://127.0.0.1:8000/v1", "vllm:Qwen/Qwen3-4B", _HEARING),
    _own_server("lmstudio", "http://127.0.0.1:1234/v1", "lmstudio:qwen3-4b", logprobs=""),
    _own_server("llamacpp", "http://127.0.0.1:8080/v1", "llamacpp:any", _HEARING),
    Spec(
        "local",
        "po_jupyter.llm.providers.local:make",
        free=True,
        example="local:smollm2-135m",
        images=False,
        embeddings=True,
        answer_tokens=1024,
    ),
    Spec(
        "fake",
        "po_jupyter.llm.providers.fake:make",
        free=True,
        example="fake:echo",
        pdf=".*",
        audio=".*",
        logprobs=".*",
        embeddings=True,
        service_tiers=("flex", "priority"),
    ),
    _cli_agent(
        "claude-cli",
        "claude-cli:sonnet",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_API_KEY",
        "CLAUDE_CODE_OAUTH_TOKEN",
    ),
    _cli_agent("codex-cli", "codex-cli:default", "CODEX_API_KEY", "OPENAI_API_KEY"),
    _cli_agent("opencode-cli", "opencode-cli:anthropic/claude-sonnet-4-5", "OPENCODE_API_KEY"),
)

# Other names that people try; the error for an unknown provider suggests the right one.
ALSO_CALLED: Mapping[str, str] = {
    "qwen": "alibaba", "dashscope": "alibaba", "kimi": "moonshot", "google": "gemini", "claude": "anthropic",
    "glm": "zai", "z.ai": "zai", "zhipuai": "zhipu", "llama.cpp": "llamacpp", "llama-cpp": "llamacpp",
    "lm-studio": "lmstudio", "chatgpt": "openai", "gpt": "openai", "grok": "xai", "x-ai": "xai", "x.ai": "xai",
    "hf": "huggingface", "hugging-face": "huggingface", "togetherai": "together", "together-ai": "together",
    "fireworks-ai": "fireworks", "mistralai": "mistral", "sonar": "perplexity", "pplx": "perplexity",
    "azure-openai": "azure", "azureopenai": "azure", "azure_openai": "azure",
    "aws": "bedrock", "amazon": "bedrock", "aws-bedrock": "bedrock",
    "vertexai": "vertex", "vertex-ai": "vertex", "vertex_ai": "vertex", "google-vertex": "vertex", "gcp": "vertex",
}  # fmt: skip
