# mypy: ignore-errors
# jupyterhub_config.py: what a hub needs for a team's models. Yours, for authenticator and spawner, goes around it: what
# stands above stays, since lists are extended here. A service and a role may be there once, though: whoever has an
# `idle-culler` leaves both out here, and whoever has a role `user` puts its scope there.
import os
import sys

c = get_config()

# Where users' servers reach the hub's proxy. On one machine that is the proxy's own address, in Kubernetes
# http://proxy-public.NAMESPACE.svc
proxy = os.environ.get("TEAM_PROXY", "http://127.0.0.1:8000")
limits = os.environ.get("TEAM_LIMITS", "/etc/jupyterhub/po/limits.yaml")  # root's, in a directory of mode 0700

# The gateway's port is below 1024, which only root may open: the proxy sends everybody's tokens there, and while the
# gateway is down (an upgrade, no memory) any user of the machine could listen on a port above. Where the hub is not
# root, nobody else may have a shell on its machine or in its pod.
# The gateway alone has the team's keys: it reads them from the files that limits.yaml names.
c.JupyterHub.services.extend([
    {
        "name": "po",
        "url": os.environ.get("TEAM_SERVICE", "http://127.0.0.1:931"),
        "command": [sys.executable, "-m", "po_jupyter.hub", "--config", limits],
        "oauth_no_confirm": True,
        # What the service's page may know of who logs in: else an admin sees no more there than everybody.
        "oauth_client_allowed_scopes": ["custom:po:admin"],
    },
    {
        "name": "idle-culler",
        "command": [
            sys.executable, "-m", "jupyterhub_idle_culler",
            "--timeout=" + os.environ.get("TEAM_CULL", "3600"),
            "--cull-every=" + os.environ.get("TEAM_CULL_EVERY", "300"),
        ],
    },
])  # fmt: skip

c.JupyterHub.custom_scopes.update({
    "custom:po:admin": {"description": "See and change the limits and usage of models"},
})  # fmt: skip
c.JupyterHub.load_groups.update({"po-admins": {"users": []}})
team_roles = [
    {"name": "user", "scopes": ["self", "access:services!service=po"]},
    {"name": "po-admin", "groups": ["po-admins"], "scopes": ["custom:po:admin", "access:services!service=po"]},
    {
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    },
]
c.JupyterHub.load_roles.extend(team_roles)

# A server's token may ask the gateway, and nothing else that its user may.
c.Spawner.server_token_scopes.extend([
    "users:activity!user", "access:servers!server", "access:services!service=po",
])  # fmt: skip
c.Spawner.environment.update({"PO_HUB_URL": f"{proxy}/services/po"})
