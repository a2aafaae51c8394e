"""Experiments across stages, which no single room could run."""
