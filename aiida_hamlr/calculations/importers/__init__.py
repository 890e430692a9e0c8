"""Importers of jobs that ran without AiiDA."""
