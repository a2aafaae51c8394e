"""HTML and SVG pieces as plain functions that return strings; used by the pages and by self-contained reports."""
