"""Exporters: handlers that send logs to other machines. Used by `telemetry.logging` only."""
