"""From text to a checked template: where files lie, what they are, how they are read."""
