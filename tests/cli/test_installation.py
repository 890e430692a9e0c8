"""Tests of computers, codes and pseudopotentials that are made."""

import pytest

from aiida_hamlr.cli import installation


def test_executable_not_found(monkeypatch, tmp_path):
    """The message says how to install what is missing."""
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(installation.sys, 'executable', str(tmp_path / 'python'))
    with pytest.raises(ValueError, match='pw.x was not found; install Quantum ESPRESSO: apt-get install'):
        installation.find_executable('pw.x')
