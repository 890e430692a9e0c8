"""HTML pages about results: one self-contained file each, readable without a network."""
