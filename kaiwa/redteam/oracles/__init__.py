"""Oracles: exact checks of whether an attack reached its aim."""
