"""How a benchmark ends: one JSON object, and the exit status of its gates."""

from __future__ import annotations

import json
from pathlib import Path


def report(result: dict, path: Path | None):
    """Write a result to a file, or print it, and leave the program: status 1 if a gate is failed.

    Parameters
    ----------
    result : dict
        With ``passed``.
    path : path, optional
        Standard output if it is not given.
    """
    text = json.dumps(result, indent=1) + '\n'
    if path is None:
        print(text, end='')
    else:
        path.write_text(text)
    raise SystemExit(0 if result['passed'] else 1)
