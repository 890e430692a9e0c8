"""Fixtures shared by the tests of several layers."""

import signal

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.blocks import BlockPattern
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.orbitals.basis import Basis, Shell, SpeciesBasis

# A shell lets what it starts in the background ignore Ctrl-C, and the programs that tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ['aiida_fixtures', 'cluster_fixtures', 'distribution', 'qe_fixtures']


@pytest.fixture(scope='session', autouse=True)
def cache_home(tmp_path_factory):
    """Keep generated orbitals away from the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield


#: Cutoff radius of the model orbitals, bohr, and the range of the model matrices, Å.
_RADIUS, _RANGE = 4.0, 4.2


def _species(element: str, angular_momenta=(0, 1)) -> SpeciesBasis:
    step = 0.05
    r = step * np.arange(int(_RADIUS / step) + 1)
    shells = []
    for l in angular_momenta:
        radial = r**l * np.cos(0.5 * np.pi * r / _RADIUS) ** 2
        radial /= np.sqrt(np.sum(radial**2 * r**2) * step)
        shells.append(Shell(l, _RADIUS, radial, f'{l + 1}{"spd"[l]}', 1.0))
    return SpeciesBasis(element, step, tuple(shells), {'size': 'model'})


def _model_blocks(vectors, levels, scale, width):
    """Slater-Koster blocks of s and p orbitals: smooth, of finite range, right under every rotation."""
    distance = np.linalg.norm(vectors, axis=1)
    decay = scale * np.exp(-((distance / width) ** 2)) * np.clip(1 - (distance / _RANGE) ** 2, 0, None) ** 2
    n = np.divide(vectors, distance[:, None], out=np.zeros_like(vectors), where=distance[:, None] > 0)
    blocks = np.zeros((len(vectors), 4, 4))
    blocks[:, 0, 0] = decay
    blocks[:, 0, 1:] = 0.9 * decay[:, None] * n
    blocks[:, 1:, 0] = -blocks[:, 0, 1:]
    blocks[:, 1:, 1:] = decay[:, None, None] * (0.3 * np.eye(3) - 1.1 * n[:, :, None] * n[:, None, :])
    blocks[distance == 0] = 0.0
    onsite = np.flatnonzero(distance == 0)
    blocks[onsite, 0, 0] = levels[onsite, 0]
    blocks[onsite[:, None], [1, 2, 3], [1, 2, 3]] = levels[onsite, 1:2]
    return blocks


@pytest.fixture(scope='session')
def make_hamiltonian():
    """Function: a tight-binding Hamiltonian of any structure of Al and As, four orbitals per atom."""

    def make(atoms: Atoms, n_electrons: float | None = None) -> Hamiltonian:
        basis = Basis({element: _species(element) for element in sorted(set(atoms.get_chemical_symbols()))})
        i, j, images = neighbor_list('ijS', atoms, _RANGE)
        sites = np.arange(len(atoms))
        pairs = np.concatenate(
            [
                np.stack([*np.zeros((3, len(atoms)), dtype=int), sites, sites], axis=1),
                np.concatenate([images, i[:, None], j[:, None]], axis=1),
            ]
        )
        pattern = BlockPattern(pairs, basis.n_orbitals(atoms.get_chemical_symbols()))
        vectors = pattern.vectors(np.array(atoms.cell), atoms.positions)
        levels = np.array([[-9.0, -2.0] if s == 'As' else [-2.0, 4.0] for s in atoms.get_chemical_symbols()])
        hamiltonian = _model_blocks(vectors, levels[pattern.first], -6.0, 2.6).ravel()
        overlap = _model_blocks(vectors, np.ones((len(pattern), 2)), 0.25, 2.0).ravel()
        valence = {'Al': 3, 'As': 5}
        electrons = sum(valence[s] for s in atoms.get_chemical_symbols()) if n_electrons is None else n_electrons
        return Hamiltonian(
            atoms,
            basis,
            pattern,
            {'hamiltonian': hamiltonian, 'overlap': overlap, 'h0': 0.98 * hamiltonian},
            attributes=HamiltonianAttributes(
                origin='reference', functional='lda_pz', gauge='neutral_atom', n_electrons=electrons, n_spin=1
            ),
        )

    return make


@pytest.fixture
def zincblende():
    """Function: AlAs, primitive (2 atoms) or cubic (8 atoms)."""

    def make(cubic: bool = False, a: float = 5.66) -> Atoms:
        from ase.build import bulk

        return bulk('AlAs', 'zincblende', a=a, cubic=cubic)

    return make


#: A zincblende crystal with whatever sites.
_CIF = """data_x
_symmetry_space_group_name_H-M 'F -4 3 m'
_symmetry_Int_Tables_number 216
_cell_length_a 5.6556
_cell_length_b 5.6556
_cell_length_c 5.6556
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{sites}
"""


@pytest.fixture
def zincblende_cif():
    """Function: text of a CIF file from the lines of its sites, occupancies last."""
    return lambda sites: _CIF.format(sites=sites)


@pytest.fixture
def write_orb():
    """Function: write an .orb file of ABACUS with one s function of hydrogen."""

    def write(path):
        r = 0.01 * np.arange(601)
        values = np.exp(-0.5 * r**2) * np.cos(np.pi * r / 12) ** 2
        values /= np.sqrt(np.sum((r * values) ** 2) * 0.01)
        path.write_text(
            'Element                     H\nRadius Cutoff(a.u.)         6\nLmax                        0\n'
            'Number of Sorbital-->       1\nSUMMARY  END\n\n'
            'Mesh                        601\ndr                          0.01\n'
            '                Type                   L                   N\n                   0      0      0\n'
            + '\n'.join(f'{value:.12e}' for value in values)
        )
        return path

    return write
