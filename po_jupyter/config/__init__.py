"""Settings, read in one place: defaults, files, `PO_*` variables."""

from po_jupyter.config.loading import OTHER_VARIABLES, PREFIX, PROJECT_DATA, load, project_data
from po_jupyter.config.notifications import NotificationChannel
from po_jupyter.config.prices import Price
from po_jupyter.config.settings import SECRETS, McpServer, Settings

__all__ = [
    "OTHER_VARIABLES",
    "PREFIX",
    "PROJECT_DATA",
    "SECRETS",
    "McpServer",
    "NotificationChannel",
    "Price",
    "Settings",
    "load",
    "project_data",
]
