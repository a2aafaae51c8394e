"""Intervals, paired tests, equivalence, power, multiple comparisons: small pure functions over plain arrays."""
