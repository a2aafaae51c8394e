"""What every room stands on: configuration, artifacts, context, metrics, randomness, errors. Knows nothing of language."""
