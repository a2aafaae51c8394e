"""One command per stage: its parents by option, every field of its configuration, and --out."""
