"""The server's extension as the service of shared runs has it: the same routes, and the hub's word on who asks."""

from __future__ import annotations

from typing import Any

from traitlets import Instance

from po_jupyter.hub.identity import TokenAuthority
from po_jupyter.hub_runs.people import HubPeople
from po_jupyter.hub_runs.roles import GroupRoles
from po_jupyter.server.extension import PoExtension


class SharedRunsExtension(PoExtension):
    """Prompt pipelines that run in the hub, beside everybody's server."""

    hub_tokens: Any = Instance(object, help="Who people are by their tokens: a TokenAuthority.").tag(
        config=True
    )
    roles = Instance(GroupRoles, args=(), help="What members of groups may do.").tag(config=True)

    def initialize_settings(self) -> None:
        """As the base, with people of the hub."""
        super().initialize_settings()
        tokens: TokenAuthority = self.hub_tokens
        self.authenticator = HubPeople(self.po_settings, tokens, self.roles, self.host)
