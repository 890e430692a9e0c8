"""Machine-learned density-functional Hamiltonians with long-range electrostatics, for AiiDA."""

__version__ = '0.1.0'
