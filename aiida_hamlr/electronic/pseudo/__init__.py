"""Pseudopotentials, pseudo-atoms and exchange-correlation."""
