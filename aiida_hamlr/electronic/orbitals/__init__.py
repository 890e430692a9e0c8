"""Numerical atomic orbitals: containers and generation."""
