"""Models from elsewhere and for elsewhere: pull, export, and a check that others load what was exported."""
