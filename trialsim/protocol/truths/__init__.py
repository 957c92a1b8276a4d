"""What follows from a file: scenarios with everything looked up, in pure Python."""
