"""Parsers of the calculation jobs; they read only what was retrieved."""
