"""Texts, tokens, transformers from scratch, and how they are sampled."""
