"""OpenAI: the Responses API, Chat Completions (from `providers.compatible`) and the Batch API."""
