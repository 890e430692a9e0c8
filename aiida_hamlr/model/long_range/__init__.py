"""The long-range channel: charges, electrostatics and response."""
