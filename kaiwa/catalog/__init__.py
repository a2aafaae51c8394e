"""Which models are here, what they take of memory, and how they are loaded."""
