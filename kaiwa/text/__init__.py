"""The shared nouns: records, chat template, and the protocols of anything that continues text."""
