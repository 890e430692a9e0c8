"""Training a model on files of Hamiltonians."""
