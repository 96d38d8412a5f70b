"""Trained decoders with layers taken out, healed, and examined."""
