"""The dashboard, the alert rules and the guide name metrics that exist, and the guide names all of them."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest
from ruamel.yaml import YAML

from po_jupyter.orchestrator.views.workers import NodeState
from po_jupyter.telemetry.metrics import Metrics
from tests.support.paths import ROOT

DOCS = ROOT / "po_jupyter" / "docs"
DASHBOARD = DOCS / "deployment" / "grafana-dashboard.json"
RULES = DOCS / "deployment" / "prometheus-rules.yaml"
GUIDE = DOCS / "guide" / "monitoring.md"


def known() -> dict[str, str]:
    """Each metric as it is scraped (`po_runs_ended_total`), with its help."""
    families = (family for family in Metrics().registry.collect() if family.name.startswith("po_"))
    return {f.name + ("_total" if f.type == "counter" else ""): f.documentation for f in families}


def test_the_guide_lists_every_metric() -> None:
    listed = dict(re.findall(r"^\| `(po_\w+)` \| (.+) \|$", GUIDE.read_text(), re.MULTILINE))
    assert listed == known()


@pytest.mark.parametrize("file", [DASHBOARD, RULES], ids=lambda file: file.name)
def test_only_metrics_that_exist_are_used(file: object) -> None:
    text = DASHBOARD.read_text() if file == DASHBOARD else RULES.read_text()
    used = {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bpo_[a-z_]+", text)} - {"po_jupyter"}
    assert used, "or the pattern is wrong"
    assert used <= set(known()), used - set(known())


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["targets"] and panel["title"] and panel["gridPos"]["w"] <= 24 for panel in panels)


def test_each_alert_says_what_happened() -> None:
    (group,) = YAML(typ="safe").load(RULES.read_text())["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for rule in group["rules"]:
        assert rule["annotations"]["summary"] and rule["labels"]["severity"] in ("page", "ticket")


def test_what_serves_alone_is_no_alert() -> None:
    """Servers are scraped, workers without Jupyter are not: `po_holds_store` is 0 everywhere while all is well."""
    rules = RULES.read_text()
    assert "po_holds_store" not in rules
    assert 'max(po_nodes{state="works"}) == 0' in rules and "works" in get_args(NodeState)


def test_only_labels_that_exist_are_used_and_counters_as_rates() -> None:
    """A selector or a `by` of another label gives nothing, and no error; a sum since the start says nothing."""
    labels = {m._name: {*m._labelnames} for m in vars(Metrics()).values() if hasattr(m, "_labelnames")}
    texts = [t["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for t in panel["targets"]]
    (group,) = YAML(typ="safe").load(RULES.read_text())["groups"]
    for text in [*texts, *(rule["expr"] for rule in group["rules"])]:
        names = re.findall(r"\bpo_[a-z_]+", text)
        has = set().union(*(labels[re.sub(r"_(bucket|total)$", "", name)] for name in names))
        used = re.findall(r"(\w+)=", text) + re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", text)))
        assert {*used} <= has | {"le"}, text
        assert "histogram_quantile" not in text or " by " not in text or "le" in used, text
        grows = [name for name in names if name.endswith(("_bucket", "_total"))]
        assert len(grows) == len(re.findall(r"\b(?:rate|increase)\(po_", text)), text
