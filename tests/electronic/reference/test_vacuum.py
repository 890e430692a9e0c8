"""The vacuum of slabs: where it is, and its level against electrostatics by hand and against pw.x."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from qe_fixtures import DEBIAN_PSEUDOS, run_pw

from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.surfaces import align_vacuum
from aiida_hamlr.electronic.integrals.fft_grid import fft_grid
from aiida_hamlr.electronic.orbitals.basis import Basis
from aiida_hamlr.electronic.orbitals.generation import generate_basis
from aiida_hamlr.electronic.pseudo.gth import make_pseudopotential
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.reconstruction import ReconstructionOptions, reconstruct
from aiida_hamlr.electronic.reference.vacuum import find_vacuum, vacuum_levels
from aiida_hamlr.electronic.units import BOHR, RYDBERG
from aiida_hamlr.io.qe import read_charge_density


def layer(length: float, tilt: float = 0.0) -> Atoms:
    """A flat layer of Si; the first lattice vector leads through the vacuum and need not stand upright."""
    cell = [[length, tilt, 0.0], [0.0, 3.8, 0.0], [0.0, 0.9, 3.8]]
    return Atoms('Si2', positions=[[0.5, 0.0, 0.0], [0.5, 2.3, 1.9]], cell=cell, pbc=True)


def test_vacuum_is_found_where_the_atoms_are_not(upf_pseudos):
    axis, middle, thickness = find_vacuum(layer(16.0, tilt=1.0), upf_pseudos)
    assert axis == 0
    assert middle * 16.0 == pytest.approx(8.5, abs=0.1)
    assert find_vacuum(layer(19.0), upf_pseudos)[2] - thickness == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize('elements', ['BN', 'ZnO'])
def test_dense_cores_do_not_ring_in_the_vacuum(elements):
    """Plane averages of their densities reach beyond the cutoff of the search."""
    pseudos = {element: make_pseudopotential(element) for element in Atoms(elements).symbols}
    cell = [[2.8, 0, 0], [-1.4, 2.425, 0], [0, 0, 15.0]]
    atoms = Atoms(elements, scaled_positions=[[0, 0, 0.3], [1 / 3, 2 / 3, 0.3]], cell=cell, pbc=True)
    axis, middle, thickness = find_vacuum(atoms, pseudos)
    assert (axis, middle) == (2, pytest.approx(0.8, abs=0.01))
    assert 5.0 < thickness < 10.0


def test_crystals_and_narrow_gaps_have_none(upf_pseudos):
    assert find_vacuum(bulk('Si', 'diamond', a=5.43), upf_pseudos) is None
    assert find_vacuum(layer(7.0), upf_pseudos) is None
    atoms = bulk('Si', 'diamond', a=5.43)
    assert vacuum_levels(atoms, np.zeros((12, 12, 12)), upf_pseudos, 20.0) is None


@pytest.mark.parametrize('length', [16.0, 20.0])
def test_level_of_neutral_atoms_and_of_charged_sheets(upf_pseudos, superposition, length):
    """Neutral atoms leave zero. Sheets of opposite charge and different width lift it by 4 pi e^2 sum q s^2 / 2."""
    atoms, ecutrho = layer(length), 40.0
    grid = fft_grid(atoms.cell[:], ecutrho)
    density = superposition(atoms, upf_pseudos, grid, ecutrho)
    neutral = vacuum_levels(atoms, density, upf_pseudos, ecutrho)[0]
    assert abs(neutral) < 2e-3
    volume, area = atoms.get_volume() / BOHR**3, np.linalg.norm(np.cross(*atoms.cell[1:])) / BOHR**2
    heights = (np.arange(grid[0]) / grid[0] + 0.5) % 1.0 - 0.5
    electrons, widths = 0.1, (2.0, 1.5)
    sheets = [np.exp(-0.5 * ((heights * length - 0.5) / BOHR / s) ** 2) / (np.sqrt(2 * np.pi) * s) for s in widths]
    changed = density + electrons / area * (sheets[0] - sheets[1])[:, None, None]
    expected = 4 * np.pi * electrons * (widths[0] ** 2 - widths[1] ** 2) / volume * RYDBERG
    assert expected > 5e-3
    assert vacuum_levels(atoms, changed, upf_pseudos, ecutrho)[0] - neutral == pytest.approx(expected, rel=1e-4)


@pytest.mark.qe
def test_levels_from_the_vacuum_do_not_depend_on_its_thickness(tmp_path):
    """Upright hydrogen molecules: their highest level in two runs of pw.x, and in the basis."""
    pseudos = {'H': Pseudopotential.read(DEBIAN_PSEUDOS / 'H.pz-vbc.UPF')}
    basis = Basis({'H': generate_basis(pseudos['H'], 'sz')})
    own, from_vacuum, in_basis, hamiltonians = [], [], [], []
    for length in (14.0, 20.0):
        folder = tmp_path / str(length)
        folder.mkdir()
        atoms = Atoms('H2', positions=[[0, 0, 1.0], [0, 0, 1.75]], cell=[3.5, 3.5, length], pbc=True)
        finished = run_pw(folder, atoms, pseudos, 25, (2, 2, 1), 2)
        run = finished.read()
        density = read_charge_density(finished.charge_density, run.fft_grid, run.atoms)
        potential = potential_from_density(run.atoms, density, pseudos, run.ecutrho)
        options = ReconstructionOptions(density=density)
        made = reconstruct(run.atoms, potential, basis, pseudos, run.ecutrho, (2, 2, 1), run=run, options=options)
        level = made.attributes.vacuum_level
        own.append(run.eigenvalues[0, 0])
        from_vacuum.append(own[-1] + made.attributes.gauge_shift - level)
        in_basis.append(eigenvalues(made, np.zeros((1, 3)))[0, 0] - level)
        hamiltonians.append(made)
    assert abs(own[0] - own[1]) > 0.03
    assert from_vacuum[0] == pytest.approx(from_vacuum[1], abs=1e-3)
    assert in_basis[0] == pytest.approx(in_basis[1], abs=3e-3)
    # The level of one slab from the other one and the levels of its atoms.
    aligned = align_vacuum(*hamiltonians)
    assert aligned.levels == pytest.approx([hamiltonians[0].attributes.vacuum_level] * 2, abs=4e-3)
