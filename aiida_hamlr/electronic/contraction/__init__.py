"""Orbitals contracted to reproduce plane-wave bands of small crystals."""
