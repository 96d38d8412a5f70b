"""Closed forms, each with its source; nothing here imports the experiments that it is used to check."""
