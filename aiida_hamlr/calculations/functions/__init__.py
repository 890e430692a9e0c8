"""Calculation functions: short steps that run in the AiiDA process itself."""
