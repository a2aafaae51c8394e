"""Reports of experiments: pages, gates, logs."""
