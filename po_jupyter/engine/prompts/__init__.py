"""Prompt tasks: sandboxed templates, and the stages that call a model."""
