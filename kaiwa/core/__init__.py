"""What every room stands on: configuration, artifacts, context, metrics, rng, errors."""
