"""CLI agents as providers: the programs Claude Code, Codex and OpenCode, one start for each call."""
