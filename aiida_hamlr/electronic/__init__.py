"""Electronic structure in a basis of numerical atomic orbitals (numpy, scipy and torch only)."""
