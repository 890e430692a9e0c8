"""Readers and writers of foreign formats, one module each."""
