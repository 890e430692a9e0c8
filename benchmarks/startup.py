"""Processor time of commands on two atoms, where loading libraries is most of the work; prints JSON.

Measure several installations in turn in one run, each by its executable; the first makes the files that all read:

    OMP_NUM_THREADS=1 python benchmarks/startup.py --hamlr old/bin/hamlr --hamlr new/bin/hamlr > startup.json
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
from _report import report
from ase.build import bulk

from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian

#: `hamlr h0` may take this part of the processor time of the first executable.
H0_LIMIT = 0.6

TRAIN = """\
data: {train: [reference_0.h5], validation: [reference_1.h5]}
model: {variant: lr}
training: {max_epochs: 1, device: cpu}
output: run
"""

PREDICT = """\
model: run/model
structures: [alas.xyz]
outputs: [hamiltonian]
device: cpu
output: predictions
"""

COMMANDS = {
    'help': ['--help'],
    'h0': ['h0', 'alas.xyz', '--basis', 'basis', '--pseudos', 'pseudos', '-o', 'h0.h5'],
    'predict': ['predict', 'predict.yaml'],
}


def run(executable: Path, arguments: list[str], folder: Path):
    """Run a command; show what it says only if it fails."""
    done = subprocess.run([executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f'{executable} {" ".join(arguments)}: {done.stderr or done.stdout}')


def prepare(executable: Path, folder: Path):
    """Make pseudopotentials, orbitals, structures and a model of one epoch."""
    run(executable, ['pseudo', 'Al', 'As', '-o', 'pseudos'], folder)
    upfs = [part for element in ('Al', 'As') for part in ('--upf', f'pseudos/{element}.upf')]
    run(executable, ['basis', *upfs, '--size', 'sz', '--recipe', 'plain', '-o', 'basis'], folder)
    atoms = bulk('AlAs', 'zincblende', a=5.66)
    atoms.write(folder / 'alas.xyz')
    for index in range(2):
        atoms.rattle(0.05, seed=index)
        atoms.write(folder / f'rattled_{index}.xyz')
        h0 = ['h0', f'rattled_{index}.xyz', '--basis', 'basis', '--pseudos', 'pseudos', '-o', f'h0_{index}.h5']
        run(executable, h0, folder)
        reference = Hamiltonian.read(folder / f'h0_{index}.h5')
        reference.matrices['hamiltonian'] = reference.h0 + 0.05 * reference.overlap * np.abs(reference.overlap)
        reference.write(folder / f'reference_{index}.h5')
    (folder / 'train.yaml').write_text(TRAIN)
    (folder / 'predict.yaml').write_text(PREDICT)
    run(executable, ['train', 'train.yaml'], folder)


def cpu_seconds(executable: Path, arguments: list[str], folder: Path) -> float:
    """User and system time of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(executable, arguments, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@click.command()
@click.option(
    '--hamlr',
    'executables',
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help='Executable to measure; repeat to compare. Default: that of this Python.',
)
@click.option('--repeats', type=click.IntRange(1), default=5, show_default=True, help='Median of this many runs.')
@click.option('-o', '--output', type=click.Path(path_type=Path), help='JSON file instead of standard output.')
def main(executables, repeats, output):
    """Median processor time, in s, of every command of every executable."""
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    executables = [path.absolute() for path in executables or [Path(sys.executable).with_name('hamlr')]]
    seconds = {str(path): {name: [] for name in COMMANDS} for path in executables}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(executables[0], folder)
        # One more round than counted: the first fills the caches of files and of compiled modules.
        for turn in range(repeats + 1):
            for path in executables:
                for command, arguments in COMMANDS.items():
                    found = cpu_seconds(path, arguments, folder)
                    if turn:
                        seconds[str(path)][command].append(found)
                    click.echo(f'{path} {command}: {found:.2f} s', err=True)
    medians = {
        path: {command: round(statistics.median(values), 2) for command, values in commands.items()}
        for path, commands in seconds.items()
    }
    first, *others = medians.values()
    passed = all(found['h0'] <= H0_LIMIT * first['h0'] for found in others)
    report({'cpu_s': medians, 'repeats': repeats, 'passed': passed}, output)


if __name__ == '__main__':
    main()
