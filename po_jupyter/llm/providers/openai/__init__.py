"""OpenAI: Responses, Chat Completions and the Batch API."""
