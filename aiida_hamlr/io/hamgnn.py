"""HamGNN's graph_data.npz, written only: the file is a pickle, and reading one runs whatever code it names.

Matrices are single-precision Hartree in OpenMX's order, each block padded to ``nao_max`` x ``nao_max`` for the shells
of the largest atom. HamGNN has a table of the places that the shells of an element take, by ``nao_max``;
``basis_def.json`` says which were filled here, and the two must agree. On-site blocks come first, then an edge for
every other block, with its shift in bohr.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import le
from pathlib import Path

import numpy as np

from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import LARGEST_ANGULAR_MOMENTUM
from aiida_hamlr.electronic.units import BOHR, HARTREE
from aiida_hamlr.io.foreign_matrices import element_shells, number_of, refuse_spin
from aiida_hamlr.io.orbital_orders import atom_turns, change_orbitals, shell_letters
from aiida_hamlr.io.text_tables import write_text

ORDER = 'openmx'

GRAPHS, BASIS = 'graph_data.npz', 'basis_def.json'

#: Shells that HamGNN has room for, by nao_max, for OpenMX.
TEMPLATES = {14: (3, 2, 1), 19: (3, 2, 2), 26: (3, 2, 2, 1)}


def write_hamgnn(hamiltonians: Sequence[Hamiltonian], folder: str | Path):
    """Write one file with a graph for each Hamiltonian.

    Parameters
    ----------
    hamiltonians : sequence of Hamiltonian
        With ``hamiltonian`` and ``overlap`` and, if H0 is to be added by HamGNN, ``h0``; without spin.
    folder : path
        Where the files go.

    Raises
    ------
    ValueError
        If one has spins, or shells that HamGNN has no room for, or torch-geometric is not installed.
    """
    try:
        from torch_geometric.data import Data
    except ImportError as error:
        raise ValueError('this format needs the package torch-geometric') from error
    folder = Path(folder)
    shells: dict[str, list[int]] = {}
    for hamiltonian in hamiltonians:
        refuse_spin(hamiltonian, 'HamGNN')
        species = hamiltonian.basis.for_labels(hamiltonian.species)
        symbols = [*shells, *hamiltonian.symbols]
        shells = element_shells(symbols, [*shells.values(), *(each.angular_momenta for each in species)])
    nao_max, places = _template(shells)
    graphs = {index: Data(**_graph(each, nao_max, places)) for index, each in enumerate(hamiltonians)}
    with atomic_path(folder / GRAPHS) as temporary, temporary.open('wb') as stream:
        np.savez(stream, graph=np.array(graphs, dtype=object))
    basis = {str(number_of(symbol)): where.tolist() for symbol, where in places.items()}
    write_text(folder / BASIS, json.dumps({'nao_max': nao_max, 'ham_type': 'openmx', 'basis_def': basis}) + '\n')


def _template(shells: dict[str, list[int]]) -> tuple[int, dict[str, np.ndarray]]:
    """The smallest nao_max with room for all shells, and where the orbitals of each element stand."""
    needed = [max(momenta.count(l) for momenta in shells.values()) for l in range(LARGEST_ANGULAR_MOMENTUM + 1)]
    fitting = [size for size, counts in TEMPLATES.items() if all(map(le, needed, [*counts, 0, 0, 0, 0]))]
    if not fitting:
        found = ', '.join(f'{symbol} {shell_letters(momenta)}' for symbol, momenta in shells.items())
        raise ValueError(f'HamGNN has room for at most 3s2p2d1f; the shells are {found}')
    nao_max = min(fitting)
    counts = TEMPLATES[nao_max]
    starts = np.cumsum([0, *(count * (2 * l + 1) for l, count in enumerate(counts))])
    places = {}
    for symbol, momenta in shells.items():
        sets = [starts[l] + np.arange(momenta.count(l) * (2 * l + 1)) for l in sorted(set(momenta))]
        places[symbol] = np.concatenate(sets).astype(int)
    return nao_max, places


def _graph(hamiltonian: Hamiltonian, nao_max: int, places: dict[str, np.ndarray]) -> dict:
    """Fields of one graph."""
    import torch

    pattern, atoms = hamiltonian.pattern, hamiltonian.atoms
    momenta = [species.angular_momenta for species in hamiltonian.basis.for_labels(hamiltonian.species)]
    turns = atom_turns(ORDER, momenta, [sorted(shells) for shells in momenta])
    onsite = pattern.onsite
    is_edge = np.ones(len(pattern), dtype=bool)
    is_edge[onsite] = False
    edges = np.flatnonzero(is_edge)
    number = np.full(len(pattern), -1)
    number[edges] = np.arange(len(edges))
    images = pattern.images[edges]
    fields = {
        'z': torch.tensor(atoms.numbers, dtype=torch.long),
        'cell': torch.tensor(atoms.cell[:][None] / BOHR, dtype=torch.float32),
        'pos': torch.tensor(atoms.positions / BOHR, dtype=torch.float32),
        'node_counts': torch.tensor([len(atoms)]),
        'total_energy': torch.zeros(1),
        'edge_index': torch.tensor(np.array([pattern.first[edges], pattern.second[edges]])),
        'inv_edge_idx': torch.tensor(number[pattern.reverse[edges]]),
        'cell_shift': torch.tensor(images),
        'nbr_shift': torch.tensor(images @ atoms.cell[:] / BOHR, dtype=torch.float32),
        'doping_charge': torch.zeros(1),
    }
    matrices = {'hamiltonian': ('H', '', HARTREE), 'overlap': ('S', '', 1.0), 'h0': ('H', '0', HARTREE)}
    where = [places[symbol] for symbol in hamiltonian.symbols]
    for name, (letter, suffix, unit) in matrices.items():
        if name not in hamiltonian.matrices:
            continue
        entries = change_orbitals(pattern, hamiltonian.matrices[name] / unit, turns)
        padded = torch.tensor(_padded(pattern, entries, nao_max, where), dtype=torch.float32)
        fields[f'{letter}on{suffix}'], fields[f'{letter}off{suffix}'] = padded[onsite], padded[edges]
        if name != 'h0':
            fields[name] = torch.cat([padded[onsite], padded[edges]])
    return fields


def _padded(pattern: BlockPattern, entries: np.ndarray, nao_max: int, where: Sequence[np.ndarray]) -> np.ndarray:
    """(P, nao_max^2) blocks with the orbitals at their places, zero elsewhere."""
    result = np.zeros((len(pattern), nao_max, nao_max))
    for index, (i, j) in enumerate(zip(pattern.first, pattern.second, strict=True)):
        result[index][np.ix_(where[i], where[j])] = pattern.block(entries, index)
    return result.reshape(len(pattern), -1)
