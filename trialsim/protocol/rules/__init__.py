"""What is wrong with a file whose every part is well formed, one module for each part of it."""
