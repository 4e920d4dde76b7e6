"""The files of deployment: they fit the schemas of what reads them, and what they name exists."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from check_jsonschema.builtin_schemas import get_builtin_schema
from jupyter_server.base.handlers import default_handlers
from ruamel.yaml import YAML

from po_jupyter.cli.main import VERBS
from po_jupyter.config import Settings, load
from po_jupyter.distributed.health import NodeHealth, routes
from po_jupyter.llm.specs import specs
from po_jupyter.server.routes import TABLE
from tests.docs.snippets import snippets_of
from tests.docs.test_monitoring import known
from tests.support.paths import ROOT
from tests.support.postgres import postgres_server

FOLDER = ROOT / "po_jupyter" / "docs" / "deployment"
VERSIONS = ("1.32", kubernetes_validate.latest_version())
KEYS = {name for spec in specs().values() for name in spec.key_variables}
OTHERS = {"JUPYTER_TOKEN"}  # Jupyter's own


def compose() -> dict[str, Any]:
    """The services, with what they take over from others."""
    loaded: dict[str, Any] = YAML(typ="safe").load((FOLDER / "compose.yaml").read_text())
    return loaded


def objects(file: str = "kubernetes.yaml") -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all((FOLDER / file).read_text()))


def object_of(kind: str, name: str, file: str = "kubernetes.yaml") -> dict[str, Any]:
    (found,) = [one for one in objects(file) if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, the pod's `spec`, its container."""
    for one in objects():
        if one["kind"] in ("Deployment", "StatefulSet"):
            pod = one["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            yield one["metadata"]["name"], pod, container


def variables(container: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a container of Kubernetes whose values are written out."""
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def nodes() -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Everything that runs our image: name, command, variables."""
    for name, service in compose()["services"].items():
        if service["image"] == "po_jupyter":
            yield f"compose {name}", service["command"], service["environment"]
    for name, _, container in pods():
        yield f"kubernetes {name}", container["args"], variables(container)


def test_compose_is_valid() -> None:
    jsonschema.Draft7Validator(get_builtin_schema("vendor.compose-spec")).validate(compose())


def test_services_of_compose_wait_for_those_that_are_there() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for other, how in (service.get("depends_on") or {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in services[other]
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose()["volumes"]


def test_each_variable_that_compose_asks_for_is_in_the_guide() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+):\?\}", (FOLDER / "compose.yaml").read_text()))
    (listed,) = [s.code for s in snippets_of(FOLDER / "nodes.md") if "compose.env" in s.notes("file")]
    assert asked <= set(re.findall(r"^([A-Z_]+)=", listed, re.M))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_valid(version: str) -> None:
    for one in objects():
        kubernetes_validate.validate(one, version, strict=True)


def test_a_wrong_manifest_would_be_found() -> None:
    one = object_of("Deployment", "po-worker")
    one["spec"]["template"]["spec"]["terminationGracePeriod"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, VERSIONS[0], strict=True)


def test_selectors_select() -> None:
    labels = {name: one["spec"]["template"]["metadata"]["labels"] for one in objects()
              if one["kind"] in ("Deployment", "StatefulSet") for name in [one["metadata"]["name"]]}  # fmt: skip
    for one in objects():
        spec = one["spec"]
        chosen = spec.get("podSelector") or spec.get("selector") or {}
        wanted = chosen.get("matchLabels", chosen)
        assert wanted, one["metadata"]
        assert any(wanted.items() <= of_pod.items() for of_pod in labels.values()), one["metadata"]


def test_variables_are_settings_that_take_their_values() -> None:
    for name, _, environ in nodes():
        ours = {key: value for key, value in environ.items() if key.startswith("PO_")}
        assert {key.removeprefix("PO_").lower() for key in ours} <= set(Settings.model_fields), name
        assert set(environ) - set(ours) <= KEYS | OTHERS, name
        written = {key: str(value) for key, value in ours.items() if value and "$" not in str(value)}
        load(written)


def test_commands_are_verbs_or_jupyter() -> None:
    for name, command, _ in nodes():
        if command[0] == "po":
            assert command[1] in VERBS, name
        else:
            assert command[:2] == ["jupyter", "lab"], name
    text = (FOLDER / "Dockerfile").read_text()
    assert re.search(r'^CMD \["po", "(\w+)"\]', text, re.M)[1] in VERBS  # type: ignore[index]
    assert re.search(r"^ExecStart=\S+/po (\w+)", unit(), re.M)[1] in VERBS  # type: ignore[index]


def unit() -> str:
    return (FOLDER / "po-worker.service").read_text()


def test_the_image_has_what_nodes_need() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert {"lab", "postgres", "celery", "otel"} <= set(extras.split(","))
    (python,) = set(re.findall(r"^FROM python:([\d.]+)-slim", text, re.M))
    assert f"Programming Language :: Python :: {python}" in project["classifiers"]
    instructions = set(re.findall(r"^([A-Z]+) ", text, re.M))
    assert instructions <= {"FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "ENV", "ENTRYPOINT", "CMD"}
    assert text.index("USER 1000") < text.index("VOLUME"), "the directory belongs to who runs there"


def test_no_two_containers_share_a_data_directory() -> None:
    """A worker may be there many times; a volume with a name would be one for all."""
    worker = compose()["services"]["worker"]
    assert "volumes" not in worker
    assert "PO_NODE" not in worker["environment"]
    (data,) = [
        v
        for v in object_of("Deployment", "po-worker")["spec"]["template"]["spec"]["volumes"]
        if v["name"] == "data"
    ]
    assert data["emptyDir"] == {}


def test_the_end_of_a_node_takes_longer_than_its_calls() -> None:
    """Killed in the middle of a drain, what is in flight would be paid for twice."""
    for name, pod, container in pods():
        stop = float(variables(container).get("PO_SHUTDOWN_TIMEOUT", "25"))  # STOP_IN_POD
        assert pod["terminationGracePeriodSeconds"] >= stop + 20, name
    for name, service in compose()["services"].items():
        if service["image"] == "po_jupyter":
            stop = float(service["environment"]["PO_SHUTDOWN_TIMEOUT"])
            assert int(service["stop_grace_period"].removesuffix("s")) >= stop + 20, name
    assert "KillMode=mixed" in unit()
    stop, patience = (
        float(re.search(rf"{key}=(\d+)", unit())[1]) for key in ("PO_SHUTDOWN_TIMEOUT", "TimeoutStopSec")
    )  # type: ignore[index]
    assert patience >= stop + 20


def test_probes_ask_at_paths_and_ports_that_are_there() -> None:
    of_node = {route.path for route in routes(NodeHealth())}
    of_jupyter = {f"/{path}" for path, _ in default_handlers}  # `api`, as it writes it
    of_server = {f"/po/api/v1/{route.path}" for route in TABLE.routes}
    for name, _, container in pods():
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
            probe = container[kind]
            if "exec" in probe:
                (path,) = re.findall(r"http://127\.0\.0\.1:8888(/[\w/]+)", probe["exec"]["command"][-1])
                assert path in of_server, name
                compile(probe["exec"]["command"][-1], name, "exec")
            else:
                assert probe["httpGet"]["path"] in (of_node if name == "po-worker" else of_jupyter), name
                assert probe["httpGet"]["port"] in ports, name
        if "health" in ports:
            assert variables(container)["PO_HEALTH_PORT"] == str(ports["health"])
        else:
            assert f"--port={ports['http']}" in container["args"]
    for name, service in compose()["services"].items():
        if service["image"] == "po_jupyter":
            compile(service["healthcheck"]["test"][-1], name, "exec")
            (path,) = re.findall(r"http://127\.0\.0\.1:\d+(/[\w/]+)", service["healthcheck"]["test"][-1])
            assert path in of_node | of_server, name


def test_each_key_of_the_secret_is_made_by_the_guide() -> None:
    (made,) = [s.code for s in snippets_of(FOLDER / "nodes.md") if "create secret" in s.code]
    keys = set(re.findall(r"--from-literal=([\w-]+)=", made))
    used = {
        e["valueFrom"]["secretKeyRef"]["key"]
        for _, _, c in pods()
        for e in c["env"]
        if "secretKeyRef" in e.get("valueFrom", {})
    }
    (reference,) = object_of("TriggerAuthentication", "po-database", "keda.yaml")["spec"]["secretTargetRef"]
    assert used | {reference["key"]} == keys


def test_no_secret_is_written_down() -> None:
    for file in ("compose.yaml", "kubernetes.yaml", "keda.yaml"):
        for line in (FOLDER / file).read_text().splitlines():
            if re.search(r"(?i)(password|token|_key)\b.*:", line) and not line.lstrip().startswith("#"):
                assert re.search(r"secretKeyRef|\$\{|automountServiceAccountToken", line), f"{file}: {line}"


# -- KEDA ---------------------------------------------------------------------------------------------------

# What KEDA 2.21 knows of what is used here, by its reference (scaledobject-spec, scalers/postgresql and /prometheus).
SCALED = {"scaleTargetRef", "pollingInterval", "cooldownPeriod", "minReplicaCount", "maxReplicaCount", "fallback",
          "advanced", "triggers"}  # fmt: skip
TRIGGERS = {
    "postgresql": ({"query", "targetQueryValue"}, {"activationTargetQueryValue", "connectionFromEnv"}),
    "prometheus": ({"serverAddress", "query", "threshold"}, {"activationThreshold", "ignoreNullValues"}),
}


def scaled() -> dict[str, Any]:
    spec: dict[str, Any] = object_of("ScaledObject", "po-worker", "keda.yaml")["spec"]
    return spec


def test_the_scaled_object_is_one_that_keda_reads() -> None:
    assert {one["apiVersion"] for one in objects("keda.yaml")} == {"keda.sh/v1alpha1"}
    assert set(scaled()) <= SCALED
    assert object_of("Deployment", scaled()["scaleTargetRef"]["name"])
    assert 0 <= scaled()["minReplicaCount"] <= scaled()["fallback"]["replicas"] <= scaled()["maxReplicaCount"]
    names = {one["metadata"]["name"] for one in objects("keda.yaml") if one["kind"] == "TriggerAuthentication"}
    for trigger in scaled()["triggers"]:
        needed, possible = TRIGGERS[trigger["type"]]
        assert needed <= set(trigger["metadata"]) <= needed | possible
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA takes texts alone"
        assert trigger.get("authenticationRef", {"name": "po-database"})["name"] in names


def test_a_worker_more_comes_for_as_many_runs_as_one_has_slots() -> None:
    ((_, _, container),) = [pod for pod in pods() if pod[0] == "po-worker"]
    slots = variables(container)["PO_MAX_RUNNING"]
    for trigger in scaled()["triggers"]:
        assert slots in (trigger["metadata"].get("targetQueryValue"), trigger["metadata"].get("threshold"))


def test_the_metric_that_scales_exists() -> None:
    (query,) = [t["metadata"]["query"] for t in scaled()["triggers"] if t["type"] == "prometheus"]
    used = set(re.findall(r"po_\w+", query))
    assert used
    assert used <= set(known())


@pytest.mark.integration
def test_the_query_that_scales_counts_what_works_and_waits() -> None:
    from po_jupyter.store.postgres.store import PostgresStore
    from po_jupyter.store.protocol import Commit
    from po_jupyter.testing.conformance.store import new_run

    (query,) = [t["metadata"]["query"] for t in scaled()["triggers"] if t["type"] == "postgresql"]
    with postgres_server() as server:
        store = PostgresStore(server.database)  # the schema that a URL without one means
        for number, state in enumerate(("pending", "running", "waiting", "done")):
            run = f"00a{number}"
            store.create_run(new_run(run))
            store.commit(store.claim(run, {"pid": 1}), Commit(state=state, release=True))
        store.close()
        server.execute("CREATE ROLE po_keda LOGIN")
        server.execute("GRANT USAGE ON SCHEMA po_jupyter TO po_keda")
        server.execute("GRANT SELECT (state) ON po_jupyter.heads TO po_keda")
        import psycopg

        with psycopg.connect(server.database.replace("nobody@", "po_keda@")) as counting:
            assert counting.execute(query).fetchone() == (2,)
