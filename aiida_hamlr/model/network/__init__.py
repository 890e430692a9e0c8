"""The short-range equivariant network and its layers."""
