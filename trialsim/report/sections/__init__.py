"""What a report says, one module a result."""
