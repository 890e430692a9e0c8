"""Arrows point down only: what runs on a compute node imports without AiiDA, and below it nothing looks up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import aiida_hamlr

ROOT = Path(aiida_hamlr.__file__).parent

#: Packages of this project that each layer may import.
ALLOWED = {
    'electronic': {'electronic'},
    'io': {'io', 'electronic'},
    'model': {'model', 'electronic'},
    'plotting': {'plotting', 'electronic', 'model'},
    'jobs': {'jobs', 'model', 'io', 'electronic', 'plotting'},
}

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


def modules(layer):
    files = sorted((ROOT / layer).rglob('*.py'))
    return ['.'.join(('aiida_hamlr', *file.relative_to(ROOT).with_suffix('').parts)) for file in files]


def test_compute_node_needs_no_aiida():
    names = [name.removesuffix('.__init__') for layer in ALLOWED for name in modules(layer)]
    assert len(names) > 20
    result = subprocess.run([sys.executable, '-c', IMPORT_ALL, *names], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('layer', ALLOWED)
def test_layers_import_downwards_only(layer):
    for file in (ROOT / layer).rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f'{file}: relative import'
                names = [node.module]
            for name in names:
                parts = name.split('.')
                if parts[0] == 'aiida_hamlr' and len(parts) > 1 and (ROOT / parts[1]).is_dir():
                    assert parts[1] in ALLOWED[layer], f'{file} imports {name}'


HEAVY = ('e3nn', 'torch_geometric', 'lightning', 'torch._dynamo')

WHICH_ARE_LOADED = """
import sys, importlib
heavy, names = sys.argv[1].split(), sys.argv[2:]
for name in names:
    importlib.import_module(name)
print(' '.join(name for name in heavy if name in sys.modules))
"""


@pytest.mark.parametrize('command', ['h0', 'bands', 'reconstruct', 'predict'])
def test_commands_import_what_they_run(command):
    """Batches of graphs and the training loop take seconds to import; e3nn serves the tests alone."""
    arguments = [' '.join(HEAVY), 'aiida_hamlr.jobs.cli', f'aiida_hamlr.jobs.{command}']
    result = subprocess.run([sys.executable, '-c', WHICH_ARE_LOADED, *arguments], capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout.split() == [], result.stderr


def test_package_itself_is_light():
    code = "import sys, aiida_hamlr; print(any(m in sys.modules for m in ('numpy', 'torch', 'aiida')))"
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == 'False', result.stderr
