"""Table and figures of the quickstart."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import ase
import numpy as np
from aiida import orm

from aiida_hamlr.electronic.bands.band_structure import BandAttributes, Bands
from aiida_hamlr.electronic.bands.kpoints import BandPath
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.levels import onsite_levels
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.plotting.bands import plot_bands
from aiida_hamlr.plotting.levels import plot_levels
from aiida_hamlr.plotting.training import plot_training

METRICS = ('train_mae_meV', 'validation_mae_meV')
PLANE_WAVE_SPACING = 0.6  # 1/Å, between the k-points at which pw.x computes bands

ERRORS = {
    'test_mae_meV': 'Hamiltonian, test set',
    'mae_meV': 'Hamiltonian, 48-atom wave',
    'mae_onsite_meV': '  its on-site blocks',
    'band_mae_occupied_meV': '  its occupied bands',
    'band_mae_conduction_meV': '  its four lowest conduction bands',
    'gap_error_meV': '  its direct gaps',
}


def band_line(atoms: ase.Atoms, spacing: float) -> BandPath:
    """Return the path X - Gamma - M across the wave; along the wave the bands are flat."""
    points = [('X', (0.5, 0, 0)), ('GAMMA', (0, 0, 0)), ('M', (0.5, 0.5, 0))]
    return BandPath.from_lines([points], atoms.cell, spacing)


def get_bands(path: BandPath, energies: np.ndarray, n_electrons: float) -> Bands:
    """Return bands with their edges, from energies in eV."""
    occupied = round(n_electrons / 2)
    top, bottom = float(energies[:, occupied - 1].max()), float(energies[:, occupied].min())
    attributes = BandAttributes(vbm=top, cbm=bottom, gap=bottom - top)
    return Bands(path.kpoints, energies, path.labels, distances=path.distances, attributes=attributes)


def draw_figures(
    folder: Path,
    reference: Hamiltonian,
    predictions: dict[str, Hamiltonian],
    trainings: dict[str, orm.ArrayData],
    plane_waves: orm.BandsData,
):
    """Draw bands, levels along the wave, and learning curves."""
    n_electrons = reference.attributes.n_electrons
    n_bands = round(n_electrons / 2) + 8
    fine, coarse = (band_line(reference.atoms, spacing) for spacing in (0.05, PLANE_WAVE_SPACING))
    sets = {
        name: get_bands(fine, eigenvalues(hamiltonian, fine.kpoints, n_bands=n_bands), n_electrons)
        for name, hamiltonian in (
            ('DFT in the orbital basis', reference),
            ('prediction', predictions['with long range']),
        )
    }
    sets['plane waves'] = get_bands(coarse, plane_waves.get_bands(), n_electrons)
    plot_bands(list(sets.values()), folder / 'bands.png', list(sets), window=(-1.5, 2.5))
    plot_levels(
        reference.atoms.positions[:, 2],
        {name: onsite_levels(hamiltonian) for name, hamiltonian in ({'DFT': reference} | predictions).items()},
        folder / 'levels.png',
        symbols=reference.symbols,
    )
    curves = {
        name: {column: curve.get_array(column) for column in ('epoch', *METRICS)} for name, curve in trainings.items()
    }
    plot_training(curves, folder / 'training.png')


def get_cpu_time(scf: orm.CalcJobNode) -> float:
    """Return the CPU time that a pw.x run reports, s; unlike its wall-time it does not depend on other jobs."""
    text = scf.outputs.retrieved.base.repository.get_object_content('data-file-schema.xml')
    return float(ElementTree.fromstring(text).find('timing_info/total/cpu').text)  # noqa: S314


def print_table(rows: dict[str, dict], seconds: dict[str, float]):
    """Print the errors of both networks side by side, and what DFT and prediction cost."""
    print('\n' + 'Mean absolute error, meV'.ljust(40) + ''.join(name.rjust(18) for name in rows))
    for key, name in ERRORS.items():
        print(name.ljust(40) + ''.join(f'{row[key]:18.2f}' for row in rows.values()))
    print('\nCPU seconds for the 48-atom wave')
    for name, value in seconds.items():
        print(f'  {name}'.ljust(40) + f'{value:18.1f}')
    print(flush=True)
