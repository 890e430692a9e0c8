"""Importers of jobs that ran outside AiiDA."""
