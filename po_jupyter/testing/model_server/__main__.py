"""The model server as a program."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from po_jupyter.testing.model_server.server import ModelServer


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m po_jupyter.testing.model_server`: print `{"port", "base_url"}`, serve until stdin closes."""
    parser = argparse.ArgumentParser(prog="model_server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--reply", help="a fixed answer instead of the echo")
    parser.add_argument("--key", help="the only API key to accept")
    parser.add_argument("--log", help="a JSONL file of requests and answers, appended to")
    options = parser.parse_args(argv)
    with ModelServer(
        options.reply, latency=options.latency, key=options.key, log=options.log, port=options.port,
        keep=options.log is None,  # whoever started it reads the file
    ) as server:  # fmt: skip
        print(json.dumps({"port": server.port, "base_url": server.base_url}), flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
