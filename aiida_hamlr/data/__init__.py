"""Nodes of the provenance graph: bases, Hamiltonians, datasets and models."""
