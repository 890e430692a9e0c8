"""Figures of stored results; one style for all."""
