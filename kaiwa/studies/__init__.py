"""Experiments across stages: what no single room could ask."""
