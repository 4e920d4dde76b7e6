"""Prompt tasks: sandboxed templates, and the stages that ask a model."""
