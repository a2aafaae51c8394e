"""Experiments: arms, items, runs, analysis, verdicts."""
