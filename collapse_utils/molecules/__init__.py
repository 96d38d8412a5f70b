"""Molecules with conformers, their diffusion model, and how good its samples are."""
