"""HTTP: security, rate limits, server-sent events, errors, metrics."""
