"""Literatures of trials: simulated, and as published."""
