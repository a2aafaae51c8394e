"""Oracles: did an attack reach its aim?"""
