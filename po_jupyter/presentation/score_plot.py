"""Scores as a figure: means with their intervals, and the confusion matrices beside them. Drawn by matplotlib."""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from typing import Any

from po_jupyter.errors import PoError
from po_jupyter.model.run.scores import ConfusionTable, MeanScore, ScoresOfTask
from po_jupyter.presentation.scores import score_number, title

_CLASSES = 20
_DPI = 110
_AS_IT_IS: Any = {"parse_math": False}  # what models and people wrote is no formula, though it has dollar signs
_INK, _BLUE, _GREY = "#222222", "#1f6fb2", "#888888"


class ScorePlot:
    """A plot that draws itself in a cell, as a PNG. `figure` is the Figure of matplotlib."""

    def __init__(self, figure: Any) -> None:
        """Of a figure."""
        self.figure = figure

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.figure.savefig(file, format="png", dpi=_DPI)
        return file.getvalue()

    def __repr__(self) -> str:
        """The size; the picture is in the cell."""
        width, height = self.figure.get_size_inches()
        return f"<plot of scores, {width:.1f} x {height:.1f} inches>"


def score_figure(scores: ScoresOfTask) -> Any:
    """A figure of matplotlib. Raises PoError where that is not installed, and without a score."""
    try:
        figures = import_module("matplotlib.figure")
    except ImportError:
        raise PoError("a plot needs matplotlib", hint="Install it here: %pip install matplotlib") from None
    means = [score for score in scores["scores"] if score["mean"] is not None]
    if not means and not scores["confusion"]:
        raise PoError(f"task {scores['task']!r:.60} has no score to plot")
    tables = scores["confusion"]
    widths = ([5.2] if means else []) + [max(3.2, 0.55 * min(len(t["labels"]), _CLASSES) + 2.2) for t in tables]
    height = max(1.6 + 0.42 * len(means), *(0.5 * min(len(t["labels"]), _CLASSES) + 1.6 for t in tables), 2.2)
    figure = figures.Figure(figsize=(sum(widths), height), layout="constrained")
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    if means:
        _draw_means(axes[0], means, title(scores))
    for table, area in zip(tables, axes[1 if means else 0 :], strict=True):
        _draw_confusion(area, table)
    return figure


def _draw_means(area: Any, means: list[MeanScore], caption: str) -> None:
    for place, score in enumerate(means):
        mean, interval = score["mean"] or 0.0, score["interval"]
        if interval is not None:
            area.plot(interval, [place, place], color=_BLUE, linewidth=5, alpha=0.35, solid_capstyle="butt")
        area.plot([mean], [place], marker="o", color=_BLUE, markersize=7, clip_on=False)
        end = interval[1] if interval is not None else mean
        area.annotate(
            f"{score_number(mean)}  (n = {score['scored']:,})", (end, place), xytext=(8, 0),
            textcoords="offset points", va="center", fontsize=9, color=_INK, annotation_clip=False,
        )  # fmt: skip
    area.set_yticks(range(len(means)), [score["name"] for score in means], **_AS_IT_IS)
    area.set_ylim(len(means) - 0.4, -0.6)
    lows = [score["low"] for score in means if score["low"] is not None]
    highs = [score["high"] for score in means if score["high"] is not None]
    if len(lows) == len(means):
        area.set_xlim(min(lows), max(highs))
    area.set_title(caption, loc="left", fontsize=10, **_AS_IT_IS)
    area.set_xlabel("mean, with the interval of 95 %", fontsize=9, color=_INK)
    area.grid(axis="x", color=_GREY, alpha=0.25)
    area.spines[["top", "right", "left"]].set_visible(False)
    area.tick_params(length=0, labelsize=9)


def _draw_confusion(area: Any, table: ConfusionTable) -> None:
    labels = table["labels"][:_CLASSES]
    n = len(labels)
    counts = [row[:n] for row in table["counts"][:n]]
    sums = [sum(row) or 1 for row in counts]
    shares = [[count / total for count in row] for row, total in zip(counts, sums, strict=True)]
    area.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i in range(n):
        for j in range(n):
            if counts[i][j]:
                ink = "white" if shares[i][j] > 0.55 else _INK
                area.text(j, i, f"{counts[i][j]:,}", ha="center", va="center", fontsize=9, color=ink)
    area.set_xticks(
        range(n), labels, rotation=35 if max(map(len, labels)) > 5 else 0, ha="right" if n > 4 else "center",
        **_AS_IT_IS,
    )  # fmt: skip
    area.set_yticks(range(n), labels, **_AS_IT_IS)
    area.set_xlabel("answered", fontsize=9)
    area.set_ylabel("expected", fontsize=9)
    area.set_title(table["name"], loc="left", fontsize=10, **_AS_IT_IS)
    area.tick_params(length=0, labelsize=9)
