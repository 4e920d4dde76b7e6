"""JSON answers: dialects of JSON Schema for the vendors, parsing and validation of answers, example values.

For other rooms: `parsing` (`parse_json`, `answer_validator`, `reask`) and `example_value.example_value`. Authors of
providers import `po_jupyter.providers` instead of `dialects`.
"""
