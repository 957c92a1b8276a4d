"""The file format: design, scenario, conduct, evidence, and how a file is read and checked."""
