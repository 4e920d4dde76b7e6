"""What callers hand to the client, made into what HTTP takes: pipelines, seeds, the kernel's own keys."""
