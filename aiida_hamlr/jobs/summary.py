"""``summary.json``: what a command did, what it cost and with which versions."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from aiida_hamlr import __version__
from aiida_hamlr.jobs.progress import log

#: Distributions whose versions can change a number.
_RELEVANT = ('numpy', 'scipy', 'torch', 'torch_geometric', 'lightning', 'pyscf')


class JobSummary(dict):
    """Numbers of one run; keys in snake_case with the unit last. Time and memory count from its creation."""

    def __init__(self, command: str):
        super().__init__(command=command)
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    def warn(self, texts: Iterable[str], name: str | None = None):
        """Log warnings about what is named, and keep them under ``warnings``, a list even if there are none."""
        kept = self.setdefault('warnings', [])
        for text in texts:
            log(f'warning: {text}' if name is None else f'warning: {name}: {text}')
            kept.append(text)

    def write(self, path: str | Path):
        """Add costs and versions and write ``path``, under a temporary name first."""
        from aiida_hamlr.electronic.files import atomic_path

        self['wall_s'] = round(time.perf_counter() - self._wall, 3)
        self['cpu_s'] = round(_cpu_seconds() - self._cpu, 3)
        self['peak_memory_MB'] = round(peak_memory(), 1)
        self['versions'] = versions()
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self, indent=2, default=_plain) + '\n', encoding='utf-8')


def versions() -> dict[str, str]:
    """Versions of Python, this package and those that its numbers depend on."""
    found = {'python': '.'.join(map(str, sys.version_info[:3])), 'aiida-hamlr': __version__}
    for name in _RELEVANT:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_memory() -> float:
    """Largest resident memory of this process so far, MB."""
    unit = 1.0 if sys.platform == 'darwin' else 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _plain(value):
    """Numbers and arrays of numpy and torch as plain JSON."""
    if hasattr(value, 'tolist'):
        return value.tolist()
    return str(value)
