"""Redirection of descriptors 1 and 2, in a process of its own: what a subprocess writes is in the stage's log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, subprocess, sys
from pathlib import Path
from po_jupyter.engine.stage_logs.fd_redirect import stdio_redirect

run = Path(sys.argv[1])
one, two = run / "logs/t/one.log", run / "logs/t/two.log"
stdio_redirect.own(run)
stdio_redirect.enter("one", one, alone=True)
subprocess.run(["echo", "from a subprocess"], check=True)
stdio_redirect.enter("two", two, alone=True)
os.write(2, b"both run")
stdio_redirect.leave("two")
os.write(1, b"one again")
stdio_redirect.leave("one")
os.write(1, b"nobody runs")
stdio_redirect.disown()
"""


def test_what_is_written_past_python_goes_to_the_stage_that_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True
    )
    logs = tmp_path / "logs" / "t"
    assert (logs / "one.log").read_text() == "from a subprocess\none again"
    assert not (logs / "two.log").exists()
    shared = (logs / "output.log").read_text()
    assert shared.startswith("[several stages")
    assert shared.endswith("both run")
    assert (done.stdout, done.stderr) == ("nobody runs", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs"]
