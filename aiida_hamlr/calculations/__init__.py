"""Calculation jobs: one for each command of the `hamlr` executable that AiiDA runs, and pp.x for the potential."""
