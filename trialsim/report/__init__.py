"""What studies found, rendered: screens, documents, run directories. No arithmetic."""
