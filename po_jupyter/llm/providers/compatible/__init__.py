"""Services that speak OpenAI's Chat Completions, each described by data."""
