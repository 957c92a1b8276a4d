"""What the terminal shows, one module a command."""
