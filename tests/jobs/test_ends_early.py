"""Runs that end early: no room, no memory, an interrupt, earlier results. One line, a status, nothing half-written."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.jobs.inputs import read_basis_folder, read_pseudo_folder
from aiida_hamlr.jobs.status import Status
from aiida_hamlr.model.config import ModelConfig, ShortRangeConfig
from aiida_hamlr.model.files import write_model
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel

SIZES = {
    'hidden_channels': 8,
    'pair_channels': 8,
    'scalar_channels': 4,
    'natural_channels': 4,
    'unnatural_channels': 2,
    'radial_basis': 4,
    'radial_hidden': 8,
}

TRAIN = """data: {{train: ['{study}/train/*.h5'], validation: ['{study}/valid/*.h5'], test: ['{study}/test/*.h5']}}
model: {{variant: sr, short_range: {{layers: 1, {sizes}}}}}
training: {{max_epochs: {epochs}, seed: 1, device: cpu}}
output: out/
"""


@pytest.fixture(scope='module')
def model(study, tmp_path_factory):
    """A model of random weights."""
    basis = read_basis_folder(study / 'basis', ('Al', 'As'))
    pseudos = read_pseudo_folder(study / 'pseudos', ('Al', 'As'))
    config = ModelConfig(variant='sr', short_range=ShortRangeConfig(layers=1, **SIZES))
    network = HamiltonianModel({e: list(s.angular_momenta) for e, s in basis.items()}, config, 4.0, 10.0)
    texts = {element: pseudo.text for element, pseudo in pseudos.items()}
    metadata = {'ecutrho_Ry': 40.0, 'functional': 'lda', 'distances': DISTANCES}
    folder = tmp_path_factory.mktemp('model') / 'model'
    write_model(folder, network, network.state_dict(), basis, texts, metadata)
    return folder


DISTANCES = {'shortest': {'Al-As': 2.4, 'Al-Al': 3.9, 'As-As': 3.9}, 'nearest': {'Al': 2.5, 'As': 2.5}}


@pytest.fixture
def commands(study, model, tmp_path):
    """Arguments of `hamlr` for each command that writes into out/, in the folder of the test."""
    bulk('AlAs', 'zincblende', a=5.66).write(tmp_path / 'a.extxyz')
    sizes = ', '.join(f'{key}: {value}' for key, value in SIZES.items())
    (tmp_path / 'train.yaml').write_text(TRAIN.format(study=study, sizes=sizes, epochs=1))
    (tmp_path / 'predict.yaml').write_text(
        f'model: {model}\nstructures: [a.extxyz]\nkpoints: [2, 2, 2]\nspacing: 0.3\noutput: out/\n'
        'outputs: [hamiltonian, bands, dos, charges, profile]\n'
    )
    upf = study / 'pseudos/Al.upf'
    return {
        'pseudo': ['pseudo', 'H', '-o', 'out'],
        'basis': ['basis', '--upf', upf, '--recipe', 'plain', '--size', 'sz', '--cutoff-radius', 6, '-o', 'out/a.h5'],
        'h0': ['h0', 'a.extxyz', '--basis', study / 'basis', '--pseudos', study / 'pseudos']
        + ['--ecutrho', 40, '-o', 'out/h0.h5'],
        'bands': [
            'bands',
            study / 'test/4.h5',
            '--mesh',
            2,
            2,
            2,
            '--path',
            'auto',
            '--spacing',
            0.3,
            '-o',
            'out/b.h5',
        ],
        'evaluate': ['evaluate', model, study / 'test/4.h5', '--json', 'out/errors.json'],
        'upgrade': ['upgrade', study / 'test/4.h5', '-o', 'out/4.h5'],
        'train': ['train', 'train.yaml'],
        'predict': ['predict', 'predict.yaml'],
    }


COMMANDS = ('pseudo', 'basis', 'h0', 'bands', 'evaluate', 'upgrade', 'train', 'predict')


@contextmanager
def largest_file(size):
    """Bound the size of files that this process writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path):
    """Function: mount a file system with few kilobytes at out/; needs root."""
    mounted = []

    def mount(kilobytes):
        (tmp_path / 'out').mkdir(exist_ok=True)
        options = ['-t', 'tmpfs', '-o', f'size={kilobytes}k', 'tmpfs', tmp_path / 'out']
        if os.geteuid() != 0 or subprocess.run(['mount', *options], check=False).returncode:
            pytest.skip('mounting a file system needs root')
        mounted.append(tmp_path / 'out')

    yield mount
    for path in mounted:
        subprocess.run(['umount', '--lazy', path], check=True)


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def check_refusal(result, status, words=''):
    """One line on standard error, the status."""
    assert result.exit_code == status, (result.exit_code, result.stderr, result.stdout[-300:])
    line = result.stderr.strip()
    assert line.startswith('hamlr: ') and '\n' not in line, line
    assert words in line, line


