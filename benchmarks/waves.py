"""Waves and domains longer than those learned: networks with and without the long range.

    OMP_NUM_THREADS=1 python benchmarks/waves.py --json waves.json

AlAs: the networks learn rattled cells of 8 atoms and waves and domains of at most 32 atoms, and predict columns of 16,
32 and 48 atoms with other amplitudes. Their charges are compared with two numbers that come without a network: Z*/eps
of ph.x on the k-points of the data, and the slope of the atoms' levels in the data over the potential. The references
are made by pw.x when they are first needed, see data/waves.py. Prints one JSON object; the exit status is 1 if a gate
is failed.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import redirect_stdout
from datetime import datetime, timezone
from pathlib import Path

import click
import numpy as np
import torch
from _report import report
from _training import train_for
from ase import Atoms
from data.phonon import run_phonon
from data.waves import CUTOFF, DOMAINS, column, make_all
from model import judge

from aiida_hamlr import __version__
from aiida_hamlr.electronic.bands.levels import potential_profile
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.io.qe import read_field_response
from aiida_hamlr.model.evaluation import evaluate_one
from aiida_hamlr.model.inference import load_model
from aiida_hamlr.model.long_range.ewald import DirectSum
from aiida_hamlr.plotting.levels import plot_levels

#: Networks by name.
MODELS = {
    'lr_field': {'variant': 'lr', 'long_range': {'field_features': True}},
    'lr': {'variant': 'lr'},
    'lr_one_charge': {'variant': 'lr', 'long_range': {'environment_charges': False}},
    'sr': {'variant': 'sr'},
}

#: The one that has to keep the gates: the network that sees the field.
GATED = 'lr_field'

#: Largest errors of the 48-atom columns, meV.
GATES = {'mae_meV': 0.11, 'mae_onsite_meV': 1.5, 'band_mae_occupied_meV': 2.0, 'gap_error_meV': 6.0}

#: Largest ratio of the errors of 48 atoms and of fewer, and largest relative error of the charge that moves.
GROWTH, CHARGE_ERROR = 1.2, 0.03

#: Mesh of k-points and its shift in half steps of one cell of four atoms that the longest columns amount to.
PHONON_MESH = '4 4 12 1 1 0'

#: Å; surroundings are the same in all planes of a domain that are further from its walls.
REACH = 7.0


def screened_charge(folder: Path) -> float:
    """Z*/eps along z of ph.x, e: the mean magnitude of both elements' charges over the dielectric constant.

    Raises
    ------
    RuntimeError
        If pw.x or ph.x fails.
    """
    response = read_field_response(run_phonon(folder, column(1), CUTOFF, PHONON_MESH))
    return float(response.born_charges[0, 2, 2] / response.dielectric_tensor[2, 2])


def level_charge(paths: list[str], width: float = 1.5) -> dict:
    """Charge that explains the levels of atoms with the same surroundings but at different potentials.

    Parameters
    ----------
    paths : list of str
        Files of pairs of domains.
    width : float
        Of the kernel, Å.

    Returns
    -------
    dict
        ``charge_e`` on the cations and ``spread_meV``, the root mean square deviation of the levels from the mean of
        their element and domain, and ``residual_meV``, what the charge leaves of it.
    """
    levels, potentials = [], []
    for path in paths:
        hamiltonian = Hamiltonian.read(path)
        atoms = hamiltonian.atoms
        cations = atoms.symbols == 'Al'
        unit = torch.tensor(np.where(cations, 1.0, -1.0))
        cell, positions = torch.tensor(atoms.cell[:]), torch.tensor(atoms.positions)
        potential = DirectSum(cell, positions, width)(unit)[0].numpy()
        level = potential_profile(hamiltonian)
        # In undisplaced planes; walls are at 0 and in the middle.
        plane = np.round(atoms.positions[:, 2] / atoms.cell[2, 2] * 2 * len(atoms)) / (2 * len(atoms))
        to_wall = np.abs((2 * plane + 0.5) % 1.0 - 0.5) * atoms.cell[2, 2] / 2
        for half in (plane < 0.5, plane >= 0.5):
            for element in (cations, ~cations):
                chosen = half & element & (to_wall > REACH)
                if chosen.sum() > 1:
                    levels.append(level[chosen] - level[chosen].mean())
                    potentials.append(potential[chosen] - potential[chosen].mean())
    level, potential = np.concatenate(levels), np.concatenate(potentials)
    charge = -(potential @ level) / (potential @ potential)
    rest = level + charge * potential
    return {
        'charge_e': float(charge),
        'spread_meV': float(1e3 * np.sqrt(np.mean(level**2))),
        'residual_meV': float(1e3 * np.sqrt(np.mean(rest**2))),
    }


def moving_charge(atoms: Atoms, charges: np.ndarray) -> float:
    """Charge that the cations take along when they are displaced, e: what Z*/eps is to be compared with.

    The lowest Fourier component of the charges along the column over that of charges of +1 e on cations and -1 e on
    anions. Where charges depend on the surroundings this is not the mean charge: a part of it flows back.
    """
    phase = np.exp(-2j * np.pi * atoms.positions[:, 2] / atoms.cell[2, 2])
    return float(((charges @ phase) / (np.where(atoms.symbols == 'Al', 1.0, -1.0) @ phase)).real)


def learn(files: dict, model: dict, seconds: float, folder: Path) -> dict:
    """Train for some seconds and compare with the references of the test columns.

    Returns
    -------
    dict
        Errors by name in ``columns``, with the mean and the moving charge of the cations where there are charges.
    """
    data = {split: list(files[split].values()) for split in ('train', 'validation')}
    shutil.rmtree(folder, ignore_errors=True)
    with redirect_stdout(sys.stderr):
        summary = train_for(seconds, data, model, folder)
    predictor = load_model(folder)
    columns = {}
    for name, path in files['test'].items():
        errors = evaluate_one(predictor, path)
        columns[name] = {key: value for key, value in errors.items() if key.endswith('_meV') or key == 'n_atoms'}
        reference = Hamiltonian.read(path)
        sources = predictor.correction(reference)[1]
        if sources is not None:
            columns[name]['mean_charge_e'] = float(sources.charge[reference.atoms.symbols == 'Al'].mean())
            columns[name]['moving_charge_e'] = moving_charge(reference.atoms, sources.charge)
    keys = ('n_parameters', 'steps', 'training_s', 'validation_mae_meV', 'species_charges', 'field_factors')
    return {key: summary[key] for key in keys if key in summary} | {'columns': columns}


def find_gates(errors: dict, charges: dict[str, float]) -> dict:
    """Values and limits by name, of the columns of 48 atoms."""
    columns = errors['columns']
    longest = {name: one for name, one in columns.items() if one['n_atoms'] == 48}
    gates = {f'{name}_{key}': (one[key], limit) for name, one in longest.items() for key, limit in GATES.items()}
    for name, one in longest.items():
        for cells in (4, 8):
            shorter = columns[name.replace('12', f'{cells}_test')]
            gates[f'{name}_growth_from_{4 * cells}_atoms'] = (one['mae_meV'] / shorter['mae_meV'], GROWTH)
        for source, charge in charges.items():
            gates[f'{name}_charge_{source}'] = (abs(one['moving_charge_e'] / charge - 1), CHARGE_ERROR)
    return gates


def draw(files: dict, folder: Path, output: Path, name: str = 'domain_12'):
    """Levels along a column, of the reference and of the networks."""
    reference = Hamiltonian.read(files['test'][name])
    labels = {GATED: 'with long range', 'sr': 'short range only'}
    levels = {'DFT': potential_profile(reference)}
    for key, label in labels.items():
        levels[label] = potential_profile(load_model(folder / key).predict_from(reference))
    plot_levels(reference.atoms.positions[:, 2], levels, output, reference.symbols, reference='DFT')


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'show_default': True}, help=__doc__)
@click.option('--seconds', type=float, default=300.0, help='Training time of each network.')
@click.option('--models', multiple=True, type=click.Choice(list(MODELS)), default=list(MODELS))
@click.option(
    '--data',
    type=click.Path(path_type=Path, file_okay=False),
    default=Path('.benchmarks/waves'),
    help='Folder of the references; made there if they are missing.',
)
@click.option(
    '--runs',
    type=click.Path(path_type=Path, file_okay=False),
    default=Path('.benchmarks/waves_runs'),
    help='Folder of the trainings; earlier ones there are removed.',
)
@click.option(
    '--plot', type=click.Path(path_type=Path, dir_okay=False), help='PNG file of the levels of a domain pair.'
)
@click.option('--json', 'output', type=click.Path(path_type=Path, dir_okay=False), help='Instead of standard output.')
def main(seconds, models, data, runs, plot, output):
    """Command line."""
    try:
        files = make_all(data)
        phonon = screened_charge(data / 'phonon')
    except (RuntimeError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    every = files['train'] | files['test']
    levels = level_charge([every[name] for part in DOMAINS.values() for name, (n, _) in part.items() if n >= 8])
    charges = {'phonon': phonon, 'levels': levels['charge_e']}
    result = {
        'code': f'aiida-hamlr {__version__}',
        'date': datetime.now(timezone.utc).date().isoformat(),
        'seconds': seconds,
        'n_train': len(files['train']),
        'phonon_charge_e': phonon,
        'levels': levels,
        'models': {name: learn(files, MODELS[name], seconds, runs / name) for name in models},
    }
    result |= judge(find_gates(result['models'][GATED], charges)) if GATED in models else {'passed': True}
    if plot is not None:
        draw(files, runs, plot)
    report(result, output)


if __name__ == '__main__':
    main()
