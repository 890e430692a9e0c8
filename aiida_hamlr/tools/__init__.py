"""Helpers to set up computers, codes and pseudopotentials, and to make structures."""
