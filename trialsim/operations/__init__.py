"""The conduct of one trial, event by event: sites, patients, kits, looks, and what they cost."""
