"""Rules that all processes keep: ports and exit codes that explain themselves, protocols."""

import inspect
import re

import pytest
from aiida import orm
from aiida.plugins import CalculationFactory, WorkflowFactory
from aiida.plugins.entry_point import get_entry_point_names
from ase import Atoms

CALCULATIONS, WORKFLOWS = (
    [name for name in get_entry_point_names(f'aiida.{group}') if name.startswith('hamlr.')]
    for group in ('calculations', 'workflows')
)
PROCESSES = [(CalculationFactory, name) for name in CALCULATIONS] + [(WorkflowFactory, name) for name in WORKFLOWS]

#: Ports of AiiDA and of aiida-quantumespresso.
FOREIGN = ('metadata', 'scf', 'settings')


def ports_of(namespace, prefix=''):
    """Yield the ports with their full names, those of namespaces included."""
    for name, port in namespace.items():
        if name in FOREIGN:
            continue
        yield f'{prefix}{name}', port
        if hasattr(port, 'ports'):
            yield from ports_of(port, f'{prefix}{name}.')


@pytest.mark.parametrize(('factory', 'name'), PROCESSES)
def test_ports_have_sentences(factory, name):
    """Every input, output and namespace has a help text that is a sentence."""
    spec = factory(name).spec()
    for port_namespace in (spec.inputs, spec.outputs):
        for port_name, port in ports_of(port_namespace):
            text = (port.help or '').strip()
            assert text.endswith('.') and (text[0].isupper() or text[0] == '`'), f'{port_name}: {text!r}'


@pytest.mark.parametrize(('factory', 'name'), PROCESSES)
def test_exit_codes_say_what_to_do(factory, name):
    """Codes are unique, below 500, and the messages of ours do not stop at what happened."""
    process = factory(name)
    statuses = [code.status for code in process.exit_codes.values() if code.status >= 200]
    assert statuses
    assert len(set(statuses)) == len(statuses)
    assert max(statuses) < 500
    foreign = {
        code.status
        for base in process.__mro__
        if base.__module__.split('.')[0] != 'aiida_hamlr' and hasattr(base, 'exit_codes')
        for code in base.exit_codes.values()
    }
    for code in process.exit_codes.values():
        if code.status not in foreign:
            # Two parts at least, besides what is filled in.
            parts = re.split(r'[.:;,] ', re.sub(r'\{.*?\}', '', code.message).strip(' :.'))
            assert len([part for part in parts if part.strip(' .:;')]) >= 2, f'{code.status}: {code.message}'


@pytest.mark.parametrize('name', CALCULATIONS)
def test_blocks_of_calculations(name):
    """Bad input has 2xx; 3xx cannot be repaired by a repetition and are not cached; a work chain can handle 4xx.

    A failure of the moment need not come again, so it is not taken from the cache either.
    """
    of_the_moment = ('ERROR_NO_GPU', 'ERROR_KILLED', 'ERROR_DISK_FULL')
    for label, code in CalculationFactory(name).exit_codes.items():
        if code.status >= 200:
            assert code.invalidates_cache == (code.status < 400 or label in of_the_moment), label
            assert ('INPUT' in label) == (code.status < 300), label


@pytest.mark.parametrize('name', WORKFLOWS)
def test_protocols(aiida_profile, name):
    """Every work chain has the three protocols, with a description, and a builder that takes one by name."""
    process = WorkflowFactory(name)
    assert list(process.get_available_protocols()) == ['fast', 'balanced', 'stringent']
    assert all(entry['description'] for entry in process.get_available_protocols().values())
    assert process.get_default_protocol() == 'balanced'
    parameters = inspect.signature(process.get_builder_from_protocol).parameters
    assert {'protocol', 'overrides', 'options'} <= set(parameters)
    documented = re.findall(r':param (\w+):', process.get_builder_from_protocol.__doc__)
    assert set(parameters) - {'settings'} <= set(documented)
    if 'settings' in parameters:
        # What there is besides is documented, and what there is not is refused.
        assert {'basis', 'pp_code', 'electronic_type'} <= set(
            re.findall(r'\w+', process.get_builder_from_protocol.__doc__)
        )
        with pytest.raises(ValueError, match="unknown key 'bases'"):
            build_with(name, bases=1)


def build_with(name, **settings):
    """Return a builder for one atom, which a wrong setting stops before a code is loaded."""
    structure = orm.StructureData(ase=Atoms('Al', cell=[3, 3, 3], pbc=True))
    labelled = {'a': structure}
    structures = {'hamlr.dataset': labelled, 'hamlr.active_learning': labelled, 'hamlr.pipeline': {'train': labelled}}
    return WorkflowFactory(name).get_builder_from_protocol(None, None, structures.get(name, structure), **settings)


@pytest.mark.parametrize('name', CALCULATIONS)
def test_jobs_ask_for_no_mpi_of_their_own(name):
    """A default would count as the user's wish as soon as a work chain hands it on, and contradict the code's."""
    port = CalculationFactory(name).spec().inputs['metadata']['options'].get('withmpi')
    assert name == 'hamlr.fetch' or not port.has_default()
