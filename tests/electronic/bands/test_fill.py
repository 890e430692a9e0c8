"""Order of elimination and cost of a factorisation, against a factorisation of the pattern itself."""

import numpy as np
import pytest

from aiida_hamlr.electronic.bands.fill import atom_graph, dense_cost, elimination_order, factor_cost


@pytest.fixture(scope='module')
def chain(make_hamiltonian):
    """96 atoms in a periodic rod."""
    from ase.build import bulk

    return make_hamiltonian(bulk('AlAs', 'zincblende', a=5.66, cubic=True) * (1, 1, 12))


def ordered(hamiltonian):
    graph, atoms = atom_graph(hamiltonian.pattern), hamiltonian.atoms
    coordinates = atoms.get_scaled_positions() * np.linalg.norm(atoms.cell[:], axis=1)
    return graph, elimination_order(graph, coordinates)


def test_every_atom_is_eliminated_once(chain):
    graph, order = ordered(chain)
    assert sorted(order) == list(range(len(chain.atoms)))
    assert graph.diagonal().all() and abs(graph - graph.T).nnz == 0


def test_cost_is_that_of_eliminating_step_by_step(chain):
    graph, order = ordered(chain)
    filled = graph.toarray()[np.ix_(order, order)].astype(bool)
    entries = flops = 0.0
    for step in range(len(order)):
        below = step + 1 + np.flatnonzero(filled[step + 1 :, step])
        filled[np.ix_(below, below)] = True
        rest = 4 * len(below)
        entries += 4 * 5 / 2 + 4 * rest
        flops += 4**3 / 3 + 16 * rest + 4 * rest**2
    cost = factor_cost(graph, order, chain.pattern.n_orbitals)
    assert (cost.entries, cost.flops) == pytest.approx((entries, flops))
    natural = factor_cost(graph, np.random.default_rng(0).permutation(len(order)), chain.pattern.n_orbitals)
    assert cost.flops < 0.5 * natural.flops
    assert cost.flops < 0.2 * dense_cost(chain.n_orbitals).flops
