"""The attacks, one file a family: our own wording, in English and Japanese, harmless aims only."""
