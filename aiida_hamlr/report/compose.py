"""Which sections the report of a node has, by what the node is."""

from __future__ import annotations

from collections.abc import Callable

from aiida import orm
from aiida.common.links import LinkType

from aiida_hamlr.data.dataset import DatasetData
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.model import ModelData
from aiida_hamlr.report import sections
from aiida_hamlr.report.electronic import (
    bands_section,
    cutoff_section,
    dos_of_node,
    hamiltonian_section,
    quality_section,
    structure_section,
)
from aiida_hamlr.report.models import dataset_sections, distance_section, learning_section, model_sections
from aiida_hamlr.report.page import Page, Section
from aiida_hamlr.report.predictions import comparison_section, prediction_sections, screening_sections

__all__ = ('make_report',)


def make_report(node: orm.Node) -> Page:
    """Return the report of a process or a data node of this package, finished or not.

    :raises ValueError: if there is no report of such a node; the message says of which there are.
    """
    if isinstance(node, orm.ProcessNode):
        kind = (node.process_type or '').partition(':')[2]
        if not kind.startswith('hamlr.'):
            raise ValueError(
                f'{sections.name_of(node)} has no report; there are reports of {", ".join(sorted(KINDS))}, and of '
                'Hamiltonian, dataset and model nodes'
            )
        title, compose = KINDS.get(kind, ('Run', lambda process: []))
        content = [sections.outcome(node), *compose(node)]
        content += [sections.steps(node), sections.provenance(_main_output(node))]
        name = f'{title}: {sections.name_of(node)}'
    else:
        content = [*_of_data(node), sections.provenance(node)]
        name = sections.name_of(node)
    content += [sections.versions(node), sections.reproduction(node)]
    return Page(name, sections.subtitle(node), content)


def _of_data(node: orm.Node) -> list[Section]:
    if isinstance(node, HamiltonianData):
        return _hamiltonian(node)
    if isinstance(node, DatasetData):
        return dataset_sections(node)
    if isinstance(node, ModelData):
        return model_sections(node, _parameters(node.creator))
    raise ValueError(
        f'{sections.name_of(node)} has no report; there are reports of Hamiltonians, datasets and models, and of the '
        'runs of this package'
    )


def _hamiltonian(node: HamiltonianData) -> list[Section]:
    found = [
        hamiltonian_section(node),
        quality_section(node),
        bands_section({node.base.attributes.get('origin'): node}),
    ]
    return [*found, structure_section(node.get_structure())]


def _reference(process: orm.ProcessNode) -> list[Section]:
    if 'hamiltonian' in process.outputs:
        found = _hamiltonian(process.outputs.hamiltonian)
        dos = process.outputs.dos if 'dos' in process.outputs else {}
        if 'output_dos' in dos:
            # Before the structure.
            found.insert(-1, Section('Density of states', [dos_of_node(dos['output_dos'])]))
        return found if 'cutoff' not in process.outputs else [cutoff_section(process.outputs.cutoff), *found]
    inputs = process.base.links.get_incoming().nested()
    return [structure_section(inputs['structure'])] if isinstance(inputs.get('structure'), orm.StructureData) else []


def _training(process: orm.ProcessNode) -> list[Section]:
    if 'model' in process.outputs:
        return model_sections(process.outputs.model, _parameters(process))
    return [learning_section(process)]


def _dataset(process: orm.ProcessNode) -> list[Section]:
    return dataset_sections(process.outputs.dataset) if 'dataset' in process.outputs else []


def _pipeline(process: orm.ProcessNode) -> list[Section]:
    """What a pipeline has so far: errors of predictions first, then the model, then the data."""
    called = {
        entry.link_label: entry.node for entry in process.base.links.get_outgoing(link_type=LinkType.CALL_WORK).all()
    }
    outputs = process.base.links.get_outgoing(link_type=LinkType.RETURN).nested()
    comparisons = {label: node.get_dict() for label, node in outputs.get('comparison', {}).items()}
    found = [comparison_section(comparisons)]
    found += [distance_section(entry.get('mae_by_distance')) for entry in list(comparisons.values())[:1]]
    references = {
        label.removeprefix('predict_'): node
        for label, node in outputs.get('references', {}).items()
        if label.startswith('predict_')
    }
    if 'predict' in called:
        found += prediction_sections(called['predict'], references)
    if 'train' in called:
        found += _training(called['train'])
    elif 'dataset' in outputs:
        found += dataset_sections(outputs['dataset'])
    return found


#: Title and sections of the reports of processes, by entry point.
KINDS: dict[str, tuple[str, Callable[[orm.ProcessNode], list[Section]]]] = {
    'hamlr.reference': ('Reference', _reference),
    'hamlr.reconstruct': ('Reconstruction', _reference),
    'hamlr.dataset': ('Dataset', _dataset),
    'hamlr.train': ('Training', _training),
    'hamlr.train.base': ('Training', _training),
    'hamlr.predict': ('Prediction', prediction_sections),
    'hamlr.predict.base': ('Prediction', prediction_sections),
    'hamlr.screen': ('Screening', screening_sections),
    'hamlr.pipeline': ('Pipeline', _pipeline),
}


def _parameters(process: orm.ProcessNode | None) -> dict:
    """The numbers that a job reported, or nothing."""
    if process is None or 'output_parameters' not in process.outputs:
        return {}
    return process.outputs.output_parameters.get_dict()


def _main_output(process: orm.ProcessNode) -> orm.Node | None:
    """The node whose ancestors tell where the result comes from."""
    outputs = process.base.links.get_outgoing(link_type=(LinkType.CREATE, LinkType.RETURN)).all()
    order = (ModelData, DatasetData, HamiltonianData, orm.SinglefileData, orm.BandsData, orm.Dict)
    nodes = [entry.node for entry in outputs]
    if any('predict' in entry.link_label for entry in outputs if isinstance(entry.node, HamiltonianData)):
        order = (HamiltonianData, *order)
    for kind in order:
        found = [node for node in nodes if isinstance(node, kind)]
        if found:
            return found[-1]
    return None
