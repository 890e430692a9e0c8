"""Units at the boundaries are eV, Å and |e|; CODATA 2018 constants convert to the atomic units used inside."""

#: One Rydberg in eV.
RYDBERG = 13.605693122994

#: One Hartree in eV.
HARTREE = 2.0 * RYDBERG

#: One bohr in Å.
BOHR = 0.529177210903

#: Coulomb constant e^2 / (4 pi eps0) in eV Å.
COULOMB = HARTREE * BOHR
