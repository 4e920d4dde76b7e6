"""Run benchmarks and print what they measured: `python -m tests.benchmarks [NAME ...] [--json FILE]`.

A benchmark is a module `bench_NAME.py` here with `main() -> list[Row]`, a row being
`{name, value, unit, aim, note}`: `aim` is a text such as "<= 5", or "" where there is none. Numbers are
reported, not enforced: the exit code is 0 unless a benchmark breaks.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import operator
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

HERE = Path(__file__).parent
Row: TypeAlias = dict[str, Any]
_COMPARE: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


def benchmarks() -> dict[str, Path]:
    """Every benchmark by its name."""
    return {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}


def run(name: str, path: Path) -> list[Row]:
    """The rows of one benchmark. It is loaded from its file: `tests` is not a package."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    rows: list[Row] = module.main()
    return rows


def verdict(row: Row) -> str:
    """`ok`, `MISSED` or nothing."""
    sign, _, bound = str(row.get("aim") or "").partition(" ")
    if sign not in _COMPARE or row["value"] is None:
        return ""
    return "ok" if _COMPARE[sign](row["value"], float(bound)) else "MISSED"


def shown(value: float | None) -> str:
    """Four digits, or all of a large number."""
    if value is None:
        return "-"
    return f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"


def table(rows: list[Row]) -> str:
    """The rows for reading."""
    cells = [("what", "measured", "unit", "aim", "", "note")]
    for row in rows:
        end = (row.get("aim") or "", verdict(row), row.get("note") or "")
        cells.append((row["name"], shown(row["value"]), row["unit"], *end))
    widths = [max(len(line[i]) for line in cells) for i in range(5)]
    lines = []
    for line in cells:
        name, measured, *rest = (cell.ljust(width) for cell, width in zip(line, widths, strict=False))
        lines.append("  ".join([name, measured.strip().rjust(widths[1]), *rest, line[5]]).rstrip())
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    known = benchmarks()
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which ones (default all): {', '.join(known)}"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there too")
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    started, rows = time.perf_counter(), []
    for name in options.names or known:
        rows += [{"benchmark": name, **row} for row in run(name, known[name])]
    print(table(rows))
    print(f"\nPython {platform.python_version()}, {platform.platform()}, {time.perf_counter() - started:.0f} s")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
