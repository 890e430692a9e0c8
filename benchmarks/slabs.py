"""Polar slabs in vacua that the network never saw, with charges that respond and with fixed ones.

    OMP_NUM_THREADS=1 python benchmarks/slabs.py FOLDER --json slabs.json

AlAs (110) slabs of five layers, passivated by hydrogen, whose cations are displaced along the normal, with 10 and 18 Å
between the last layer and the next first are learned; the same slab with 30 Å and one of eight layers are predicted.
pw.x makes the references (six runs of 14 or 20 atoms); what is in the folder is used again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms

from aiida_hamlr.electronic.hamiltonian import Hamiltonian
from aiida_hamlr.model.evaluation import fitted_shift
from aiida_hamlr.model.inference import load_model
from aiida_hamlr.model.training import train

LATTICE_CONSTANT = 5.66
CUTOFF, KPOINTS = 20.0, (3, 4, 1)
VALENCE = {'Al': 3, 'As': 5, 'H': 1}

#: Layers, vacuum (Å) and displacement (Å) of the slabs by name.
TRAINING = {
    's5_10_p': (5, 10.0, 0.08),
    's5_18_p': (5, 18.0, 0.08),
    's5_10_m': (5, 10.0, -0.08),
    's5_18_m': (5, 18.0, -0.08),
}
TEST = {'s5_30_p': (5, 30.0, 0.08), 's8_18_p': (8, 18.0, 0.06)}


def slab(layers: int, vacuum: float, displacement: float) -> Atoms:
    """(110) slab with its normal along z; hydrogen along the cut bonds."""
    step, half = LATTICE_CONSTANT / 8**0.5, LATTICE_CONSTANT / 2
    atoms = Atoms(cell=[LATTICE_CONSTANT, 2 * step, (layers - 1) * step + vacuum], pbc=True)
    for n in range(layers):
        shift = np.array([half, step, 0]) * (n % 2) + [0, 0, n * step]
        atoms += Atoms('AlAs', positions=np.array([[0, 0, 0], [half / 2, step, 0]]) + shift)
    bond = np.array([-0.25, 0, 8**-0.5]) / np.linalg.norm([0.25, 8**-0.5])
    (low_al, low_as), (top_al, top_as) = atoms.positions[:2], atoms.positions[-2:]
    hydrogen = [
        top_al + 1.6 * bond,
        top_as + 1.52 * bond * [-1, 1, 1],
        low_al + 1.6 * bond * [1, 1, -1],
        low_as + 1.52 * bond * [-1, 1, -1],
    ]
    atoms += Atoms('H4', positions=hydrogen)
    # The hydrogen on a cation goes with it.
    moved = (atoms.symbols == 'Al') | np.isin(np.arange(len(atoms)), len(atoms) - np.array([4, 2]))
    atoms.positions[moved, 2] += displacement
    atoms.positions[:, 2] += vacuum / 2
    return atoms


def reference(folder: Path, name: str, atoms: Atoms) -> Path:
    """File of the Hamiltonian, made by pw.x and hamlr if it is not there."""
    result, run = folder / f'{name}.h5', folder / name
    if result.exists():
        return result
    run.mkdir(exist_ok=True)
    n_bands = sum(VALENCE[symbol] for symbol in atoms.get_chemical_symbols()) // 2 + 6
    lines = [
        "&control calculation='scf' prefix='aiida' outdir='./out' pseudo_dir='../pseudos' disk_io='low' /",
        f'&system ibrav=0 nat={len(atoms)} ntyp=3 ecutwfc={CUTOFF} nbnd={n_bands} /',
        '&electrons conv_thr=1e-10 mixing_beta=0.3 /',
        'ATOMIC_SPECIES',
        *(f'{element} 1.0 {element}.upf' for element in sorted(VALENCE)),
        'CELL_PARAMETERS angstrom',
        *(' '.join(f'{x:.10f}' for x in vector) for vector in atoms.cell[:]),
        'ATOMIC_POSITIONS angstrom',
        *(f'{s} ' + ' '.join(f'{x:.10f}' for x in p) for s, p in zip(atoms.symbols, atoms.positions, strict=True)),
        'K_POINTS automatic',
        ' '.join(map(str, KPOINTS)) + ' 0 0 0',
    ]
    (run / 'pw.in').write_text('\n'.join(lines) + '\n')
    with (run / 'pw.out').open('w') as output:
        subprocess.run(['pw.x', '-in', 'pw.in'], cwd=run, check=True, stdout=output)
    save = 'out/aiida.save'
    config = {
        'structure': f'{save}/data-file-schema.xml',
        'density': f'{save}/charge-density.dat',
        'pseudos': {element: f'../pseudos/{element}.upf' for element in VALENCE},
        'basis': {'size': 'dzp', 'cutoff_radius': 8.0},
        'kpoints': list(KPOINTS),
        'plane_wave_bands': f'{save}/data-file-schema.xml',
        'output': str(result.resolve()),
    }
    (run / 'reconstruct.yaml').write_text(yaml.safe_dump(config))
    subprocess.run(['hamlr', 'reconstruct', 'reconstruct.yaml'], cwd=run, check=True, capture_output=True)
    return result


def errors(predictor, path: Path) -> dict:
    """Errors of one structure after the fitted shift: all elements, and the mean levels of the atoms in the slab."""
    hamiltonian = Hamiltonian.read(path)
    pattern = hamiltonian.pattern
    delta = predictor.correction(hamiltonian.atoms, pattern, hamiltonian.overlap)[0]
    error = delta - (hamiltonian.hamiltonian - hamiltonian.h0)
    error = 1e3 * (error + fitted_shift(error, hamiltonian.overlap) * hamiltonian.overlap)
    heavy = [int(p) for p in pattern.onsite if hamiltonian.atoms.numbers[pattern.first[p]] > 1]
    levels = np.array([np.diag(pattern.block(error, p)).mean() for p in heavy])
    heights = hamiltonian.atoms.positions[pattern.first[heavy], 2]
    return {
        'mae_meV': float(np.abs(error).mean()),
        'level_error_meV': float(levels.std()),
        'level_slope_meV_per_angstrom': float(np.polyfit(heights, levels, 1)[0]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--json', type=Path, help='write the results there instead of printing them')
    parser.add_argument('--seconds', type=float, default=80.0, help='training time of each network')
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(exist_ok=True)
    subprocess.run(['hamlr', 'pseudo', *VALENCE, '-o', folder / 'pseudos'], check=True, capture_output=True)
    files = {name: reference(folder, name, slab(*shape)) for name, shape in (TRAINING | TEST).items()}
    result = {}
    for name, model in {'response': {'response': True}, 'fixed': {'kernel_width': 2.0}}.items():
        config = {
            'data': {'train': [files[name] for name in TRAINING]},
            'model': model,
            'training': {'max_time_s': arguments.seconds, 'max_epochs': 10**6, 'device': 'cpu'},
        }
        summary = train(config, folder / f'run_{name}')
        predictor = load_model(folder / f'run_{name}')
        result[name] = {key: value for key, value in summary.items() if key.startswith(('species', 'response'))}
        result[name] |= {'steps': summary['steps'], 'errors': {n: errors(predictor, path) for n, path in files.items()}}
    text = json.dumps(result, indent=1) + '\n'
    if arguments.json is None:
        print(text, end='')
    else:
        arguments.json.write_text(text)


if __name__ == '__main__':
    main()
