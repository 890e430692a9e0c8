"""The response of AlAs to a field, learned from small cells and one label of ph.x, against ph.x itself.

    OMP_NUM_THREADS=1 python benchmarks/labels.py --seconds 60 --json labels.json

Networks learn the rattled cells of 8 atoms of data/waves.py and the crystal of two atoms, whose Hamiltonian has the
dielectric tensor and the Born charges of ph.x among its labels. `none` learns Hamiltonians alone, with charges that do
not respond, `dielectric` also the tensor: then its Born charges are a prediction, from the screened charge in the
Hamiltonians. `both` learns both. References are made by pw.x when they are first needed. Prints one JSON object; the
exit status is 1 if a gate is failed.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import redirect_stdout
from datetime import datetime, timezone
from pathlib import Path

import click
import numpy as np
from _report import report
from _training import train_for
from ase.build import bulk
from data.phonon import labelled_hamiltonian
from data.references import References
from data.waves import CUTOFF, KPOINTS_DISTANCE, KPOINTS_OFFSET, LATTICE_CONSTANT, structures
from model import judge

from aiida_hamlr import __version__
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.model.inference import load_model

#: k-points of the crystal and their shift in half steps.
MESH = '8 8 8 1 1 1'

#: Model and weights of the labels by name.
RUNS = {
    'none': ({'variant': 'lr'}, {}),
    'dielectric': ({'variant': 'lr', 'long_range': {'response': True}}, {'dielectric_weight': 1.0}),
    'both': ({'variant': 'lr', 'long_range': {'response': True}}, {'dielectric_weight': 1.0, 'born_weight': 1.0}),
}

#: Largest relative errors by run: what is learned, and what is predicted.
GATES = {'dielectric_eps': 0.01, 'dielectric_born': 0.1, 'both_eps': 0.01, 'both_born': 0.01}


def learn(name: str, crystal: Path, cells: dict[str, list], seconds: float, folder: Path) -> dict:
    """Train one network; its errors of the elements, and its response in the crystal or its charge."""
    model, weights = RUNS[name]
    data = {'train': [str(crystal), *cells['train']], 'validation': cells['validation']}
    shutil.rmtree(folder, ignore_errors=True)
    summary = train_for(seconds, data, model, folder, **weights)
    reference, predictor = Hamiltonian.read(crystal), load_model(folder)
    result = {key: summary[key] for key in ('steps', 'validation_mae_meV', 'species_charges')}
    if not weights:
        sources = predictor.correction(reference)[1]
        return result | {'screened_charge_e': float(sources.charge[0])}
    tensor, charges = predictor.field_response(reference)
    eps, born = float(np.trace(tensor)) / 3, float(np.trace(charges[0])) / 3
    polarisabilities = {'species_polarisabilities': summary['species_polarisabilities']}
    return result | polarisabilities | {'eps': eps, 'born_e': born, 'screened_charge_e': born / eps}


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'show_default': True}, help=__doc__)
@click.option('--seconds', type=float, default=60.0, help='Training time of each network.')
@click.option(
    '--data',
    type=click.Path(path_type=Path, file_okay=False),
    default=Path('.benchmarks/waves'),
    help='Folder of the references; made there if they are missing.',
)
@click.option(
    '--runs',
    type=click.Path(path_type=Path, file_okay=False),
    default=Path('.benchmarks/labels'),
    help='Folder of the crystal and of the trainings; earlier ones there are removed.',
)
@click.option('--json', 'output', type=click.Path(path_type=Path, dir_okay=False), help='Instead of standard output.')
def main(seconds, data, runs, output):
    """Command line."""
    references = References(data / 'rattled', ('Al', 'As'), CUTOFF, KPOINTS_DISTANCE, KPOINTS_OFFSET)
    cells, _ = structures()
    with redirect_stdout(sys.stderr):
        files = references.make({name: atoms for part in cells.values() for name, atoms in part.items()})
        paths = {split: [str(files[name]) for name in part if name in files] for split, part in cells.items()}
        atoms, basis = bulk('AlAs', 'zincblende', a=LATTICE_CONSTANT), Hamiltonian.read(paths['train'][0], ()).basis
        crystal = labelled_hamiltonian(runs / 'crystal', atoms, CUTOFF, MESH, basis)
        found = {name: learn(name, crystal, paths, seconds, runs / name) for name in RUNS}
    labels = Hamiltonian.read(crystal, ()).labels
    eps, born = (float(np.trace(one)) / 3 for one in (labels['dielectric_tensor'], labels['born_charges'][0]))
    errors = {}
    for gate in GATES:
        name, quantity = gate.split('_')
        value, expected = (found[name]['eps'], eps) if quantity == 'eps' else (found[name]['born_e'], born)
        errors[gate] = (abs(value / expected - 1), GATES[gate])
    result = {
        'code': f'aiida-hamlr {__version__}',
        'date': datetime.now(timezone.utc).date().isoformat(),
        'seconds': seconds,
        'phonon': {'eps': eps, 'born_e': born, 'screened_charge_e': born / eps},
        'models': found,
    }
    report(result | judge(errors), output)


if __name__ == '__main__':
    main()
