"""Routes, a file for each group of endpoints."""
