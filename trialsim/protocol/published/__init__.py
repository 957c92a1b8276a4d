"""What somebody published: records, the numbers in them, and what is made of them."""
