"""Protocol + truth -> patients, assignment and latent outcomes."""
