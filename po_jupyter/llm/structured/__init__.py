"""Answers that fit a JSON Schema: what to ask of a vendor, how to read and judge what comes."""
