"""The shape of the package: arrows point down only, files form no circle, and the tests mirror the modules."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import aiida_hamlr

ROOT = Path(aiida_hamlr.__file__).parent
TESTS = Path(__file__).parent

#: What each package of this project may import, besides itself and the modules at the root of the package.
#: The compute node needs the first five only, and none of them imports AiiDA.
COMPUTE_NODE = ('electronic', 'io', 'model', 'plotting', 'jobs')
ALLOWED = {
    'electronic': set(),
    'io': {'electronic'},
    'model': {'electronic'},
    'plotting': {'electronic', 'model'},
    'jobs': {'model', 'io', 'electronic', 'plotting'},
    'data': {'electronic', 'model', 'io', 'plotting'},
    'calculations': {'data', 'jobs', 'io', 'model', 'electronic'},
    'parsers': {'calculations', 'data', 'jobs', 'model', 'electronic'},
    'monitors': {'parsers', 'calculations', 'data'},
    'workflows': {'monitors', 'parsers', 'calculations', 'data', 'jobs', 'model', 'electronic'},
    'report': {'workflows', 'monitors', 'data', 'plotting', 'electronic', 'model'},
    'cli': {'workflows', 'monitors', 'parsers', 'calculations', 'data', 'jobs', 'plotting', 'report', 'electronic'},
}

#: Packages and modules of two layers from the ground up: each imports only from its own level and from those below.
#: Modules that are not named are the ground.
LEVELS = {
    'electronic': (
        (),
        ('pseudo',),
        ('orbitals',),
        ('matrices',),
        ('integrals',),
        ('bands',),
        ('reference',),
        ('contraction',),
    ),
    'model': (
        (),
        ('irreps',),
        ('long_range',),
        ('network',),
        ('graph', 'graph_builder', 'structure_graph', 'hamiltonian_model', 'files'),
        ('inference', 'evaluation', 'uncertainty'),
        # A training may start from a model, and leaves one with its uncertainty.
        ('training',),
    ),
}

#: Tests of no single module, by what they are about; files at the top are about the whole package.
END_TO_END = {
    'calculations/test_caching': 'what all calculations share',
    'calculations/test_refused_by_the_executable': 'calculations, parsers and the executable',
    'cli/test_plugins': 'entry points',
    'cluster/test_fault_drill': 'the whole on a cluster',
    'cluster/test_pipeline': 'the whole on a cluster',
    'cluster/test_study': 'the whole on a cluster',
    'cluster/test_train': 'the whole on a cluster',
    'cluster/test_tutorial': 'docs/tutorials/cluster.md, command by command',
    'electronic/contraction/test_held_out': 'contraction, tested on crystals that it did not see',
    'io/test_fuzz': 'damaged files of all formats',
    'io/test_fuzz_exchange': 'damaged files of programs that data are exchanged with',
    'io/test_fuzz_qe': 'damaged files of Quantum ESPRESSO',
    'io/test_qe': 'files of real runs',
    'jobs/test_capping': 'species, from pseudopotentials to predictions',
    'jobs/test_ends_early': 'runs that end early, of all commands',
    'jobs/test_foreign_runs': 'from runs of other makes to a Hamiltonian or a refusal',
    'jobs/test_import_basis': 'from the orbitals of another code to H0',
    'jobs/test_learning': 'from data to a prediction',
    'jobs/test_magnetic': 'from a magnetic run to its bands',
    'model/long_range/test_charges_of_domains': 'charges of a large cell',
    'model/test_response_prediction': 'response, from the labels to a prediction',
    'model/test_symmetries': 'the whole model',
    'parsers/test_fuzz': 'damaged folders of all jobs',
    'plotting/test_figures': 'all figures',
    'report/test_browser': 'whole reports in a browser',
    'workflows/test_capping': 'species, from kinds to the Hamiltonian',
    'workflows/test_daemon': 'work chains under a daemon',
    'workflows/test_remote_storage': 'Hamiltonians that stay on the computer, from the job to the node',
    'workflows/test_slurm_scripts': 'job scripts of all work chains',
    'workflows/train/test_run': 'trainings that run, and are imported',
}

#: Folders of tests that stand for no package.
TEST_FOLDERS = {'cluster'}

IMPORT_ALL = """
import sys, importlib

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0].startswith('aiida') and name.split('.')[0] != 'aiida_hamlr':
            raise ImportError(f'{name} is forbidden here')

