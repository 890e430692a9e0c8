"""Calculation functions: steps so short that they run in the AiiDA process itself."""
