"""Verbs that judge answers: by people, by tests of prompts."""
