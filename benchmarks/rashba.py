"""Rashba splitting of polar layers of PbSe, predicted by a network that was trained without spin-orbit coupling.

    OMP_NUM_THREADS=1 python benchmarks/rashba.py .benchmarks/rashba --cache CACHE --json rashba.json --plot rashba.png

A square layer of PbSe is polar if Se lies above or below the plane of Pb: by their distance, the buckling, the
polarization is set and reversed, and without it the layer has inversion symmetry. The network learns strained layers,
all with Se above, from scalar-relativistic runs of pw.x, and predicts bucklings of both signs with `hamlr predict`
and `spin_orbit: true`. The reference is H of pw.x for the same layer with the same spin-orbit part, and for one layer
a run of pw.x with spin-orbit coupling. CACHE holds the wheel of the pseudopotentials, which is downloaded if it is
not there; what is in the folder, the network too, is used again. Exit status 1: the sign of a predicted Rashba
parameter is not that of the reference, its error is larger than 0.1 eV Å, the parameter of the flat layer is not
zero, the spins are not perpendicular to k, or reversing the layer does not reverse them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath

import numpy as np
import yaml
from _report import report
from ase import Atoms
from ase.io import write
from pseudopotential_table import extract

from aiida_hamlr.electronic.bands.band_structure import Bands, band_structure
from aiida_hamlr.electronic.bands.rashba import rashba_parameter, spin_splitting
from aiida_hamlr.electronic.integrals.spin_orbit import add_spin_orbit
from aiida_hamlr.electronic.lattice import reciprocal
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.io.qe import read_scf_xml
from aiida_hamlr.jobs.predict import run_predict
from aiida_hamlr.jobs.reconstruct import reconstruct
from aiida_hamlr.model.training.fit import train
from aiida_hamlr.plotting.style import COLOURS, GREY, drawing

#: Scalar-relativistic and fully relativistic files of the wheel; 3d of Se belongs to the core.
FILES = {
    'Pb': {kind: PurePosixPath(f'PseudoDojo/0.4/PBE/{kind}/standard/upf/Pb.upf') for kind in ('SR', 'FR')},
    'Se': {
        'SR': PurePosixPath('SG15/1.2/PBE/SR/Se_ONCV_PBE-1.2.upf'),
        'FR': PurePosixPath('SG15/1.0/PBE/FR/Se_ONCV_PBE_FR-1.1.upf'),
    },
}

#: Lattice constant of the layers that are predicted, and distance of the periodic layers, Å.
LATTICE_CONSTANT, PERIOD = 4.0, 10.0

#: Plane-wave cutoff, Ry, and k-points of the runs.
CUTOFF, MESH = 36.0, '3 3 1'

#: Of the trained layers: range of the lattice constants and of the bucklings, Å; number of layers to train and to
#: validate on.
STRAINS, BUCKLINGS, N_TRAINING, N_VALIDATION = (3.9, 4.1), (0.0, 1.4), 8, 1

#: Bucklings that are predicted, Å: Se above Pb is positive. Bands are drawn of the outermost two.
PREDICTED = (-1.2, -0.6, 0.0, 0.6, 0.9, 1.2)

#: Buckling of the run of pw.x with spin-orbit coupling, Å, and distance from Gamma where its levels are compared, 1/Å.
SELF_CONSISTENT, STEP = 1.2, 0.02

#: Largest error of a Rashba parameter, eV Å; largest one of the flat layer; least part of the spin of a polar layer
#: along the axis that is perpendicular to k and to the normal.
LARGEST_ERROR, ZERO, PERPENDICULAR = 0.1, 1e-6, 0.999

#: Half the length of the line through Gamma whose bands are drawn, in reciprocal vectors.
REACH = 0.2

INPUT = """&control calculation='{calculation}' prefix='aiida' outdir='./out' pseudo_dir='{pseudos}' /
&system ibrav=0 nat=2 ntyp=2 ecutwfc={ecutwfc} nbnd={n_bands} {spin} /
&electrons conv_thr=1e-9 mixing_mode='local-TF' mixing_beta=0.7 /
ATOMIC_SPECIES
Pb 1.0 Pb.upf
Se 1.0 Se.upf
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS angstrom
{positions}
K_POINTS {kpoints}
"""

#: What pw.x leaves in the folder of a run.
SAVE = Path('out/aiida.save')


def layer(buckling: float, lattice_constant: float = LATTICE_CONSTANT) -> Atoms:
    """Square layer with Se above Pb, or below if the buckling is negative."""
    a, middle = lattice_constant, PERIOD / 2
    positions = np.array([[0, 0, middle - buckling / 2], [a / 2, a / 2, middle + buckling / 2]])
    return Atoms('PbSe', positions=positions, cell=[a, a, PERIOD], pbc=True)


def random_layers(count: int, first_seed: int) -> dict[str, Atoms]:
    """Strained layers with Se above, with bucklings spread over the range."""
    result = {}
    for number in range(count):
        generator = np.random.default_rng([2026, first_seed + number])
        share = (number + generator.uniform()) / count
        buckling = BUCKLINGS[0] + share * (BUCKLINGS[1] - BUCKLINGS[0])
        result[f'r{first_seed + number}'] = layer(buckling, generator.uniform(*STRAINS))
    return result


def name_of(buckling: float) -> str:
    """Name of a layer that is predicted, as 'b-120' of -1.2 Å."""
    return f'b{round(100 * buckling):+04d}'


def write_pseudos(folder: Path, cache: Path) -> dict[str, dict[str, Path]]:
    """Files of the elements, scalar-relativistic ('SR') and fully relativistic ('FR')."""
    result = {kind: {element: folder / kind / f'{element}.upf' for element in FILES} for kind in ('SR', 'FR')}
    extract(cache, {path: FILES[element][kind] for kind, files in result.items() for element, path in files.items()})
    return result


def run_pw(folder: Path, atoms: Atoms, kpoints: str, calculation: str = 'scf', kind: str = 'SR'):
    """Run pw.x, with spin-orbit coupling if the pseudopotentials are the fully relativistic ones, unless it was run."""
    done = folder / f'{calculation}.done'
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    positions = zip(atoms.symbols, atoms.positions, strict=True)
    text = INPUT.format(
        calculation=calculation,
        pseudos=f'../../given/{kind}',
        ecutwfc=CUTOFF,
        n_bands=14 if kind == 'SR' else 24,
        spin='' if kind == 'SR' else 'noncolin=.true. lspinorb=.true.',
        cell='\n'.join(' '.join(f'{x:.10f}' for x in row) for row in atoms.cell[:]),
        positions='\n'.join(f'{symbol} ' + ' '.join(f'{x:.10f}' for x in place) for symbol, place in positions),
        kpoints=kpoints,
    )
    (folder / f'{calculation}.in').write_text(text)
    with (folder / f'{calculation}.out').open('w') as output:
        subprocess.run(['pw.x', '-in', f'{calculation}.in'], cwd=folder, stdout=output, check=True)
    done.touch()


def make_references(folder: Path, pseudos: dict[str, Path], wanted: dict[str, Atoms]) -> dict[str, Path]:
    """Files of the references by name, made unless they are there."""
    files = {name: folder / 'references' / f'{name}.h5' for name in wanted}
    for name, file in files.items():
        if file.exists():
            continue
        start = time.process_time()
        run_pw(file.with_suffix(''), wanted[name], f'automatic\n{MESH} 0 0 0')
        save = file.with_suffix('') / SAVE
        hamiltonian = reconstruct(
            structure=save / 'data-file-schema.xml',
            density=save / 'charge-density.dat',
            pseudos=pseudos,
            basis={'size': 'dzp', 'recipe': 'plain', 'cutoff_radius': 8.0},
            quality_assurance=False,
        )
        hamiltonian.write(file)
        print(f'{name}: {time.process_time() - start:.0f} s besides pw.x', file=sys.stderr, flush=True)
    return files


def predict(folder: Path, model: Path, siblings: dict[str, Path]) -> dict[str, Path]:
    """Hamiltonian files of `hamlr predict` with spin-orbit coupling, by name."""
    structures = folder / 'layers.extxyz'
    write(structures, [layer(buckling) for buckling in PREDICTED])
    names = [name_of(buckling) for buckling in PREDICTED]
    settings = {
        'model': str(model.resolve()),
        'structures': [str(structures.resolve())],
        'labels': names,
        'outputs': ['hamiltonian', 'gap'],
        'kpoints': [6, 6, 1],
        'spin_orbit': True,
        'spin_orbit_pseudos': {element: str(path.resolve()) for element, path in siblings.items()},
        'output': str((folder / 'predictions').resolve()),
    }
    (folder / 'predict.yaml').write_text(yaml.safe_dump(settings))
    run_predict(folder / 'predict.yaml')
    return {name: folder / 'predictions' / name / 'hamiltonian.h5' for name in names}


def describe(hamiltonian: Hamiltonian) -> dict:
    """Rashba parameter of the lowest conduction pair at Gamma and how much of its spin is perpendicular to k."""
    band = round(hamiltonian.n_electrons)
    along_x, along_y = (rashba_parameter(hamiltonian, band, axis) for axis in ((1, 0, 0), (0, 1, 0)))
    spin = spin_splitting(hamiltonian, band, (1, 0, 0)).spin
    return {
        'rashba_eV_A': along_x,
        'rashba_along_y_eV_A': along_y,
        'spin_upper_branch_k_along_x': spin.tolist(),
        'perpendicular_part': float(abs(spin[1]) / np.linalg.norm(spin)),
    }


def line_bands(folder: Path, hamiltonian: Hamiltonian) -> Bands:
    """Bands along a line through Gamma, from the lowest conduction pair on."""
    path = folder / 'line.txt'
    path.write_text(f'-X {-REACH} 0 0\nGAMMA 0 0 0\nX {REACH} 0 0\n')
    return band_structure(hamiltonian, path, spacing=0.02, n_bands=round(hamiltonian.n_electrons) + 2)


def self_consistent(folder: Path) -> float:
    """Absolute value of the Rashba parameter of a run of pw.x with spin-orbit coupling, eV Å, from its levels."""
    atoms, run = layer(SELF_CONSISTENT), folder / 'references/spin_orbit'
    step = STEP / np.linalg.norm(reciprocal(atoms.cell[:])[0])
    run_pw(run, atoms, f'automatic\n{MESH} 0 0 0', kind='FR')
    run_pw(run, atoms, f'crystal\n2\n0 0 0 1\n{step:.10f} 0 0 1', 'bands', kind='FR')
    found = read_scf_xml(run / SAVE / 'data-file-schema.xml')
    band = round(found.n_electrons)
    lower, upper = np.asarray(found.eigenvalues)[1][band : band + 2]
    return float(upper - lower) / (2 * STEP)


def measure(folder: Path, cache: Path, steps: int, plot: Path | None) -> dict:
    """Train without spin-orbit coupling, predict with it, and compare."""
    pseudos = write_pseudos(folder / 'given', cache)
    siblings = {element: Pseudopotential.read(path) for element, path in pseudos['FR'].items()}
    training, validation, test = (
        make_references(folder, pseudos['SR'], wanted)
        for wanted in (
            random_layers(N_TRAINING, 0),
            random_layers(N_VALIDATION, 100),
            {name_of(buckling): layer(buckling) for buckling in PREDICTED},
        )
    )
    run = folder / 'run'
    if not (run / 'summary.json').exists():
        settings = {'max_steps': steps, 'device': 'cpu', 'threads': 1, 'seed': 0}
        data = {'train': list(training.values()), 'validation': list(validation.values())}
        train({'data': data, 'model': {'variant': 'lr'}, 'training': settings}, run)
    predictions = predict(folder, run / 'model', pseudos['FR'])
    hamiltonians: dict = {'reference': {}, 'prediction': {}}
    result: dict = {'layers': {}}
    for buckling in PREDICTED:
        name = name_of(buckling)
        reference, prediction = Hamiltonian.read(test[name]), Hamiltonian.read(predictions[name])
        add_spin_orbit(reference, siblings)
        hamiltonians['reference'][buckling], hamiltonians['prediction'][buckling] = reference, prediction
        result['layers'][name] = {
            'buckling_A': buckling,
            **{kind: describe(found[buckling]) for kind, found in hamiltonians.items()},
        }
    result['pw_rashba_eV_A'] = {name_of(SELF_CONSISTENT): self_consistent(folder)}
    result |= gates(result['layers'])
    if plot is not None:
        draw(folder, hamiltonians, result, plot)
    return result


def gates(layers: dict) -> dict:
    """Errors, and whether the limits are kept."""
    by_buckling = {entry['buckling_A']: entry for entry in layers.values()}
    values = {
        kind: {buckling: entry[kind]['rashba_eV_A'] for buckling, entry in by_buckling.items()}
        for kind in ('reference', 'prediction')
    }
    polar = [buckling for buckling in by_buckling if buckling]
    error = max(abs(values['prediction'][b] - values['reference'][b]) for b in by_buckling)
    same_sign = all(values['prediction'][b] * values['reference'][b] > 0 for b in polar)
    flat = max(abs(each[0.0]) for each in values.values())
    odd = max(abs(values['prediction'][b] + values['prediction'][-b]) for b in polar if -b in by_buckling)
    odd_reference = max(abs(values['reference'][b] + values['reference'][-b]) for b in polar if -b in by_buckling)
    perpendicular = min(by_buckling[b][kind]['perpendicular_part'] for b in polar for kind in values)
    return {
        'largest_error_eV_A': error,
        'flat_layer_eV_A': flat,
        'even_part_eV_A': odd,
        'even_part_of_the_reference_eV_A': odd_reference,
        'least_perpendicular_part': perpendicular,
        'passed': error <= LARGEST_ERROR and same_sign and flat < ZERO and odd < ZERO and perpendicular > PERPENDICULAR,
    }


def draw(folder: Path, hamiltonians: dict, result: dict, output: Path):
    """Bands of two opposite layers and the Rashba parameter over the buckling."""
    outermost = (PREDICTED[-1], PREDICTED[0])
    with drawing(output, 9.6, 3.9) as figure:
        panels = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
        panels[1].sharey(panels[0])
        for axes, buckling in zip(panels, outermost, strict=False):
            points = draw_pair(axes, folder, {kind: found[buckling] for kind, found in hamiltonians.items()})
            axes.set_title(f'Se {abs(buckling):.1f} Å {"above" if buckling > 0 else "below"} Pb')
        panels[0].set_ylabel('Energy − level at Γ (eV)')
        figure.colorbar(points, ax=panels[1], label=r'$\langle\sigma_y\rangle$', pad=0.03)
        draw_parameters(panels[2], result)


def draw_pair(axes, folder: Path, hamiltonians: dict):
    """The lowest conduction pair: the reference as lines, the prediction as points coloured by the spin."""
    for kind, hamiltonian in hamiltonians.items():
        bands = line_bands(folder, hamiltonian)
        k = bands.kpoints[:, 0] * np.linalg.norm(reciprocal(hamiltonian.atoms.cell[:])[0])
        middle = np.argmin(np.abs(k))
        pair = bands.eigenvalues[0][:, -2:]
        pair = pair - pair[middle].mean()
        if kind == 'reference':
            axes.plot(k, pair, color=GREY, linewidth=1.2, zorder=1)
            continue
        chosen = np.flatnonzero(np.arange(len(k)) % 2 == middle % 2)
        chosen = chosen[chosen != middle]
        points = axes.scatter(
            np.repeat(k[chosen], 2),
            pair[chosen].ravel(),
            c=bands.spins[chosen, 1, -2:].ravel(),
            cmap='coolwarm',
            vmin=-1,
            vmax=1,
            s=22,
            edgecolors='black',
            linewidths=0.3,
            zorder=2,
        )
    axes.set_xlabel('$k_x$ (1/Å)')
    return points


def draw_parameters(axes, result: dict):
    """Rashba parameters of reference, prediction and pw.x over the buckling."""
    entries = sorted(result['layers'].values(), key=lambda entry: entry['buckling_A'])
    bucklings = [entry['buckling_A'] for entry in entries]
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.axvline(0, color=GREY, linewidth=0.6)
    styles = {
        'reference': {'marker': 'o', 'markersize': 9, 'markerfacecolor': 'none', 'color': GREY, 'linewidth': 0},
        'prediction': {'marker': 'x', 'markersize': 6, 'color': COLOURS[1], 'linewidth': 0.9},
    }
    for kind, style in styles.items():
        axes.plot(bucklings, [entry[kind]['rashba_eV_A'] for entry in entries], label=kind, **style)
    [value] = result['pw_rashba_eV_A'].values()
    sign = np.sign(entries[-1]['reference']['rashba_eV_A'])
    axes.plot(
        [SELF_CONSISTENT],
        [sign * value],
        marker='+',
        markersize=11,
        linewidth=0,
        color=COLOURS[0],
        label='lspinorb',
    )
    axes.set_xlabel('Buckling (Å)')
    axes.set_ylabel(r'Rashba parameter $\alpha$ (eV Å)')
    axes.legend(loc='upper right')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--cache', type=Path, default=Path('.benchmarks'), help='folder of the wheel')
    parser.add_argument('--steps', type=int, default=600, help='of the training')
    parser.add_argument('--json', type=Path, help='write the results there instead of printing them')
    parser.add_argument('--plot', type=Path, help='figure to write')
    arguments = parser.parse_args()
    with redirect_stdout(sys.stderr):
        result = measure(arguments.folder, arguments.cache, arguments.steps, arguments.plot)
    report(result, arguments.json)


if __name__ == '__main__':
    main()
