"""One call made durable: intent, request, retries, response; the cache of answers; admission."""
