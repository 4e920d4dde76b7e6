"""Verbs about how good answers are: by metrics and models, by people, by tests of prompts."""
