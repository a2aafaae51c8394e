"""The bench: trials of attacks against defences, their matrix, gate and reports."""
