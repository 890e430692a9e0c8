"""From a plane-wave run to a Hamiltonian in an orbital basis, and its verification."""
