"""Nodes of which reports are made; their labels try to break out of the page."""

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

#: Ends elements, attributes, scripts and comments, and would load something from elsewhere.
HOSTILE = '</script><script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>"\'&{{ 7*7 }}<!--'


def make_run(group: str, entry_point: str, inputs=None, outputs=None, exit_status=0, message=''):
    """Return a finished run with a hostile label and description."""
    work = group == 'workflows'
    kind = orm.WorkChainNode if work else orm.CalcJobNode
    node = kind(process_type=f'aiida.{group}:{entry_point}', label=HOSTILE, description=HOSTILE)
    if not work:
        node.computer = orm.load_computer('localhost')
    node.set_process_label(entry_point)
    node.set_process_state(ProcessState.FINISHED)
    node.set_exit_status(exit_status)
    node.set_exit_message(message)
    for label, value in (inputs or {}).items():
        node.base.links.add_incoming(value, LinkType.INPUT_WORK if work else LinkType.INPUT_CALC, label)
    node.store()
    for label, value in (outputs or {}).items():
        if work:
            value.store()
        value.base.links.add_incoming(node, LinkType.RETURN if work else LinkType.CREATE, label)
        value.store()
    return node


@pytest.fixture
def reference(make_hamiltonian_node):
    """Return a reference that finished, with warnings."""
    node = make_hamiltonian_node(seed=70, gap=1.5, fermi_level=-2.0)
    node.label = HOSTILE
    return make_run('workflows', 'hamlr.reference', outputs={'hamiltonian': node})


@pytest.fixture
def dataset(make_hamiltonian_node):
    """Return a dataset with a structure that failed."""
    from aiida_hamlr.data.dataset import DatasetData

    nodes = [make_hamiltonian_node(seed=seed, gap=1.0 + 0.1 * seed) for seed in (71, 72, 73)]
    split = {'train': nodes[:1], 'validation': nodes[1:2], 'test': nodes[2:]}
    node = DatasetData.from_nodes(split, failures={HOSTILE: f'pw.x: {HOSTILE}'})
    node.label = HOSTILE
    return node.store()


@pytest.fixture
def training(localhost, model_folder, dataset):
    """Return a training job with model, learning curve and errors."""
    from aiida_hamlr.data.model import ModelData

    epochs = np.arange(1.0, 21.0)
    curve = orm.ArrayData({'epoch': epochs, 'train_mae_meV': 9.0 / epochs, 'validation_mae_meV': 12.0 / epochs})
    distances = [
        {'from_angstrom': 0.0, 'to_angstrom': 3.0, 'mae_meV': 1.5, 'n_elements': 10},
        {'from_angstrom': 3.0, 'to_angstrom': 4.5, 'mae_meV': 0.25, 'n_elements': 20},
    ]
    errors = {'test_mae_onsite_meV': 1.375, 'test_mae_meV': 0.0625, 'test_mae_by_distance': distances}
    outputs = {
        'model': ModelData.from_folder(model_folder),
        'learning_curve': curve,
        'output_parameters': orm.Dict({**errors, 'versions': {'torch': HOSTILE}}),
    }
    return make_run('calculations', 'hamlr.train', {'dataset': dataset}, outputs)


@pytest.fixture
def prediction(localhost, make_hamiltonian_node, make_hamiltonian, zincblende, model_node):
    """Return a prediction of a structure with numbers, bands and density of states."""
    from aiida_hamlr.data.electronic_structure import make_bands, make_dos
    from aiida_hamlr.data.hamiltonian import HamiltonianData
    from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties

    hamiltonian = make_hamiltonian(zincblende())
    found = compute_properties(hamiltonian, ('gap', 'bands', 'dos'), PropertyOptions(kpoints=(2, 2, 2), spacing=0.2))
    structure = HamiltonianData.from_hamiltonian(hamiltonian).get_structure()
    numbers = {'formula': 'AlAs', 'gap_eV': found.scalars['gap_eV'], 'warnings': [HOSTILE]}
    outputs = {
        'results__s0': orm.Dict(numbers),
        'bands__s0': make_bands(found.bands, structure),
        'output_dos__s0': make_dos(found.properties),
    }
    return make_run('calculations', 'hamlr.predict', {'model': model_node}, outputs)


@pytest.fixture
def reference_with_dos(reference, prediction):
    """Return a reference with the density of states of the prediction."""
    outputs = {'hamiltonian': reference.outputs.hamiltonian, 'dos__output_dos': prediction.outputs.output_dos.s0}
    return make_run('workflows', 'hamlr.reference', outputs=outputs)


@pytest.fixture
def failure():
    """Return a reference that failed."""
    return make_run('workflows', 'hamlr.reference', exit_status=401, message=f'The scf failed: {HOSTILE}')
