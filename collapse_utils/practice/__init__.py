"""Your own data and your own generator in the loop."""
