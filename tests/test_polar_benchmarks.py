"""`benchmarks/polar`: what a network is tested on it has not seen, larger is larger; and data for a peer."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from foreign_examples import example

from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.species import set_species_labels
from aiida_hamlr.io.deeptb import read_deeptb

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


@pytest.mark.parametrize('target', ['delta', 'hamiltonian'])
def test_a_peer_gets_what_it_learns_and_is_compared_by_species(target, monkeypatch, tmp_path):
    """DeePTB knows elements; what it would predict perfectly is the reference, with its species."""
    monkeypatch.syspath_prepend(str(BENCHMARKS.parent))
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    peer = importlib.import_module('_peer').Peer(tmp_path, target, 1.0)
    reference = example()
    atoms = reference.atoms.copy()
    set_species_labels(atoms, ['Al1', 'As', 'Al2'])
    basis = Basis({'Al1': reference.basis['Al'], 'Al2': reference.basis['Al'], 'As': reference.basis['As']})
    matrices = reference.matrices | {'h0': 0.5 * reference.hamiltonian}
    reference = replace(reference, atoms=atoms, basis=basis, matrices=matrices)
    train = peer._write({'one': reference}, tmp_path / 'train')
    learned = read_deeptb(train[0]).to_hamiltonian(basis).hamiltonian
    factor = 0.5 if target == 'delta' else 1.0
    np.testing.assert_allclose(learned, factor * reference.hamiltonian, rtol=0, atol=1e-12)
    assert peer._input(train, {'one': reference})['common_options']['basis'].keys() == {'Al', 'As'}
    shutil.copytree(train[0], tmp_path / 'predicted')
    found = peer._read(train[0], tmp_path / 'predicted', reference)
    assert found.species == reference.species
    np.testing.assert_allclose(found.hamiltonian, reference.hamiltonian, rtol=0, atol=1e-12)
