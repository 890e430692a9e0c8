"""From a Hamiltonian to bands, occupations and what follows from them."""
