"""Definitions of pipelines: parsed from YAML or JSON, validated with the line of each violation."""
