"""The attacks, one file per family: our own wording, in English and Japanese, harmless aims only."""
