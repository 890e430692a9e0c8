"""sisl reads the files as those of Wannier90, and its bands of both matrices are ours."""

import numpy as np
import pytest
from foreign_examples import SHELLS, example
from scipy.linalg import eigh

from aiida_hamlr.electronic.bands.kspace import bloch_matrices, eigenvalues
from aiida_hamlr.io import wannier90
from aiida_hamlr.io.orbital_orders import turn
from aiida_hamlr.io.wannier90 import write_wannier90

sisl = pytest.importorskip('sisl')

KPOINT = [0.11, -0.23, 0.37]


def read(folder, seed='hamlr'):
    """H and S that sisl reads, at a k-point, and the geometry of the orbitals."""
    with sisl.get_sile(str(folder / f'{seed}.win')) as sile:
        matrix = sile.read_hamiltonian(cutoff=0.0)
    reader = sisl.io.wannier90.hrSileWannier90(str(folder / f'{seed}_overlap.dat'))
    overlap = reader.read_hamiltonian(geometry=matrix.geometry.copy(), cutoff=0.0)
    return (each.Hk(KPOINT, format='array') for each in (matrix, overlap)), matrix.geometry


def test_bands(tmp_path):
    hamiltonian = example()
    write_wannier90(hamiltonian, tmp_path)
    (H, S), geometry = read(tmp_path)
    expected = eigenvalues(hamiltonian, [KPOINT])[0]
    np.testing.assert_allclose(eigh(H, S, eigvals_only=True), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(geometry.cell, hamiltonian.atoms.cell[:], rtol=0, atol=1e-12)
    np.testing.assert_allclose(geometry.xyz[[0, 10, 21]], hamiltonian.atoms.positions, rtol=0, atol=1e-12)


def test_orbitals_stand_in_wannier90s_order(tmp_path):
    """Elements at Gamma, to the last digit but for the signs and places of the harmonics."""
    hamiltonian = example()
    write_wannier90(hamiltonian, tmp_path)
    whole = np.zeros((31, 31))
    for start, momenta in zip((0, 10, 21), (SHELLS[symbol] for symbol in hamiltonian.symbols), strict=True):
        part = turn('wannier90', momenta)
        whole[start : start + len(part), start : start + len(part)] = part
    lines = np.loadtxt(tmp_path / 'hamlr_hr.dat', skiprows=3 + -(-_n_images(hamiltonian) // 15))
    H = np.zeros((31, 31))
    np.add.at(H, tuple(lines[:, 3:5].astype(int).T - 1), lines[:, 5])
    gamma = bloch_matrices(hamiltonian.pattern, hamiltonian.hamiltonian, [[0, 0, 0]])[0]
    np.testing.assert_allclose(H, whole @ gamma.real @ whole.T, rtol=0, atol=1e-12)


def _n_images(hamiltonian):
    return len(np.unique(hamiltonian.pattern.images, axis=0))


def test_structure_is_that_of_the_input(tmp_path):
    """Atoms and shells of SEED.win."""
    hamiltonian = example()
    write_wannier90(hamiltonian, tmp_path)
    with sisl.get_sile(str(tmp_path / 'hamlr.win')) as sile:
        geometry = sile.read_geometry()
    assert geometry.atoms.Z.tolist() == hamiltonian.atoms.numbers.tolist()
    np.testing.assert_allclose(geometry.xyz, hamiltonian.atoms.positions, rtol=0, atol=1e-12)
    lines = (tmp_path / 'hamlr.win').read_text().splitlines()
    assert lines.count('c=1.4,1.2,1.3:l=3') == 1 and sum(line.startswith('c=') for line in lines) == 11


def test_spins_and_refusals(tmp_path, monkeypatch):
    hamiltonian = example(2)
    write_wannier90(hamiltonian, tmp_path)
    for seed, expected in zip(('hamlr.up', 'hamlr.dn'), eigenvalues(hamiltonian, [KPOINT])[:, 0], strict=True):
        (H, S), _ = read(tmp_path, seed)
        np.testing.assert_allclose(eigh(H, S, eigvals_only=True), expected, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match='Wannier90 holds no spin-orbit coupling'):
        write_wannier90(example(spin_orbit=True), tmp_path)
    monkeypatch.setattr(wannier90, 'MOST_LINES', 1000)
    with pytest.raises(ValueError, match='31 orbitals and 9 lattice vectors make'):
        write_wannier90(example(), tmp_path)
