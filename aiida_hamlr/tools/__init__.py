"""Helpers to set up computers, codes and pseudopotentials."""
