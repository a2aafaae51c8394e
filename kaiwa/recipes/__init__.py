"""Recipes: functions that return the full configuration of a build."""
