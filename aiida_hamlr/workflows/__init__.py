"""Work chains and their protocols."""
