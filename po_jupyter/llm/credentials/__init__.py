"""API keys of providers: kept, found, checked, and never shown."""
