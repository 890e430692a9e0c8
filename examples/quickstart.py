"""Quickstart: learn the Hamiltonian of AlAs from small cells, predict a wave of 48 atoms, compare with DFT.

Run it with `make demo`, or with `python examples/quickstart.py` in an environment that has the package and pw.x.
It takes up to twelve minutes on two cores, keeps everything in the folder .demo of the clone, and needs no service.

Two cutoffs are lower than a real study would have them (plane waves 20 Ry, k-points 0.55 1/Å): this is a demonstration.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

# AiiDA reads AIIDA_PATH when it is imported: this example keeps to its own configuration, not that of the user.
DEMO = Path(__file__).resolve().parents[1] / '.demo'
RESULTS = DEMO / 'results'
PSEUDOS = DEMO / 'pseudos'
BIN = Path(sys.executable).parent
(DEMO / '.aiida').mkdir(parents=True, exist_ok=True)
os.environ['AIIDA_PATH'] = str(DEMO)
os.environ['PATH'] = f'{BIN}{os.pathsep}{os.environ["PATH"]}'
os.environ['OMP_NUM_THREADS'] = '1'

import ase
import numpy as np
from aiida import load_profile, orm
from aiida.engine import submit
from aiida.engine.daemon.client import DaemonException, get_daemon_client
from aiida.engine.processes.control import get_active_processes, kill_processes
from aiida.manage import get_manager
from aiida.manage.configuration import create_profile, get_config
from aiida.plugins import BrokerFactory, CalculationFactory, WorkflowFactory

from aiida_hamlr.calculations.functions.compare import compare_hamiltonians
from aiida_hamlr.cli.installation import create_codes, create_localhost, create_pseudo_family
from aiida_hamlr.electronic.bands.band_structure import Bands
from aiida_hamlr.electronic.bands.kpoints import BandPath
from aiida_hamlr.electronic.bands.kspace import eigenvalues
from aiida_hamlr.electronic.bands.levels import onsite_levels
from aiida_hamlr.plotting.bands import plot_bands
from aiida_hamlr.plotting.levels import plot_levels
from aiida_hamlr.plotting.provenance import plot_provenance
from aiida_hamlr.plotting.training import plot_training

LATTICE_CONSTANT = 5.66  # Å
FAMILY = 'GTH-LDA'
CUTOFF = 20.0  # Ry
TRAINING_TIME = 90.0  # s
JOB_OPTIONS = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'withmpi': False}
SEED = 0
METRICS = ('train_mae_meV', 'validation_mae_meV')
PLANE_WAVE_SPACING = 0.6  # 1/Å, between the k-points at which pw.x computes bands


# ---- 1. A profile of its own, the codes, the pseudopotentials


def set_up_profile():
    """Make an AiiDA profile with SQLite and the built-in broker; there is no service to start."""
    config = get_config(create=True)
    if 'demo' in config.profile_names:
        say('removing the earlier demo in .demo')
        daemon = get_daemon_client('demo')
        if daemon.is_daemon_running:
            daemon.stop_daemon(timeout=60)
        config.delete_profile('demo', delete_storage=True)
        for folder in (RESULTS, PSEUDOS, DEMO / '.aiida' / 'scratch'):
            shutil.rmtree(folder, ignore_errors=True)
    RESULTS.mkdir()
    create_profile(
        config,
        name='demo',
        email='demo@localhost',
        storage_backend='core.sqlite_dos',
        storage_config={},
        broker_backend='core.zeromq',
        broker_config=BrokerFactory('core.zeromq').get_default_config(),
    )
    config.set_default_profile('demo', overwrite=True)
    # The client of the daemon does not see what is set for all profiles.
    config.set_option('daemon.timeout', 60, scope='demo')
    config.set_option('runner.poll.interval', 1)
    config.store()
    load_profile('demo')


def wait_until_reachable(broker, timeout: float = 60.0):
    """Wait for the broker, which on a busy machine starts later than the daemon."""
    deadline = time.monotonic() + timeout
    while not broker.check_service_reachable():
        if time.monotonic() > deadline:
            raise RuntimeError(f'the broker did not start within {timeout:.0f} s')
        time.sleep(0.5)


def set_up_codes() -> dict[str, orm.InstalledCode]:
    """Register this machine with pw.x and hamlr, and install pseudopotentials made from published parameters."""
    codes = create_codes(create_localhost(), prepend_text='export OMP_NUM_THREADS=1')
    subprocess.run([BIN / 'hamlr', 'pseudo', 'Al', 'As', '-o', PSEUDOS], check=True, capture_output=True)
    (PSEUDOS / 'summary.json').unlink()  # A family is a folder with nothing but pseudopotentials.
    create_pseudo_family(PSEUDOS, FAMILY, ecutwfc=CUTOFF)
    return codes


# ---- 2. The structures: small ones to learn from, a large one to predict


def layers(n_cells: int) -> ase.Atoms:
    """Return zincblende AlAs as a column of four-atom cells along z."""
    side = LATTICE_CONSTANT / np.sqrt(2)
    positions = [(0, 0, 0), (0, 0.5, 0.25), (0.5, 0.5, 0.5), (0.5, 0, 0.75)]
    cell = ase.Atoms('AlAsAlAs', scaled_positions=positions, cell=(side, side, LATTICE_CONSTANT), pbc=True)
    return cell.repeat((1, 1, n_cells))


def rattled(seed: int) -> ase.Atoms:
    """Return a cell of eight atoms with random displacements."""
    atoms = layers(2)
    atoms.rattle(0.05, seed=seed)
    return atoms


def wave(n_cells: int, amplitude: float) -> ase.Atoms:
    """Return a frozen longitudinal wave, Al against As: it polarises the crystal over its whole length.

    Its potential grows with amplitude (Å) times length; from crest to trough it must stay below the band gap, or charge
    flows and the scf does not converge.
    """
    atoms = layers(n_cells)
    aluminium = atoms.symbols == 'Al'
    z = atoms.positions[:, 2]
    atoms.positions[aluminium, 2] += amplitude * np.sin(2 * np.pi * z[aluminium] / atoms.cell[2, 2])
    return atoms


def make_structures() -> dict[str, dict[str, orm.StructureData]]:
    """Return the structures by what they are for."""
    parts = {
        'train': {f'rattled_{n:02d}': rattled(n) for n in range(9)}
        | {'wave_16a': wave(4, 0.05), 'wave_16b': wave(4, 0.10), 'wave_24': wave(6, 0.06)},
        'validation': {'rattled_09': rattled(9)},
        'test': {'rattled_10': rattled(10), 'wave_16c': wave(4, 0.08)},
        'predict': {'wave_48': wave(12, 0.03)},
    }
    return {
        part: {label: orm.StructureData(ase=atoms) for label, atoms in structures.items()}
        for part, structures in parts.items()
    }


# ---- 3. The work chains

REFERENCE = {
    'conduction_bands': 4,
    'scf': {
        'pseudo_family': FAMILY,
        'kpoints_distance': 0.55,
        'pw': {
            'parameters': {
                'SYSTEM': {'ecutwfc': CUTOFF, 'ecutrho': 4 * CUTOFF},
                'ELECTRONS': {'conv_thr': 1e-8, 'mixing_mode': 'local-TF', 'mixing_beta': 0.7},
            }
        },
    },
}
PREDICTION = {'predict': {'parameters': {'outputs': ['hamiltonian']}}}


def submit_basis(codes):
    """Generate atomic orbitals of both elements from their pseudopotentials."""
    builder = CalculationFactory('hamlr.basis').get_builder()
    builder.code = codes['hamlr']
    builder.pseudos = orm.load_group(FAMILY).get_pseudos(elements=('Al', 'As'))
    builder.metadata.options = JOB_OPTIONS
    return submit(builder)


def submit_reference(codes, structure, basis):
    """Run DFT for one structure, and represent its Hamiltonian in the orbitals."""
    return submit(
        WorkflowFactory('hamlr.reference').get_builder_from_protocol(
            codes['pw'],
            codes['hamlr'],
            structure,
            overrides=REFERENCE,
            options=JOB_OPTIONS,
            basis=basis,
        )
    )


def submit_pipeline(codes, structures, basis):
    """Make references of the small structures, train on them with the long-range channel, predict the wave."""
    builder = WorkflowFactory('hamlr.pipeline').get_builder_from_protocol(
        codes['pw'],
        codes['hamlr'],
        structures,
        overrides={
            'reference': REFERENCE,
            'train': training_overrides('lr'),
            'predict': PREDICTION,
            'compare': False,  # The reference of the wave is none of the pipeline's: it runs beside it.
            'max_concurrent': 3,
            'seed': SEED,
        },
        options=JOB_OPTIONS,
        basis=basis,
    )
    return submit(builder)


def training_overrides(variant: str) -> dict:
    """Return the inputs of a training: the variant `lr` has the long-range channel, `sr` has not."""
    training = {'max_time_s': TRAINING_TIME, 'max_epochs': 100000, 'device': 'cpu'}
    return {'train': {'parameters': {'model': {'variant': variant}, 'training': training}}}


def submit_short_range(codes, dataset):
    """Train on the same dataset without the long-range channel."""
    return submit(
        WorkflowFactory('hamlr.train.base').get_builder_from_protocol(
            codes['hamlr'], dataset, overrides=training_overrides('sr'), options=JOB_OPTIONS, seed=SEED
        )
    )


def submit_prediction(codes, model, structure):
    """Predict the wave with a model."""
    return submit(
        WorkflowFactory('hamlr.predict.base').get_builder_from_protocol(
            codes['hamlr'], model, {'wave_48': structure}, overrides=PREDICTION, options=JOB_OPTIONS
        )
    )


def submit_plane_wave_bands(scf: orm.CalcJobNode, path: BandPath):
    """Let pw.x compute bands along a path, in the density that it found for the wave."""
    builder = scf.get_builder_restart()
    parameters = scf.inputs.parameters.get_dict()
    parameters['CONTROL']['calculation'] = 'bands'
    parameters['ELECTRONS']['diago_thr_init'] = 1e-6  # Ry; the default takes twice the time.
    builder.parameters = orm.Dict(parameters)
    builder.kpoints = orm.KpointsData()
    builder.kpoints.set_kpoints(path.kpoints)
    builder.parent_folder = scf.outputs.remote_folder
    return submit(builder)


def band_line(atoms: ase.Atoms, spacing: float) -> BandPath:
    """Return the path X - Gamma - M across the wave; along the wave the bands are flat."""
    points = [('X', (0.5, 0, 0)), ('GAMMA', (0, 0, 0)), ('M', (0.5, 0.5, 0))]
    return BandPath.from_lines([points], atoms.cell, spacing)


# ---- 4. Waiting, with a line that says how far it is

STARTED = time.monotonic()


def clock() -> str:
    """Return the time since the start."""
    seconds = int(time.monotonic() - STARTED)
    return f'[{seconds // 60:2d}:{seconds % 60:02d}]'


def say(text: str):
    """Print one line."""
    print(f'{clock()} {text}', flush=True)


def wait_for(what: str, *nodes, until=None, progress=str):
    """Wait until processes have finished well, or until a condition holds; show how far it is."""
    width, said = 0, None
    while not (all(node.is_terminated for node in nodes) or (until and until())):
        state = progress()
        if sys.stdout.isatty():
            line = f'{clock()} {what} {state}'
            print('\r' + line.ljust(width), end='', flush=True)
            width = len(line)
        elif state != said:
            say(f'{what} {state}')
            said = state
        time.sleep(2.0)
    print('\r' + ' ' * width + '\r' if width else '', end='', flush=True)
    for node in nodes:
        if node.is_terminated and not node.is_finished_ok:
            raise RuntimeError(
                f'{node.process_label}<{node.pk}> failed: {node.exit_message or node.exception or "it was killed"}\n'
                f'Look at it with: AIIDA_PATH={DEMO} {BIN / "verdi"} process report {node.pk}'
            )


class ReferenceProgress:
    """How many references are done, and how long the whole demo still takes at this pace."""

    #: What the 48-atom reference costs in units of a small one, and the seconds that all after the references takes.
    LARGE, AFTER = 6, 1.5 * TRAINING_TIME + 60

    def __init__(self, pipeline, total: int):
        self.pipeline, self.total, self.started = pipeline, total, time.monotonic()
        self.done, self.pace = 0, 0.0

    def __call__(self) -> str:
        called = [node for node in self.pipeline.called_descendants if node.process_label == 'ReferenceWorkChain']
        done = sum(node.is_finished_ok for node in called)
        elapsed = time.monotonic() - self.started
        if done > self.done:
            self.done, self.pace = done, elapsed / done
        text = f'{done} of {self.total}'
        if done:
            left = max(self.pace * (self.total - 1 + self.LARGE) - elapsed, 0) + self.AFTER
            text += f', about {left / 60:.0f} min to the end of the demo'
        return text


# ---- 5. What came out


def get_bands(path: BandPath, energies: np.ndarray, n_electrons: float) -> Bands:
    """Return bands that know their edges."""
    occupied = round(n_electrons / 2)
    top, bottom = float(energies[:, occupied - 1].max()), float(energies[:, occupied].min())
    attributes = {'vbm_eV': top, 'cbm_eV': bottom, 'gap_eV': bottom - top}
    return Bands(path.kpoints, energies, path.labels, distances=path.distances, attributes=attributes)


def draw_figures(reference, predictions, trainings, plane_waves):
    """Draw bands, levels along the wave, and learning curves."""
    n_electrons = reference.attributes['n_electrons']
    n_bands = round(n_electrons / 2) + 8
    fine = band_line(reference.atoms, 0.05)
    coarse = band_line(reference.atoms, PLANE_WAVE_SPACING)
    sets = {
        'DFT in the orbital basis': get_bands(fine, eigenvalues(reference, fine.kpoints, n_bands=n_bands), n_electrons),
        'prediction': get_bands(
            fine, eigenvalues(predictions['with long range'], fine.kpoints, n_bands=n_bands), n_electrons
        ),
        'plane waves': get_bands(coarse, plane_waves.get_bands(), n_electrons),
    }
    plot_bands(list(sets.values()), RESULTS / 'bands.png', list(sets), window=(-1.5, 2.5))
    plot_levels(
        reference.atoms.positions[:, 2],
        {name: onsite_levels(hamiltonian) for name, hamiltonian in ({'DFT': reference} | predictions).items()},
        RESULTS / 'levels.png',
        symbols=reference.symbols,
    )
    curves = {
        name: {column: node.learning_curve.get_array(column) for column in ('epoch', *METRICS)}
        for name, node in trainings.items()
    }
    plot_training(curves, RESULTS / 'training.png')


def get_cpu_time(scf: orm.CalcJobNode) -> float:
    """Return the CPU time that a pw.x run reports, in seconds: unlike its wall-time it is that of this run alone."""
    text = scf.outputs.retrieved.base.repository.get_object_content('data-file-schema.xml')
    return float(ElementTree.fromstring(text).find('timing_info/total/cpu').text)  # noqa: S314


def print_table(rows: dict[str, dict], seconds: dict[str, float]):
    """Print the errors of both networks side by side, and what DFT and prediction cost."""
    print('\n' + 'Mean absolute error, meV'.ljust(40) + ''.join(name.rjust(18) for name in rows))
    for key, name in {
        'test_mae_meV': 'Hamiltonian, test set',
        'mae_meV': 'Hamiltonian, 48-atom wave',
        'mae_onsite_meV': '  its on-site blocks',
        'band_mae_occupied_meV': '  its occupied bands',
        'band_mae_conduction_meV': '  its four lowest conduction bands',
        'gap_error_meV': '  its direct gaps',
    }.items():
        print(name.ljust(40) + ''.join(f'{row[key]:18.2f}' for row in rows.values()))
    print('\nCPU seconds for the 48-atom wave')
    for name, value in seconds.items():
        print(f'  {name}'.ljust(40) + f'{value:18.1f}')
    print()


# ---- The demo, from top to bottom


def main():
    """Run the demo."""
    set_up_profile()
    codes = set_up_codes()
    structures = make_structures()
    daemon = get_daemon_client()
    daemon.start_daemon(2)
    wait_until_reachable(get_manager().get_broker())
    say('profile, codes and pseudopotentials are there; the daemon runs with two workers')
    try:
        run(codes, structures)
    finally:
        stop(daemon)


def run(codes, structures):
    """Submit the work chains, wait for them, and show what came out."""
    small = sum(len(structures[part]) for part in ('train', 'validation', 'test'))
    wave_node = structures['predict']['wave_48']
    basis = submit_basis(codes)
    wait_for('orbitals', basis)
    reference = submit_reference(codes, wave_node, basis.outputs.basis)
    pipeline = submit_pipeline(codes, structures, basis.outputs.basis)
    progress = ReferenceProgress(pipeline, small)
    wait_for('references:', pipeline, until=lambda: 'dataset' in pipeline.outputs, progress=progress)
    say('the dataset is there; training with and without the long-range channel')

    short_range = submit_short_range(codes, pipeline.outputs.dataset)
    wait_for('training and prediction; DFT of the wave', pipeline, short_range, reference)
    say('both networks are trained; prediction without long range, and plane-wave bands of the wave')

    prediction = submit_prediction(codes, short_range.outputs.model, wave_node)
    scf = reference.outputs.remote_folder.creator
    plane_waves = submit_plane_wave_bands(scf, band_line(wave_node.get_ase(), PLANE_WAVE_SPACING))
    wait_for('prediction and plane waves', prediction, plane_waves)

    hamiltonians = {
        'with long range': pipeline.outputs.predict.hamiltonians.wave_48,
        'short range only': prediction.outputs.hamiltonians.wave_48,
    }
    trainings = {'with long range': pipeline.outputs.train, 'short range only': short_range.outputs}
    rows = {
        name: {
            'test_mae_meV': trainings[name].output_parameters['test_mae_meV'],
            **compare_hamiltonians(hamiltonians[name], reference.outputs.hamiltonian).get_dict(),
        }
        for name in hamiltonians
    }
    seconds = {'DFT (pw.x)': get_cpu_time(scf), 'prediction': prediction.outputs.output_parameters['cpu_s']}
    print_table(rows, seconds)
    predictions = {name: node.open() for name, node in hamiltonians.items()}
    draw_figures(reference.outputs.hamiltonian.open(), predictions, trainings, plane_waves.outputs.output_band)
    plot_provenance(hamiltonians['with long range'], RESULTS / 'provenance.png')
    summary = {'errors': rows, 'cpu_seconds': seconds, 'demo_s': round(time.monotonic() - STARTED)}
    (RESULTS / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    say(f'figures and numbers are in {RESULTS}')


def stop(daemon):
    """Kill what still runs, and stop the daemon."""
    running = [node for node in get_active_processes() if node.caller is None]
    if running:
        kill_processes(running, timeout=20)
    try:
        daemon.stop_daemon(timeout=60)
    except DaemonException as error:
        say(f'the daemon does not answer ({error}); it is terminated')
        os.kill(daemon.get_daemon_pid(), signal.SIGTERM)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit('interrupted; everything is stopped')
