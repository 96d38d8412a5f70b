"""Models whose loop has a closed form."""
