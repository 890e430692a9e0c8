"""The file as HamGNN loads it: fields, units, padding, edges and their reverse."""

import json

import numpy as np
import pytest
from foreign_examples import SHELLS, example

from aiida_hamlr.electronic.units import BOHR, HARTREE
from aiida_hamlr.io.hamgnn import write_hamgnn
from aiida_hamlr.io.orbital_orders import turn


@pytest.fixture
def graphs(tmp_path):
    hamiltonian = example()
    hamiltonian.matrices['h0'] = 0.5 * hamiltonian.hamiltonian
    write_hamgnn([hamiltonian, example(symbols='AsAlAl')], tmp_path)
    loaded = np.load(tmp_path / 'graph_data.npz', allow_pickle=True)['graph'].item()
    return hamiltonian, loaded, json.loads((tmp_path / 'basis_def.json').read_text())


def test_structure_and_edges(graphs):
    hamiltonian, loaded, _ = graphs
    assert list(loaded) == [0, 1]
    graph = loaded[0]
    assert graph.z.tolist() == [13, 33, 13] and loaded[1].z.tolist() == [33, 13, 13]
    np.testing.assert_allclose(graph.pos.numpy() * BOHR, hamiltonian.atoms.positions, atol=1e-6)
    first, second = graph.edge_index.numpy()
    np.testing.assert_allclose(
        graph.nbr_shift.numpy() * BOHR, graph.cell_shift.numpy() @ hamiltonian.atoms.cell[:], atol=1e-5
    )
    reverse = graph.inv_edge_idx.numpy()
    np.testing.assert_array_equal(first[reverse], second)
    np.testing.assert_array_equal(graph.cell_shift.numpy()[reverse], -graph.cell_shift.numpy())
    lengths = np.linalg.norm((graph.pos[second] + graph.nbr_shift - graph.pos[first]).numpy(), axis=1)
    assert 0.5 < lengths.min() and lengths.max() < 8.0


def test_blocks_stand_at_the_places_of_their_shells(graphs):
    hamiltonian, loaded, basis = graphs
    graph, nao = loaded[0], basis['nao_max']
    # f shells need the largest template: 3s 3 p's in pairs, 2 d's, 1 f.
    assert nao == 26 and basis['basis_def'] == {
        '13': [0, 1, 3, 4, 5, 9, 10, 11, 12, 13],
        '33': [0, 3, 4, 5, *range(19, 26)],
    }
    pattern = hamiltonian.pattern
    edge = 17
    i, j = graph.edge_index[:, edge].tolist()
    row = [*graph.cell_shift[edge].tolist(), i, j]
    pair = pattern.atom_pairs.tolist().index(row)
    order = {'Al': [3, 9, 0, 1, 2, 4, 5, 6, 7, 8], 'As': range(11)}
    symbols = hamiltonian.symbols
    left, right = (
        turn('openmx', sorted(SHELLS[symbols[k]])) @ np.eye(len(order[symbols[k]]))[list(order[symbols[k]])]
        for k in (i, j)
    )
    expected = left @ pattern.block(hamiltonian.hamiltonian, pair) @ right.T / HARTREE
    places = [basis['basis_def'][str(hamiltonian.atoms.numbers[k])] for k in (i, j)]
    block = graph.Hoff[edge].reshape(nao, nao).numpy()
    np.testing.assert_allclose(block[np.ix_(*places)], expected, atol=1e-6)
    assert np.count_nonzero(block) == expected.size
    np.testing.assert_allclose(graph.Hoff0.numpy(), 0.5 * graph.Hoff.numpy(), atol=1e-6)
    np.testing.assert_allclose(graph.hamiltonian.numpy()[: len(symbols)], graph.Hon.numpy())
    np.testing.assert_allclose(np.diagonal(graph.Son[i].reshape(nao, nao).numpy())[places[0]], 1.0, atol=0.2)


def test_what_does_not_fit(tmp_path):
    with pytest.raises(ValueError, match='HamGNN holds no spin-orbit coupling'):
        write_hamgnn([example(spin_orbit=True)], tmp_path)
    assert not list(tmp_path.iterdir())
