"""IPC between the orchestrator and its workers: frames over a local socket, messages, exit statuses.

For other rooms: `messages` and `rate_messages` (one dataclass per message), `wire` (`IpcMessage`, `Vocabulary`),
`channel` (`Channel`, `Listener`, `connect`, `notify`, `address_of`), `credentials` (`Credential`), `exit_status`
(`ExitStatus`) and `turn_file`.
"""
