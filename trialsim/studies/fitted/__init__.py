"""Courses fitted to published points."""
