"""Orbital blocks as irreducible components in bond frames."""
