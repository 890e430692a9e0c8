"""The superposition of neutral atoms: its parts, its zero of energy, structure factors."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.integrals.neutral_atom import (
    ReciprocalGrid,
    gauge_shift,
    neutral_atom_form_factor,
    neutral_atom_potential,
)
from aiida_hamlr.electronic.pseudo.xc import xc_potential_grid
from aiida_hamlr.electronic.units import BOHR, RYDBERG


def test_form_factor_is_continuous_at_the_origin(upf_pseudos):
    for pseudo in upf_pseudos.values():
        values = neutral_atom_form_factor(pseudo, np.array([0.0, 0.01, 0.02]))
        # even in q: f(0) = (4 f(h) - f(2h)) / 3
        assert values[0] == pytest.approx((4 * values[1] - values[2]) / 3, abs=2e-3)


def test_structure_factor_and_back_transform_are_the_fourier_sums():
    atoms = Atoms('H3', positions=np.random.default_rng(0).normal(size=(3, 3)), cell=[[3, 0, 0], [1, 4, 0], [0, 1, 5]])
    grid = ReciprocalGrid(atoms.cell[:], (9, 12, 15), 20.0)
    factors = grid.structure_factor(atoms.positions / BOHR)
    reciprocal = 2 * np.pi * np.linalg.inv(grid.cell).T
    indices = np.stack(np.meshgrid(*grid.indices, indexing='ij'), axis=-1)[grid.inside]
    vectors = indices @ reciprocal
    assert np.allclose(np.linalg.norm(vectors, axis=1), grid.lengths)
    assert np.allclose(factors, np.exp(-1j * vectors @ (atoms.positions / BOHR).T).sum(axis=1))
    # the vectors with a positive third index stand for their negatives too
    weight = np.where(indices[:, 2] == 0, 1.0, 2.0) * np.exp(-0.1 * grid.lengths**2)
    values = grid.to_real(factors * np.exp(-0.1 * grid.lengths**2))
    point = np.array([2 / 9, 7 / 12, 4 / 15]) @ grid.cell
    assert values[2, 7, 4] == pytest.approx((weight * factors * np.exp(1j * vectors @ point)).real.sum())


def electrostatic_part(atoms, pseudos, ecutrho) -> np.ndarray:
    """The potential less the exchange-correlation one of the same density, eV."""
    grid = fft_grid(atoms.cell[:], ecutrho)
    vectors = ReciprocalGrid(atoms.cell[:], grid, ecutrho)
    density = sum(
        vectors.structure_factor(atoms.positions[[i]] / BOHR)
        * pseudos[s].density_form_factor(vectors.lengths)
        / vectors.volume
        for i, s in enumerate(atoms.symbols)
    )
    exchange = xc_potential_grid('lda_pz', vectors.to_real(density), vectors.cell) * RYDBERG
    return neutral_atom_potential(atoms, pseudos, grid, ecutrho) - exchange


def test_average_potential_has_the_shift_of_the_gauge(upf_pseudos):
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    volume = atoms.get_volume() / BOHR**3
    ionic = sum(upf_pseudos[s].local_form_factor(np.zeros(1))[0] for s in atoms.symbols) / volume * RYDBERG
    average = electrostatic_part(atoms, upf_pseudos, 60.0).mean()
    assert average == pytest.approx(ionic + gauge_shift(atoms, upf_pseudos), abs=1e-5)


def test_potential_vanishes_far_from_the_atoms(upf_pseudos):
    """The zero of the neutral-atom gauge is the electrostatic vacuum level."""
    atoms = Atoms('Si', positions=[[0, 0, 0]], cell=[12, 12, 12], pbc=True)
    potential = electrostatic_part(atoms, upf_pseudos, 40.0)
    assert abs(potential[tuple(n // 2 for n in potential.shape)]) < 2e-3


def test_mixed_functionals_and_missing_pseudopotentials_are_refused(upf_pseudos):
    atoms = bulk('GaAs', 'zincblende', a=5.6)
    only_arsenic = {'As': upf_pseudos['As']}
    with pytest.raises(ValueError, match='no pseudopotential for Ga'):
        neutral_atom_potential(atoms, only_arsenic, (12, 12, 12), 20.0)
    both = {'As': upf_pseudos['As'], 'Ga': dataclasses.replace(upf_pseudos['Al'], functional='pbe')}
    with pytest.raises(ValueError, match='different functionals: As lda_pz, Ga pbe'):
        neutral_atom_potential(atoms, both, (12, 12, 12), 20.0)
