"""Sets of structures of `benchmarks/polar`: what a network is tested on it has not seen, and larger is larger."""

from __future__ import annotations

import importlib
from itertools import chain
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / 'benchmarks' / 'polar'


@pytest.fixture(params=['cdse_zns', 'gan_aln', 'zno_slabs'])
def system(request, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(request.param).SYSTEM


@pytest.mark.parametrize('scale', ['trial', 'small', 'medium'])
def test_what_is_tested_was_not_learned(system, scale):
    parts = system.structures(scale)
    positions = [atoms.positions.tobytes() for part in parts.values() for atoms in part.values()]
    assert len(set(positions)) == len(positions) == len(set(chain(*parts.values())))
    sizes = {part: {atoms.info['size'] for atoms in structures.values()} for part, structures in parts.items()}
    assert min(sizes['larger']) > max(sizes['train'])
    assert sizes['test'] | sizes['validation'] <= sizes['train']
    assert system.drawn[scale] in parts['larger']
    assert system.settings_of(scale) is system.settings['small']


def test_medium_has_more_to_learn_and_keeps_the_larger_cells_of_small(system):
    small, medium = system.structures('small'), system.structures('medium')
    assert len(medium['train']) >= 1.8 * len(small['train'])
    for label, atoms in small['larger'].items():
        assert (medium['larger'][label].positions == atoms.positions).all()
