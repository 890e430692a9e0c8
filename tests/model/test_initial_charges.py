"""The linear fit from which the charges start."""

import numpy as np
import pytest
import torch

from aiida_hamlr.electronic.neighbours import overlap_pattern
from aiida_hamlr.electronic.two_centre import TwoCentreTables
from aiida_hamlr.model import keys
from aiida_hamlr.model.data import add_long_range, frames_of
from aiida_hamlr.model.initial_charges import atom_levels, fit_charges, unit_potentials

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


@pytest.fixture
def graphs(make_model, make_basis, rattled):
    """Supercells whose levels follow the potentials of charges +-0.3 and the distances to the neighbours."""
    model, basis = make_model(SHELLS, variant='lr', multipole_order=0, pair_cutoff=4.0), make_basis(SHELLS)
    tables = TwoCentreTables(basis)
    made = []
    for seed in range(4):
        atoms = rattled(seed, 0.0).repeat((3, 1, 1))
        atoms.rattle(0.2, seed=seed)
        pattern = overlap_pattern(atoms, basis)
        overlap, _ = tables.overlap_and_kinetic(atoms, pattern)
        graph, selection = model.builder.build(atoms, pattern)
        frames = frames_of(model, atoms, pattern, selection)
        add_long_range(model, graph, atoms, frames, overlap, tables)
        onsite = torch.tensor(frames.onsite_components(overlap)[0])
        lengths = graph[keys.EDGE_LENGTH]
        local = torch.zeros(len(atoms)).double().index_add(0, graph[keys.EDGE_INDEX][0], torch.exp(-(lengths**2) / 3.0))
        level = local - torch.tensor(unit_potentials(model.long_range, graph, 2) @ [0.3, -0.3]) + 0.1 * seed
        graph[keys.ONSITE_OVERLAP], graph[keys.ONSITE_TARGET] = onsite, level[:, None] * onsite
        graph['level'] = level
        made.append(graph)
    return made, model.slots.onsite.multiplicity, model.long_range


def test_levels_are_read_off_the_blocks(graphs):
    for graph in graphs[0]:
        assert np.allclose(atom_levels(graph, graphs[1]), graph['level'].numpy())


def test_charges_are_told_from_what_is_local(graphs):
    assert fit_charges(graphs[2], graphs[0], 2, 6.0, graphs[1]) == pytest.approx([0.3, -0.3], abs=0.01)


def test_no_potential_no_charge(graphs):
    for graph in graphs[0]:
        graph[keys.COULOMB_POTENTIAL] = torch.zeros_like(graph[keys.COULOMB_POTENTIAL])
    assert fit_charges(graphs[2], graphs[0], 2, 6.0, graphs[1]) == pytest.approx([0.0, 0.0], abs=1e-12)
