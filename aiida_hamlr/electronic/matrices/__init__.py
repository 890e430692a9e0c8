"""Sparse block matrices in an orbital basis, the Hamiltonian and its file."""
