"""The spin-orbit part in orbitals: symmetries, plane waves, and a real run of pw.x."""

import numpy as np
import pytest
from ase import Atoms
from scipy.linalg import block_diag

from aiida_hamlr.electronic.bands.kspace import BlochSum, eigenvalues
from aiida_hamlr.electronic.integrals.h0 import structure_matrices
from aiida_hamlr.electronic.integrals.harmonics import rotation_generators
from aiida_hamlr.electronic.integrals.spin_orbit import add_spin_orbit, set_magnetization_axis
from aiida_hamlr.electronic.integrals.two_centre import TwoCentreTables
from aiida_hamlr.electronic.matrices.attributes import HamiltonianAttributes
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.matrices.neighbours import overlap_pattern
from aiida_hamlr.electronic.reference.spinor_plane_waves import SpinorPlaneWaves
from aiida_hamlr.electronic.units import RYDBERG

KPOINT = np.array([0.1, 0.2, 0.35])


@pytest.fixture(scope='module')
def tables(spin_orbit_basis, spin_orbit_pseudos):
    return TwoCentreTables(spin_orbit_basis, spin_orbit_pseudos)


@pytest.fixture(scope='module')
def crystal(spin_orbit_pseudos):
    """AlAs without any symmetry, so that third atoms and both elements matter."""
    return Atoms('AlAs', positions=[[0.1, -0.05, 0.07], [1.5, 1.35, 1.45]], cell=5.66 / 2 * (1 - np.eye(3)), pbc=True)


def hamiltonian_of(atoms: Atoms, tables: TwoCentreTables, sign: float = 1.0) -> Hamiltonian:
    """Kinetic energy and nonlocal pseudopotential: enough for every symmetry."""
    pattern = overlap_pattern(atoms, tables.basis)
    overlap, matrix = structure_matrices(atoms, tables, pattern)
    matrices = {'overlap': overlap, 'hamiltonian': matrix, 'spin_orbit': sign * tables.spin_orbit_part(atoms, pattern)}
    attributes = HamiltonianAttributes(n_electrons=8.0)
    return Hamiltonian(atoms, tables.basis, pattern, matrices, attributes=attributes)


def test_angular_momentum():
    """L x L = i L, L^2 = l (l + 1); of l = 1, (A_a)_bc = eps_abc in the order x, y, z."""
    for l in range(5):
        x, y, z = -1j * rotation_generators(l)
        np.testing.assert_allclose(x @ y - y @ x, 1j * z, atol=1e-12)
        np.testing.assert_allclose(x @ x + y @ y + z @ z, l * (l + 1) * np.eye(2 * l + 1), atol=1e-12)
    np.testing.assert_allclose(rotation_generators(1)[2], [[0, 1, 0], [-1, 0, 0], [0, 0, 0]], atol=1e-15)


def test_antisymmetric(crystal, tables):
    hamiltonian = hamiltonian_of(crystal, tables)
    coupling = hamiltonian.spin_orbit
    assert np.abs(coupling).max() > 0.05
    np.testing.assert_array_equal(coupling, -coupling[:, hamiltonian.pattern.transpose_indices])


def test_against_plane_waves(crystal, tables, spin_orbit_pseudos):
    """``<phi|beta> D A <beta|phi>`` with orbitals and projectors expanded in plane waves, third atoms included."""
    pattern = overlap_pattern(crystal, tables.basis)
    plane_waves = SpinorPlaneWaves(crystal, np.zeros((30, 30, 30)), spin_orbit_pseudos, 120.0)
    orbitals = super(SpinorPlaneWaves, plane_waves).orbitals(tables.basis, KPOINT)
    _, vectors = plane_waves.plane_waves(KPOINT)
    ((projectors, _),) = plane_waves._projectors_of('As', vectors)
    overlaps = orbitals.conj().T @ projectors
    arsenic, coupling = spin_orbit_pseudos['As'], tables.spin_orbit_part(crystal, pattern)
    for axis in range(3):
        blocks = [
            strength * rotation_generators(projector.angular_momentum)[axis]
            for strength, projector in zip(np.diag(arsenic.spin_orbit_dij), arsenic.projectors, strict=True)
        ]
        expected = overlaps @ block_diag(*blocks) @ overlaps.conj().T * RYDBERG
        found = BlochSum(pattern).matrices(coupling[axis], KPOINT[None])[0]
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_time_reversal_and_kramers(crystal, tables):
    """Levels at k and -k agree; where they are the same point, every level is twofold."""
    hamiltonian = hamiltonian_of(crystal, tables)
    levels = eigenvalues(hamiltonian, np.array([KPOINT, -KPOINT, [0, 0, 0], [0.5, 0, 0.5]]))
    np.testing.assert_allclose(levels[0], levels[1], atol=1e-9)
    np.testing.assert_allclose(levels[2:, ::2], levels[2:, 1::2], atol=1e-9)
    assert np.diff(levels[0])[::2].max() > 1e-3


def test_rotated_crystal(crystal, tables, turn):
    """Levels do not depend on the axes: sigma and K turn together, though each of them changes."""
    levels, turned = (
        eigenvalues(hamiltonian_of(atoms, tables), KPOINT[None]) for atoms in (crystal, turn.structure(crystal))
    )
    np.testing.assert_allclose(turned, levels, atol=1e-8)


def test_scalar_pseudopotentials_add_nothing(crystal, plain_basis, upf_pseudos):
    basis = plain_basis(['Al', 'As'], 'sz')
    part = TwoCentreTables(basis, {e: upf_pseudos[e] for e in basis}).spin_orbit_part(
        crystal, overlap_pattern(crystal, basis)
    )
    assert not part.any()


def test_added_from_stored_pseudopotentials(crystal, tables, spin_orbit_pseudos):
    """The texts of the file are enough; scalar ones need their fully relativistic versions."""
    hamiltonian = hamiltonian_of(crystal, tables)
    expected = hamiltonian.matrices.pop('spin_orbit')
    texts = {label: pseudo.text for label, pseudo in spin_orbit_pseudos.items()}
    hamiltonian.pseudopotentials = texts
    with pytest.raises(ValueError, match='the pseudopotential of Al is scalar-relativistic'):
        add_spin_orbit(hamiltonian)
    hamiltonian.matrices['spin_orbit'] = expected
    assert hamiltonian.electrons_per_band == 1


def test_axis_of_the_magnetization(crystal, tables):
    """A unit vector, along z if none is given; only collinear spin has one."""
    hamiltonian = hamiltonian_of(crystal, tables)
    assert hamiltonian.magnetization_axis is None
    with pytest.raises(ValueError, match='AlAs: a magnetization axis needs collinear spin'):
        add_spin_orbit(hamiltonian, tables=tables, magnetization_axis=(1, 0, 0))
    hamiltonian.matrices['hamiltonian'] = np.stack([hamiltonian.hamiltonian] * 2)
    np.testing.assert_array_equal(hamiltonian.magnetization_axis, [0, 0, 1])
    add_spin_orbit(hamiltonian, tables=tables, magnetization_axis=(0, -3, 4))
    np.testing.assert_allclose(hamiltonian.magnetization_axis, [0, -0.6, 0.8])
    for axis in ([0, 0, 0], [1, 0], [np.inf, 0, 0]):
        with pytest.raises(ValueError, match='three finite components are needed, not all zero'):
            set_magnetization_axis(hamiltonian, axis)
    del hamiltonian.matrices['spin_orbit']
    with pytest.raises(ValueError, match='needs spin-orbit coupling'):
        set_magnetization_axis(hamiltonian, (0, 0, 1))
