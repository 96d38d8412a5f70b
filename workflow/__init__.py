"""The workflow: which chapters there are, how one is run, what is published and what the book shows."""
