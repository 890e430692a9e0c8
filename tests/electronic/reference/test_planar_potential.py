"""Plane averages of the electrostatic potential against pp.x and average.x of Quantum ESPRESSO."""

import shutil
import subprocess

import numpy as np
import pytest
from qe_fixtures import run_executable

from aiida_hamlr.electronic.bands.layers import plane_distance, window_average
from aiida_hamlr.electronic.reference.density import potential_from_density
from aiida_hamlr.electronic.reference.planar_potential import planar_potential
from aiida_hamlr.electronic.reference.reconstruction import ReconstructionOptions, reconstruct
from aiida_hamlr.electronic.units import BOHR, RYDBERG
from aiida_hamlr.io.qe import read_charge_density

#: Points of average.x along the axis, and width of the window of the macroscopic average as a part of the cell: an odd
#: number of points, and a little more against rounding.
POINTS, WINDOW = 400, 51.01 / 400


def averages(folder, axis: int, length: float) -> np.ndarray:
    """Heights (bohr), plane and macroscopic averages (Ry) of the file ``electrostatic`` along an axis, by average.x.

    ``length`` is that of the cell along the axis, bohr.
    """
    if shutil.which('average.x') is None:
        pytest.skip('average.x is not installed')
    text = f'1\nelectrostatic\n1.0\n{POINTS}\n{axis + 1}\n{WINDOW * length}\n'
    done = subprocess.run(['average.x'], input=text, cwd=folder, capture_output=True, text=True, check=False)
    assert (folder / 'avg.dat').is_file(), done.stdout + done.stderr
    return np.loadtxt(folder / 'avg.dat').T


@pytest.mark.qe
@pytest.mark.parametrize('name', ['periodic', '2D', 'dipole correction'])
def test_averages_are_those_of_quantum_espresso(polar_slab_runs, upf_pseudos, name):
    """A buckled layer; pp.x writes V_bare + V_H, with the saw-tooth of the dipole correction."""
    finished = polar_slab_runs[name]
    run = finished.read()
    density = read_charge_density(finished.charge_density, run.fft_grid, run.atoms)
    text = "&inputpp prefix='aiida' outdir='./out' filplot='electrostatic' plot_num=11 /\n"
    assert 'JOB DONE' in run_executable('pp.x', text, finished.folder)
    shift = run.electrostatics.gauge_shift(run.atoms, upf_pseudos)
    for axis in (2, 0):
        found = planar_potential(run.atoms, density, upf_pseudos, run.ecutrho, axis, run.electrostatics)
        length = plane_distance(run.atoms, axis)
        # average.x measures along the lattice vector, which need not be normal to the planes.
        edge = float(np.linalg.norm(run.atoms.cell[axis]))
        heights, planar, macroscopic = averages(finished.folder, axis, edge / BOHR)
        at = np.arange(len(found)) / len(found) * edge / BOHR
        expected, smooth = (
            np.interp(at, heights, values, period=edge / BOHR) * RYDBERG + shift for values in (planar, macroscopic)
        )
        assert np.abs(found - expected).max() < 1e-5
        assert np.abs(window_average(found, length, WINDOW * length) - smooth).max() < 5e-4 * np.ptp(expected)


@pytest.mark.qe
def test_references_record_it(rattled_alas_run, upf_pseudos, plain_basis):
    """The averages of all three axes have one mean, that of the cell."""
    run = rattled_alas_run.read()
    density = read_charge_density(rattled_alas_run.charge_density, run.fft_grid, run.atoms)
    potential = potential_from_density(run.atoms, density, upf_pseudos, run.ecutrho)
    options = ReconstructionOptions(density=density, truncate=False)
    made = reconstruct(
        run.atoms, potential, plain_basis(('Al', 'As'), 'sz'), upf_pseudos, run.ecutrho, (1, 1, 1), options=options
    )
    recorded = made.attributes.planar_potentials
    assert [len(values) for values in recorded] == list(run.fft_grid)
    assert np.ptp([np.mean(values) for values in recorded]) < 1e-6
