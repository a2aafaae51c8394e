"""Exchange of models with other programs: pull, export, and a check that other programs load the export."""
