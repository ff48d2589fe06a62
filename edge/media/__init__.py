"""Media: sealed payloads to central, as they lie in the vault, by policy or because central fetches them. Never a header or a key."""
