"""HTML and SVG pieces as plain functions that return strings; the same on the pages and in self-contained reports."""
