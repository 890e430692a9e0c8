"""The public names: complete, and loaded when they are used."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import aiida_hamlr
from aiida_hamlr.jobs.h0 import run_h0

HEAVY = ('numpy', 'scipy', 'ase', 'torch', 'e3nn', 'torch_geometric', 'lightning', 'h5py', 'matplotlib', 'aiida')

LIGHT = """
import sys
import aiida_hamlr
print(*(name for name in sys.modules if name.startswith('aiida_hamlr.') or name in sys.argv[1:]))
"""

#: Run in a folder with the files of the commands; prints the libraries that were loaded.
COMMAND = """
import sys
from aiida_hamlr.jobs.cli import main
sys.argv = ['hamlr', *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print('LOADED', *(name for name in {heavy!r} if name in sys.modules))
"""


def test_import_loads_no_library_and_no_other_module():
    done = subprocess.run([sys.executable, '-c', LIGHT, *HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize('name', sorted(set(aiida_hamlr.__all__) - {'__version__'}))
def test_every_name_is_there_and_documented(name):
    found = getattr(aiida_hamlr, name)
    assert found.__doc__
    assert name in dir(aiida_hamlr)
    assert aiida_hamlr.__dict__[name] is found


def test_type_checkers_see_the_same_names():
    """The stub imports every name from where it is loaded."""
    stub = ast.parse(Path(aiida_hamlr.__file__).with_suffix('.pyi').read_text())
    homes = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            homes |= {alias.asname: getattr(importlib.import_module(node.module), alias.name) for alias in node.names}
    assert homes.keys() == set(aiida_hamlr.__all__) - {'__version__'}
    assert all(getattr(aiida_hamlr, name) is found for name, found in homes.items())


def test_reference_covers_every_name():
    page = (Path(__file__).parents[1] / 'docs/reference/api.md').read_text()
    missing = [name for name in aiida_hamlr.__all__ if f'aiida_hamlr.{name}\n' not in page and name != '__version__']
    assert missing == []


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="module 'aiida_hamlr' has no attribute 'hamiltonian'"):
        aiida_hamlr.hamiltonian  # noqa: B018


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Pseudopotentials, orbitals, a structure and its H0."""
    from ase.build import bulk

    folder = tmp_path_factory.mktemp('start_up')
    for element in ('Al', 'As'):
        pseudo = aiida_hamlr.make_pseudopotential(element)
        (folder / f'{element}.upf').write_text(pseudo.text)
        aiida_hamlr.generate_basis(pseudo, 'sz').write(folder / f'{element}.basis.h5')
    bulk('AlAs', 'zincblende', a=5.66).write(folder / 'alas.xyz')
    run_h0(folder / 'alas.xyz', folder, folder, 160.0, folder / 'h0.h5')
    return folder


@pytest.mark.parametrize(
    'arguments',
    [
        ['--help'],
        ['h0', 'alas.xyz', '--basis', '.', '--pseudos', '.', '-o', 'again.h5'],
        ['bands', 'h0.h5', '--matrix', 'h0', '--mesh', '1', '1', '1', '-o', 'bands.h5'],
        ['info', 'h0.h5'],
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_without_a_network_load_no_library_of_networks(folder, arguments):
    """Loading torch and e3nn takes longer than all the work on two atoms."""
    heavy = ('torch', 'e3nn', 'torch_geometric', 'lightning', 'matplotlib', 'aiida')
    code = COMMAND.format(heavy=heavy)
    done = subprocess.run([sys.executable, '-c', code, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split('LOADED')[1].split() == []
