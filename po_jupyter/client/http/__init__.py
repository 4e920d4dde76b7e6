"""The wire below the client: requests, answers, errors and event streams over HTTP."""
