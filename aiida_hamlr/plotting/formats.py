"""Formats of figures; apart from the style, so that a command can check a file name without loading matplotlib."""

from __future__ import annotations

from pathlib import Path

#: Formats of figures, by the suffix of the file.
FORMATS = ('.png', '.svg', '.pdf')


def check_suffix(path: str | Path):
    """Raise ``ValueError`` unless the suffix of a figure's file is one of `FORMATS`."""
    if Path(path).suffix.lower() not in FORMATS:
        raise ValueError(f'{path}: figures are written as {", ".join(FORMATS)}, by the suffix of the file')
