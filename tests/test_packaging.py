"""Recipes, containers, continuous integration and registry metadata say the same as pyproject.toml."""

import re
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from rattler_build import RenderConfig, Stage0Recipe, VariantConfig

from aiida_hamlr import __version__

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / 'pyproject.toml').read_text()

#: Packages with another name on conda-forge.
CONDA_NAMES = {'torch': 'pytorch', 'torch-geometric': 'pytorch-geometric'}

#: Instructions of a Dockerfile that ours use.
INSTRUCTIONS = {'FROM', 'RUN', 'ARG', 'COPY', 'ENV', 'ENTRYPOINT', 'CMD'}

#: Releases of Python that a specifier may allow.
PYTHONS = [f'3.{minor}' for minor in range(8, 20)]


def normalised(name):
    return re.sub(r'[-_.]+', '-', name).lower()


@pytest.fixture(scope='module')
def requirements():
    """Return what the package needs to run, by normalised name."""
    found = [Requirement(text) for text in requires('aiida-hamlr')]
    return {normalised(each.name): each.specifier for each in found if each.marker is None}


@pytest.fixture(scope='module')
def recipe():
    """Return the recipe for conda-forge."""
    return yaml.safe_load((ROOT / 'recipe/recipe.yaml').read_text())


def section(name):
    """Return the entries of a table of pyproject.toml that has one string a line."""
    body = re.search(rf'^\[{re.escape(name)}\]\n(.*?)(?=^\[|\Z)', PYPROJECT, re.MULTILINE | re.DOTALL).group(1)
    return dict(re.findall(r"^'?([\w.-]+)'? = '([^']+)'$", body, re.MULTILINE))


def test_recipe_has_the_dependencies_of_the_package(recipe, requirements):
    """The same packages, and for each a range that accepts and refuses the same releases."""
    rows = [row.split(maxsplit=1) for row in recipe['requirements']['run']]
    found = {normalised(name): SpecifierSet(specifier) for name, specifier in rows}
    python = found.pop('python')
    assert set(found) == {CONDA_NAMES.get(name, name) for name in requirements}
    for name, specifier in requirements.items():
        other = found[CONDA_NAMES.get(name, name)]
        bounds = {part.version for part in (*specifier, *other)}
        trials = {Version(bound) for bound in bounds} | {Version(f'{bound}.1') for bound in bounds}
        trials |= {Version('0.0.1'), *(Version(f'{int(bound.split(".")[0]) + 1}') for bound in bounds)}
        assert {v for v in trials if v in specifier} == {v for v in trials if v in other}, name
    assert str(python) == metadata('aiida-hamlr')['Requires-Python']


def test_recipe_is_of_this_version_and_these_commands(recipe):
    """Version, entry points, licence and pages."""
    assert recipe['context']['version'] == __version__
    assert recipe['package']['name'] == 'aiida-hamlr'
    commands = dict(entry.split(' = ') for entry in recipe['build']['python']['entry_points'])
    assert commands == section('project.scripts')
    assert (ROOT / recipe['about']['license_file']).is_file()
    assert recipe['about']['homepage'] == section('project.urls')['Home']
    assert recipe['source'] == {'path': '..'} and (ROOT / 'recipe' / '..' / 'pyproject.toml').is_file()


def test_recipe_renders():
    """The builder of conda-forge reads the recipe and makes one package of it, for all platforms."""
    (variant,) = Stage0Recipe.from_file(ROOT / 'recipe/recipe.yaml').render(VariantConfig(), RenderConfig())
    rendered = variant.recipe.to_dict()
    assert rendered['package'] == {'name': 'aiida-hamlr', 'version': __version__}
    assert rendered['build']['noarch'] == 'python'


def allowed_pythons():
    """Return the releases of Python that the classifiers name."""
    return re.findall(r"'Programming Language :: Python :: (3\.\d+)'", PYPROJECT)


def test_pythons_are_those_that_are_tested():
    """Classifiers, requires-python and the matrix of continuous integration agree."""
    workflow = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text())
    matrix = workflow['jobs']['python']['strategy']['matrix']['python-version']
    assert matrix == allowed_pythons()
    supported = [release for release in PYTHONS if release in SpecifierSet(metadata('aiida-hamlr')['Requires-Python'])]
    assert supported[: len(matrix)] == matrix


@pytest.mark.parametrize('name', ['Dockerfile.cpu', 'Dockerfile.cuda'])
def test_containers(name):
    """Known instructions, a base of a stated version that the package supports, and no entry point in AiiDA's way."""
    text = re.sub(r'^#.*\n', '', (ROOT / 'containers' / name).read_text(), flags=re.MULTILINE).replace('\\\n', ' ')
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    assert {line[0] for line in lines} <= INSTRUCTIONS
    assert lines[0][0] == 'FROM' and re.search(r'python:(3\.\d+)-slim$', lines[0][1]).group(1) in allowed_pythons()
    assert ['ENTRYPOINT', '[]'] in lines
    runs = [line[1] for line in lines if line[0] == 'RUN']
    assert any('pip install --no-cache-dir /src' in run for run in runs)
    assert all('rm -rf /var/lib/apt/lists/*' in run for run in runs if 'apt-get install' in run)
    # What is copied holds neither environments nor results.
    assert {'.git', '.venv', '.demo'} <= set((ROOT / '.dockerignore').read_text().split())


def test_apptainer_has_the_base_of_docker():
    """The definition file builds on the same image."""
    text = (ROOT / 'containers/hamlr.def').read_text()
    base = re.search(r'^FROM (\S+)$', (ROOT / 'containers/Dockerfile.cuda').read_text(), re.MULTILINE).group(1)
    assert re.search(r'^From: (\S+)$', text, re.MULTILINE).group(1) == base
    sections = re.findall(r'^%(\w+)', text, re.MULTILINE)
    assert sections == ['help', 'files', 'post', 'environment', 'test']
    assert 'hamlr.def' in (ROOT / 'docs/howto/cluster.md').read_text()


def test_registry_metadata():
    """What the registry of AiiDA plugins reads: classifiers, dependency, entry points with one prefix, a version."""
    about = metadata('aiida-hamlr')
    classifiers = about.get_all('Classifier')
    assert 'Framework :: AiiDA' in classifiers
    assert len([each for each in classifiers if each.startswith('Development Status ::')]) == 1
    assert any(Requirement(text).name == 'aiida-core' for text in requires('aiida-hamlr'))
    groups = re.findall(r"^\[project\.entry-points\.'(aiida\.[\w.]+)'\]$", PYPROJECT, re.MULTILINE)
    assert {'aiida.calculations', 'aiida.parsers', 'aiida.data', 'aiida.workflows'} <= set(groups)
    for group in groups:
        for name in section(f"project.entry-points.'{group}'"):
            assert name.split('.')[0] == 'hamlr', f'{group}: {name}'
    assert about['Version'] == __version__
    urls = section('project.urls')
    assert {'Home', 'Documentation', 'Changelog'} <= set(urls)
