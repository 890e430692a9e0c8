"""Parsers of the calculation jobs; they read retrieved files only."""
