"""What screens and sections share."""
