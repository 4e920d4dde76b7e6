"""The variants of a map, as a person gets them: what each answered, paid and scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from po_jupyter.client.evals.comparison import map_of
from po_jupyter.client.frames import frame_library
from po_jupyter.errors import NotFound
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.comparing import VariantsOfTask, VariantSummary
from po_jupyter.presentation.comparisons import variants_html, variants_text

if TYPE_CHECKING:
    from po_jupyter.client.async_client import AsyncClient
    from po_jupyter.model.run.view import RunView


class VariantComparison:
    """The variants of one map beside each other. It draws itself in a cell; `summary` has all of it as JSON."""

    def __init__(self, summary: VariantsOfTask) -> None:
        """Variants as the server has them."""
        self.summary = summary

    def __getitem__(self, name: str) -> VariantSummary:
        """One variant by its name. NotFound."""
        names = [variant["name"] for variant in self.summary["variants"]]
        if name not in names:
            raise NotFound(
                f"task {self.summary['task']!r} has no variant {name!r:.60}{did_you_mean(name, names)}"
            )
        return self.summary["variants"][names.index(name)]

    def frame(self) -> Any:
        """The variants as a DataFrame of pandas: a row each, with the mean of each score and its interval."""
        cells = []
        for variant in self.summary["variants"]:
            row: dict[str, Any] = {k: v for k, v in variant.items() if k not in ("scores", "models")}
            row["models"] = ", ".join(variant["models"])
            for score in variant["scores"]:
                low, high = score["interval"] or (None, None)
                row |= {
                    score["name"]: score["mean"],
                    f"{score['name']}_low": low,
                    f"{score['name']}_high": high,
                }
            cells.append(row)
        return frame_library("pandas").DataFrame(cells).set_index("name").rename_axis("variant")

    def __str__(self) -> str:
        """All of it as text."""
        return variants_text(self.summary)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return variants_html(self.summary)


async def compare_variants(aio: AsyncClient, run: RunView, task: str | None) -> VariantComparison:
    """The variants of a map; without `task` of the only one. Raises InvalidInput, NotFound."""
    return VariantComparison(await aio.inspection.variants(run.id, map_of(run, task)))
