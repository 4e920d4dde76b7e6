"""The team's models: which one a request means, and which ones a user may use."""

from __future__ import annotations

from po_jupyter.hub.config import GatewayConfig
from po_jupyter.hub.identity import HubUser
from po_jupyter.hub.problems import GatewayProblem


class TeamModels:
    """The models of a configuration. A request gets one of these refs as it is written there, or none."""

    def __init__(self, config: GatewayConfig) -> None:
        """Names are compared without case and outer spaces, and with or without the provider in front."""
        self.refs = config.models
        self._book = config.limits
        self._aliases = {_folded(alias): ref for alias, ref in config.aliases.items()}
        self._by_name: dict[tuple[str, str], str] = {}
        for ref in (*config.models,):
            provider, _, model = ref.partition(":")
            self._by_name.setdefault((provider, _folded(model)), ref)
        for alias, ref in self._aliases.items():
            provider = ref.partition(":")[0]
            self._by_name.setdefault((provider, alias.removeprefix(f"{provider}:")), ref)

    def of_user(self, user: HubUser) -> tuple[str, ...]:
        """The refs that a user may use: of the user's own list, else of those of their groups, else of each user's;
        always within the list of all."""
        book = self._book
        own = book.users[user.name].models if user.name in book.users else None
        if own is None:
            lists = [book.groups[group].models for group in user.groups if group in book.groups]
            named = [names for names in lists if names is not None]
            own = tuple(name for names in named for name in names) if named else book.each_user.models
        allowed = set(self.refs)
        for names in (own, book.all.models):
            if names is not None:
                allowed &= {self._aliases.get(_folded(name), name) for name in names}
        return tuple(ref for ref in self.refs if ref in allowed)

    def resolve(self, user: HubUser, provider: str, name: str) -> str:
        """The ref of the model that a request to a provider names. Raises GatewayProblem when the user may not."""
        folded = _folded(name)
        ref = None
        for prefix in ("", f"{provider}:", f"{provider}/", "models/"):
            if folded.startswith(prefix) and ref is None:
                ref = self._by_name.get((provider, folded[len(prefix) :]))
        allowed = self.of_user(user)
        if ref is None or ref not in allowed:
            shown = ", ".join(allowed) or "none"
            raise GatewayProblem(
                403,
                "model_not_allowed",
                f"{provider}:{name!r:.80} is not for {user.name}. Allowed are: {shown}",
            )
        return ref


def _folded(name: str) -> str:
    return name.strip().lower()
