"""Between orchestrator and worker: frames over a local socket, messages as dataclasses, exit statuses."""
