"""Ask a model: prompts as programs of rounds, and the cache of model calls."""
