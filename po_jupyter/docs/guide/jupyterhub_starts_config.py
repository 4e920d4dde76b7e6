# mypy: ignore-errors
# Servers that come back by themselves: this goes below what jupyterhub_config.py has for a team's models.
# `servers` is of everybody; "servers!group=NAME" and "read:servers!group=NAME" are of a group's members alone.
c.JupyterHub.load_roles.extend([
    {"name": "po-starts", "services": ["po"], "scopes": ["read:users:name", "read:servers", "servers"]},
])  # fmt: skip
