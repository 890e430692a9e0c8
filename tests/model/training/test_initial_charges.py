"""The linear fit from which the charges start."""

import numpy as np
import pytest
import torch
from ase import Atoms

from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.model import keys
from aiida_hamlr.model.irreps.frames import BlockFrames
from aiida_hamlr.model.training.examples import add_long_range
from aiida_hamlr.model.training.initial_charges import (
    atom_levels,
    fit_charges,
    fit_response,
    same_surroundings,
    unit_potentials,
)

SHELLS = {'Al': [0, 1], 'As': [0, 1, 1]}


def make_graph(model, atoms, basis):
    """Graph with overlaps and what the channel stores."""
    tables, pattern = TwoCentreTables(basis), overlap_pattern(atoms, basis)
    overlap, _ = tables.overlap_and_kinetic(atoms, pattern)
    graph, selection = model.builder.build(atoms, pattern)
    frames = BlockFrames.of(model.slots, atoms, pattern, selection)
    add_long_range(model, graph, atoms, frames, overlap, tables)
    graph[keys.ONSITE_OVERLAP] = torch.tensor(frames.onsite_components(overlap)[0])
    return graph


@pytest.fixture
def graphs(make_model, make_basis, rattled):
    """Supercells whose levels follow the potentials of charges +-0.3 and the distances to the neighbours."""
    model, basis = make_model(SHELLS, variant='lr', multipole_order=0, pair_cutoff=4.0), make_basis(SHELLS)
    made = []
    for seed in range(4):
        atoms = rattled(seed, 0.0).repeat((3, 1, 1))
        atoms.rattle(0.2, seed=seed)
        graph = make_graph(model, atoms, basis)
        lengths = graph[keys.EDGE_LENGTH]
        local = torch.zeros(len(atoms)).double().index_add(0, graph[keys.EDGE_INDEX][0], torch.exp(-(lengths**2) / 3.0))
        level = local - torch.tensor(unit_potentials(model.long_range, graph, 2) @ [0.3, -0.3]) + 0.1 * seed
        graph[keys.ONSITE_TARGET] = level[:, None] * graph[keys.ONSITE_OVERLAP]
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


def test_response_is_found_from_slabs_whose_atoms_differ_in_the_vacuum_alone(make_model, make_basis):
    """Levels that no function of the surroundings explains, the same in both vacua: atoms without order."""
    model = make_model(SHELLS, variant='lr', response=True, multipole_order=0, pair_cutoff=4.0)
    model.long_range.identified.fill_(1.0)
    made = []
    for slab in range(3):
        rng = np.random.default_rng(slab)
        atoms = zincblende_slab(rng)
        error = torch.tensor(rng.normal(scale=0.05, size=len(atoms)))
        for vacuum in (7.0, 15.0):
            atoms.cell[2, 2] = 10.0 + vacuum
            graph = make_graph(model, atoms, make_basis(SHELLS))
            potential = unit_potentials(model.long_range, graph, 2, np.array([12.0, 12.0])) @ [1.2, -1.2]
            graph[keys.ONSITE_TARGET] = (error - torch.tensor(potential))[:, None] * graph[keys.ONSITE_OVERLAP]
            made.append(graph)
    arguments = (model.long_range, made, 2, 6.0, model.slots.onsite.multiplicity)
    charges, polarisabilities = fit_response(*arguments)
    assert charges == pytest.approx([1.2, -1.2], rel=0.05)
    assert polarisabilities == pytest.approx([12.0, 12.0], rel=0.1)


def zincblende_slab(rng) -> Atoms:
    """Five (110) layers, each cation moved along the normal, all atoms somewhat at random."""
    atoms = Atoms(cell=[5.6, 4.0, 20.0], pbc=True)
    for n in range(5):
        shift = np.array([2.8, 2.0, 0.0]) * (n % 2) + [0.0, 0.0, 2.0 * n]
        atoms += Atoms('AlAs', positions=np.array([[0.0, 0.0, 0.1], [1.4, 2.0, 0.0]]) + shift)
    atoms.positions += rng.normal(scale=0.03, size=atoms.positions.shape)
    return atoms


def test_same_surroundings_have_one_number():
    descriptors = np.random.default_rng(1).normal(size=(50, 20))
    descriptors = np.concatenate([descriptors, descriptors[10:20] + 1e-7, descriptors[5:15] - 1e-7])
    kinds = same_surroundings(descriptors)
    assert len(np.unique(kinds)) == 50
    assert (kinds[50:60] == kinds[10:20]).all()
    assert (kinds[60:] == kinds[5:15]).all()
