"""Stage 1, raw text to corpus: read, extract, repair, filter, deduplicate, split, and count all documents on a card."""
