# mypy: ignore-errors
# Shared runs: this goes below what jupyterhub_config.py has for a team's models.
c.JupyterHub.services.append({
    "name": "po-runs",
    "url": os.environ.get("TEAM_RUNS_SERVICE", "http://127.0.0.1:10302"),
    "command": [
        sys.executable, "-m", "po_jupyter.hub_runs",
        "--data-dir", os.environ.get("TEAM_RUNS", "/var/lib/po-runs"),  # of its own, on a local disk
    ],
    "environment": {"PO_HUB_URL": f"{proxy}/services/po"},
})  # fmt: skip

c.JupyterHub.custom_scopes.update({
    "custom:po:behalf": {"description": "Ask models in the name of a run's owner"},
})  # fmt: skip
for role in team_roles:
    if role["name"] in ("user", "po-admin"):
        role["scopes"].append("access:services!service=po-runs")
c.JupyterHub.load_roles.extend([
    # It asks the gateway in the names of others; the gateway asks the hub who they are.
    {"name": "po-runs", "services": ["po-runs"], "scopes": ["access:services!service=po", "custom:po:behalf"]},
    {
        "name": "po-gateway",
        "services": ["po"],
        "scopes": ["read:users:name", "read:users:groups", "read:groups:name"],
    },
])  # fmt: skip
c.Spawner.server_token_scopes.append("access:services!service=po-runs")
