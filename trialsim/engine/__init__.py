"""Blocks of replicates, computed anywhere, put together in one order."""
