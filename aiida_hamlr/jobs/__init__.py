"""The `hamlr` executable that runs where the calculations run; needs no AiiDA."""
