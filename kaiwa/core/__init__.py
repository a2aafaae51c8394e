"""The base of all other packages: configuration, artifacts, context, metrics, random numbers, errors."""
