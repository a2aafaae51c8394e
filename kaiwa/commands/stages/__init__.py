"""One command per stage, with options for its parents, every field of its configuration, and --out."""
