"""Whether and when a trial can be carried out, and what it takes."""
