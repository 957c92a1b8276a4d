"""Flaws of conduct: what they do, how strong they would have to be."""