sys.meta_path.insert(0, Forbid())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def module_name(file: Path) -> str:
    """Return the dotted name of a file of the package."""
    return '.'.join((ROOT.name, *file.relative_to(ROOT).with_suffix('').parts)).removesuffix('.__init__')


MODULES = {module_name(file): file for file in sorted(ROOT.rglob('*.py'))}


def imports_of(file: Path) -> set[str]:
    """Return the modules of the package that a file imports anywhere, also only for type checking."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{file}:{node.lineno}: relative import'
            # `from package import module` imports the module, `from module import name` does not.
            for alias in node.names:
                inner = f'{node.module}.{alias.name}'
                found.add(inner if inner in MODULES else node.module)
    return {name for name in found if name.split('.')[0] == ROOT.name}


IMPORTS = {name: imports_of(file) for name, file in MODULES.items()}


def test_every_package_has_its_layer():
    """A new package has to say here what it may import."""
    packages = {path.parent.name for path in ROOT.glob('*/__init__.py')}
    assert packages <= set(ALLOWED)
    assert packages >= set(ALLOWED)


def test_compute_node_needs_no_aiida():
    """The packages of the compute node can be imported where AiiDA is not installed."""
    names = [name for name in MODULES if name.split('.')[1:2] and name.split('.')[1] in COMPUTE_NODE]
    assert len(names) > 20
    result = subprocess.run([sys.executable, '-c', IMPORT_ALL, *names], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('layer', ALLOWED)
def test_layers_import_downwards_only(layer):
    """No package imports one that stands above it."""
    for name in MODULES:
        if name.split('.')[1:2] == [layer]:
            for imported in IMPORTS[name]:
                target = imported.split('.')[1:2]
                if target and (ROOT / target[0]).is_dir():
                    assert target[0] in ALLOWED[layer] | {layer}, f'{name} imports {imported}'


@pytest.mark.parametrize('layer', LEVELS)
def test_rooms_import_downwards_only(layer):
    """Inside of a layer too the packages stand on each other."""
    height = {room: level for level, rooms in enumerate(LEVELS[layer]) for room in rooms}
    inside = {name: name.split('.')[2] for name in MODULES if name.startswith(f'{ROOT.name}.{layer}.')}
    packages = {path.parent.name for path in (ROOT / layer).glob('*/__init__.py')}
    assert packages <= set(height)
    for name, room in inside.items():
        for imported in IMPORTS[name]:
            if imported in inside:
                assert height.get(inside[imported], 0) <= height.get(room, 0), f'{name} imports {imported}'


def test_files_form_no_circle():
    """Imports for type checking and inside of functions count too."""
    graph = {name: IMPORTS[name] & set(MODULES) - {name} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(' imports '.join(reversed(error.args[1])))


def test_tests_mirror_the_package():
    """The tests of a module are at its place; others are named above with what they are about."""
    names = {file.relative_to(TESTS).with_suffix('').as_posix() for file in TESTS.rglob('test_*.py')}
    assert set(END_TO_END) <= names
    for name in names - set(END_TO_END):
        folder, _, stem = name.rpartition('/')
        if not folder:
            continue
        module = ROOT / folder / stem.removeprefix('test_')
        assert module.with_suffix('.py').is_file() or (module / '__init__.py').is_file(), (
            f'tests/{name}.py: there is no {module.relative_to(ROOT.parent)}'
        )


def test_folders_of_tests_are_packages():
    """No folder of tests outlives its package."""
    folders = {file.parent.relative_to(TESTS) for file in TESTS.rglob('test_*.py')}
    for folder in folders - {Path(name) for name in TEST_FOLDERS}:
        assert (ROOT / folder / '__init__.py').is_file(), folder


def test_package_itself_is_light():
    """`import aiida_hamlr` imports no library."""
    code = "import sys, aiida_hamlr; print(any(m in sys.modules for m in ('numpy', 'torch', 'aiida')))"
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == 'False', result.stderr
