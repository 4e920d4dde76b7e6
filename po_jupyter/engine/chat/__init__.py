"""`ctx.llm`: chats, streams, chains, tool loops and parallel calls of Python tasks."""
