"""The watch folder: files dropped there become runs.

For the rest of the orchestrator: `watcher.InboxWatcher` over a `folder.InboxFolder`.
"""
