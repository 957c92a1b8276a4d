"""Formula and exact designs."""
