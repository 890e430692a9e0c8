"""Matrix elements between orbitals: two-centre tables, the real-space grid, and H0."""