@pytest.mark.parametrize('name', COMMANDS)
def test_limit_of_the_size_of_files(hamlr, commands, tmp_path, name):
    """`ulimit -f`: at a third and at nine tenths of the largest file, and next to nothing."""
    assert hamlr(*commands[name]).exit_code == 0
    largest = max(path.stat().st_size for path in (tmp_path / 'out').rglob('*') if path.is_file())
    for part in (0.33,) if name in ('train', 'evaluate') else (0.001, 0.33, 0.9):
        subprocess.run(['rm', '-r', tmp_path / 'out'], check=True)
        with largest_file(int(part * largest)):
            result = hamlr(*commands[name])
        check_refusal(result, Status.DISK_FULL, 'File too large')
        check_whole(tmp_path / 'out')


@pytest.mark.parametrize('name', [name for name in COMMANDS if name != 'evaluate'])
def test_full_disk(hamlr, commands, tmp_path, small_disk, name):
    """A file system with a quarter of the room that the results need; those of evaluate fit into one page."""
    assert hamlr(*commands[name]).exit_code == 0
    size = sum(path.stat().st_size for path in (tmp_path / 'out').rglob('*') if path.is_file())
    small_disk(max(4, size // 4096))
    result = hamlr(*commands[name])
    check_refusal(result, Status.DISK_FULL, os.strerror(errno.ENOSPC))
    check_whole(tmp_path / 'out')


def check_whole(folder):
    """No temporary file is left, no summary that says that all is done, and what is there is whole."""
    names = files_in(folder) if folder.exists() else []
    assert not [name for name in names if any(part.startswith('.') for part in name.split('/'))], names
    # Of a batch, a structure may have been done before another found no room.
    assert 'summary.json' not in names
    for name in names:
        if name.endswith('hamiltonian.h5'):
            Hamiltonian.read(folder / name)


@pytest.mark.qe
def test_reconstruct_without_room(hamlr, study, rattled_alas_run, upf_pseudos, plain_basis, tmp_path, small_disk):
    for element, species in plain_basis(('Al', 'As'), 'sz').items():
        species.write(tmp_path / f'{element}.basis.h5')
        (tmp_path / f'{element}.upf').write_text(upf_pseudos[element].text)
    (tmp_path / 'reconstruct.yaml').write_text(
        f'structure: {rattled_alas_run.xml}\npotential: {rattled_alas_run.potential}\nkpoints: [1, 1, 1]\n'
        'pseudos: {Al: Al.upf, As: As.upf}\nbasis: {Al: Al.basis.h5, As: As.basis.h5}\noutput: out/hamiltonian.h5\n'
        f'plane_wave_bands: {rattled_alas_run.xml}\n'
    )
    with largest_file(2000):
        check_refusal(hamlr('reconstruct', 'reconstruct.yaml'), Status.DISK_FULL, 'File too large')
    check_whole(tmp_path / 'out')
    assert files_in(tmp_path / 'out') == []
    small_disk(16)
    check_refusal(hamlr('reconstruct', 'reconstruct.yaml'), Status.DISK_FULL, os.strerror(errno.ENOSPC))
    assert files_in(tmp_path / 'out') == []


def fail(*arguments, **keywords):
    raise MemoryError


#: What is called in the middle of the work of each command, before it writes.
WORK = {
    'pseudo': 'aiida_hamlr.jobs.pseudo.write_upf',
    'basis': 'aiida_hamlr.jobs.basis.generate_basis',
    'h0': 'aiida_hamlr.jobs.h0.compute_h0',
    'bands': 'aiida_hamlr.jobs.bands.solve_mesh',
    'evaluate': 'aiida_hamlr.jobs.evaluate.evaluate',
    'upgrade': 'aiida_hamlr.jobs.upgrade.Hamiltonian.read',
    'train': 'lightning.Trainer.fit',
    'predict': 'aiida_hamlr.model.inference.Predictor.predict_batch',
}


@pytest.mark.parametrize('name', COMMANDS)
def test_results_of_an_earlier_run_are_removed(hamlr, commands, tmp_path, monkeypatch, name):
    """The same command, which fails in its work the second time, with status 5."""
    assert hamlr(*commands[name]).exit_code == 0
    results = [path for path in files_in(tmp_path / 'out') if not path.startswith('checkpoints/')]
    assert results
    if name == 'train':
        # Otherwise it would continue.
        subprocess.run(['rm', '-r', tmp_path / 'out/checkpoints'], check=True)
    if name == 'predict':
        # Otherwise nothing were to be done again.
        (tmp_path / 'predict.yaml').write_text((tmp_path / 'predict.yaml').read_text().replace('0.3', '0.31'))
        monkeypatch.setattr('aiida_hamlr.model.inference.Predictor.predict_from', fail)
    if name == 'upgrade':
        monkeypatch.setattr(Hamiltonian, 'read', fail)
    else:
        monkeypatch.setattr(WORK[name], fail)
    check_refusal(hamlr(*commands[name]), Status.OUT_OF_MEMORY, 'out of memory')
    left = files_in(tmp_path / 'out')
    # Orbitals and pseudopotentials of a model folder are no results.
    assert [path for path in left if not path.startswith(('model/basis/', 'model/pseudos/', 'checkpoints/'))] == []


def test_a_resumed_training_keeps_what_it_continues(hamlr, commands, tmp_path, monkeypatch):
    assert hamlr(*commands['train']).exit_code == 0
    monkeypatch.setattr(WORK['train'], fail)
    (tmp_path / 'train.yaml').write_text((tmp_path / 'train.yaml').read_text().replace('epochs: 1', 'epochs: 2'))
    check_refusal(hamlr(*commands['train']), Status.OUT_OF_MEMORY)
    left = files_in(tmp_path / 'out')
    assert {'model/model.json', 'metrics.csv', 'checkpoints/last.ckpt'} <= set(left) and 'summary.json' not in left


def test_memory_of_one_structure_of_many(hamlr, commands, tmp_path, monkeypatch):
    """The others are predicted; numpy's and torch's exceptions count too (`test_status.py`)."""
    from aiida_hamlr.model.inference import Predictor

    start = Predictor.start

    def start_small(self, atoms):
        return start(self, atoms) if len(atoms) == 2 else np.empty(2**58)

    monkeypatch.setattr(Predictor, 'start', start_small)
    bulk('AlAs', 'zincblende', a=5.66, cubic=True).write(tmp_path / 'large.extxyz')
    config = tmp_path / 'predict.yaml'
    config.write_text(config.read_text().replace('[a.extxyz]', '[a.extxyz, large.extxyz]'))
    result = hamlr(*commands['predict'])
    assert result.exit_code == 0, result.stderr
    assert 'large failed: out of memory' in result.stdout
    assert 'out/a/hamiltonian.h5' in [f'out/{name}' for name in files_in(tmp_path / 'out')]
    assert not (tmp_path / 'out/large').exists()
    config.write_text(config.read_text().replace('[a.extxyz, large.extxyz]', '[large.extxyz]'))
    check_refusal(hamlr(*commands['predict']), Status.OUT_OF_MEMORY, 'large: out of memory')


BROKEN = {
    'needle': ({'cell': [5.0, 5.0, 5.0, 90, 90, 1.0]}, 'the cell is degenerate, its angles are 90.0, 90.0, 1.0°'),
    'flat': ({'cell': [[4, 0, 0], [0, 4, 0], [4, 4, 0]]}, 'no three-dimensional cell'),
    'images': ({'cell': [4.0, 4.0, 0.5]}, 'a lattice vector of 0.500 Å'),
    'huge': ({'cell': [400.0, 400.0, 400.0]}, 'Å^3 per atom; check that its lengths are in Å'),
    'pair': ({'positions': [[0, 0, 0], [0, 0, 0.3]]}, 'atoms 0 and 1 (counted from 0) are closer than 0.4 Å'),
    'over_the_edge': ({'positions': [[0, 0, 0], [0, 0, 5.9]]}, 'are closer than 0.4 Å'),
    'far': ({'positions': [[0, 0, 0], [3000, 0, 0]]}, 'atom 1 (counted from 0) is 500 cells away'),
    'not_a_number': ({'positions': [[0, 0, 0], [np.nan, 0, 0]]}, 'not finite'),
    'foreign': ({'symbols': 'AlCu'}, 'Cu'),
}


def test_broken_structures_of_a_batch(hamlr, commands, tmp_path):
    """Each is refused by name and kind; the others are predicted, with a warning where they are unlike the data."""
    plain = {'symbols': 'AlAs', 'positions': [[0, 0, 0], [1.4, 1.4, 1.4]], 'cell': [6.0, 6.0, 6.0], 'pbc': True}
    wires = {'pbc': [True, True, False]}
    for name, (change, _) in (BROKEN | {'wire': (wires, ''), 'stretched': ({'cell': [9.0, 9.0, 9.0]}, '')}).items():
        atoms = Atoms(**plain | change)
        if name == 'stretched':
            atoms.set_cell([9.0, 9.0, 9.0], scale_atoms=False)
            atoms.positions[1] = [4.5, 0, 0]
        atoms.write(tmp_path / f'{name}.extxyz')
    (tmp_path / 'cut.extxyz').write_text('2\n\nAl 0 0')
    names = [f'{name}.extxyz' for name in ('a', *BROKEN, 'cut', 'wire', 'stretched')]
    (tmp_path / 'predict.yaml').write_text(
        (tmp_path / 'predict.yaml').read_text().replace('[a.extxyz]', json.dumps(names))
    )
    result = hamlr(*commands['predict'])
    assert result.exit_code == 0, result.stderr
    summary = json.loads((tmp_path / 'out/summary.json').read_text())
    failed = {entry['name']: entry['reason'] for entry in summary['failed']}
    assert set(failed) == {*BROKEN, 'cut'}
    for name, (_, words) in BROKEN.items():
        assert words in failed[name] and '\n' not in failed[name], failed[name]
        assert not (tmp_path / 'out' / name).exists()
    assert list(summary['structures']) == ['a', 'wire', 'stretched']
    warnings = {name: ' '.join(found['warnings']) for name, found in summary['structures'].items()}
    assert warnings['a'] == ''
    assert 'not periodic along cell vector 3' in warnings['wire']
    assert 'in the training data never beyond 2.50 Å' in warnings['stretched']
    for name in ('a', 'wire', 'stretched'):
        Hamiltonian.read(tmp_path / 'out' / name / 'hamiltonian.h5')


def interrupt(*arguments, **keywords):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)


@pytest.mark.parametrize('name', COMMANDS)
def test_interrupt(hamlr, commands, tmp_path, monkeypatch, name):
    """SIGINT in the middle of the work: one line, status 130, no half-written file."""
    if name == 'train':
        monkeypatch.setattr('aiida_hamlr.model.training.loop.TrainingLoop.on_train_batch_end', interrupt)
    elif name == 'upgrade':
        monkeypatch.setattr(Hamiltonian, 'read', interrupt)
    else:
        monkeypatch.setattr(WORK[name], interrupt)
    check_refusal(hamlr(*commands[name]), 130, 'interrupted')
    check_whole(tmp_path / 'out')


INTERRUPT = """
import os, signal, sys, time
import aiida_hamlr.jobs.h0 as module
def interrupt(*arguments, **keywords):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
module.compute_h0 = interrupt
from aiida_hamlr.jobs.cli import main
main(sys.argv[1:])
"""


def test_interrupt_of_a_process(commands, tmp_path):
    command = [sys.executable, '-c', INTERRUPT, *map(str, commands['h0'])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr.strip()) == (130, 'hamlr: interrupted')


OVERWRITING = {
    'h0': ['h0', 'a.extxyz', '--basis', 'basis', '--pseudos', 'pseudos', '-o', 'a.extxyz'],
    'h0 over orbitals': ['h0', 'a.extxyz', '--basis', 'basis', '--pseudos', 'pseudos', '-o', 'basis/Al.basis.h5'],
    'h0 over a pseudopotential': ['h0', 'a.extxyz', '--basis', 'basis', '--pseudos', 'pseudos', '-o', 'pseudos/Al.upf'],
    'bands': ['bands', 'test/4.h5', '-o', 'test/4.h5'],
    'plot of bands': ['bands', 'test/4.h5', '-o', 'b.h5', '--plot', 'test/4.h5'],
    'basis': ['basis', '--upf', 'pseudos/Al.upf', '--recipe', 'plain', '-o', 'pseudos/Al.upf'],
    'evaluate over data': ['evaluate', 'model', 'test/4.h5', '--json', 'test/4.h5'],
    'evaluate over the model': ['evaluate', 'model', 'test/4.h5', '--json', 'model/model.json'],
    'upgrade': ['upgrade', 'test/4.h5', '-o', 'test/4.h5'],
    'pseudo over the file of another origin': ['pseudo', 'Al', '-o', 'other'],
    'predict over a structure': ['predict', 'over_structure.yaml'],
    'predict into the model': ['predict', 'into_model.yaml'],
    'train into its data': ['train', 'over_data.yaml'],
}


@pytest.mark.parametrize('name', OVERWRITING)
def test_no_command_writes_over_its_input(hamlr, study, model, tmp_path, name):
    for part in ('basis', 'pseudos', 'test', 'train', 'valid'):
        subprocess.run(['cp', '-r', study / part, tmp_path], check=True)
    subprocess.run(['cp', '-r', model, tmp_path / 'model'], check=True)
    (tmp_path / 'other').mkdir()
    text = (study / 'pseudos/Al.upf').read_text()
    (tmp_path / 'other/Al.upf').write_text(text.replace('GTH', 'made'))
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    atoms.write(tmp_path / 'a.extxyz')
    (tmp_path / 'set/a').mkdir(parents=True)
    ase.io.write(tmp_path / 'set/a/summary.json', atoms, format='json')
    (tmp_path / 'over_structure.yaml').write_text('model: model\nstructures: [set/a/summary.json]\noutput: set/a\n')
    (tmp_path / 'into_model.yaml').write_text('model: model\nstructures: [a.extxyz]\noutput: model\n')
    (tmp_path / 'model/summary.json').write_text('{}')
    (tmp_path / 'train/summary.json').write_bytes((tmp_path / 'train/0.h5').read_bytes())
    (tmp_path / 'over_data.yaml').write_text(
        'data: {train: [train/summary.json], validation: [valid/*.h5]}\noutput: train\n'
    )
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    result = hamlr(*OVERWRITING[name])
    if name != 'predict into the model':
        check_refusal(result, Status.BAD_INPUT)
        assert {path for path in tmp_path.rglob('*') if path.is_file()} == set(before)
    inputs = [path for path in before if path.name != 'summary.json' or path.parent.name in ('a', 'train')]
    assert [path for path in inputs if path.read_bytes() != before[path]] == []
