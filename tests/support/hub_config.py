"""The configuration of the hub of the tests: that of the admin's guide, with ports and directories of the test's own.

`jupyterhub -f` reads it; `PO_TEST_HUB` is a JSON object of `tests.support.jupyterhub.RealHub`.
"""

# ruff: noqa: F821
import json
import os
from pathlib import Path
from typing import Any

c: Any = get_config()  # type: ignore[name-defined]
options = json.loads(os.environ["PO_TEST_HUB"])
folder, python = options["folder"], options["python"]

for name, value in options["guide"].items():  # what the guide's file reads
    os.environ[name] = value
text = "".join(Path(path).read_text("utf-8") for path in options["guide_files"])
exec(text, {"get_config": get_config})  # type: ignore[name-defined]
for section, trait in (
    (c.JupyterHub, "services"), (c.JupyterHub, "load_roles"), (c.Spawner, "server_token_scopes"),
):  # fmt: skip
    section[trait] = section[trait].get_value([])
c.Spawner.environment = c.Spawner.environment.get_value({})

c.JupyterHub.bind_url = options["url"]
c.JupyterHub.hub_bind_url = options["hub_url"]
c.JupyterHub.db_url = f"sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{folder}/cookie_secret"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.last_activity_interval = 2
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = options["proxy_api"]
c.ConfigurableHTTPProxy.auth_token = options["proxy_token"]
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = options["password"]
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {options["admin"]}
c.JupyterHub.load_groups = {name: {"users": users} for name, users in options["groups"].items()}

if options["system_users"]:
    c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
else:
    c.JupyterHub.spawner_class = "simple"
    c.SimpleLocalProcessSpawner.home_dir_template = f"{folder}/home/{{username}}"
c.Spawner.cmd = [python, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root", *options["server_args"]]
c.Spawner.notebook_dir = "~"
c.Spawner.default_url = "/lab"
c.Spawner.http_timeout = 120
c.Spawner.start_timeout = 120
c.Spawner.env_keep = ["PATH", "LANG", "LC_ALL"]
c.Spawner.environment = {**c.Spawner.environment, **options["server_env"]}
c.JupyterHub.services += [{"name": "test", "api_token": options["api_token"]}]
c.JupyterHub.load_roles += [
    {
        "name": "test",
        "services": ["test"],
        "scopes": [
            "admin:users",
            "admin:servers",
            "tokens",
            "list:users",
            "read:servers",
            "read:users:activity",
            "groups",
        ],
    }
]

for service in c.JupyterHub.services:
    if service["name"] == "po" and options["gateway"]:
        service["command"] = options["gateway"]
