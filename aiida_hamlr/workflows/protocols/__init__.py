"""Input protocols (YAML) of the work chains."""
