"""Results of predictions in the database: which structures have one, and what a screening found."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from aiida import orm
from aiida.common.links import LinkType

from aiida_hamlr.calculations.many_nodes import in_chunks
from aiida_hamlr.jobs.schemas import PredictConfig
from aiida_hamlr.jobs.structure_set import IRRELEVANT
from aiida_hamlr.jobs.tables import make_row
from aiida_hamlr.workflows.sources import get_structures

__all__ = ('find_results', 'get_table')


def comparable(parameters: Mapping) -> dict:
    """Return the parameters of a prediction on which its results depend, without those that have their default."""
    fields = PredictConfig.model_fields
    relevant = {
        key: sorted(value) if key == 'outputs' else value
        for key, value in parameters.items()
        if key not in IRRELEVANT and (key not in fields or value != fields[key].default)
    }
    if 'bands' not in relevant.get('outputs', ['bands']):
        relevant.pop('spacing', None)
    return relevant


@dataclass(frozen=True)
class Result:
    """Numbers of one structure: the job that predicted it, its label in this job, and the content of the node."""

    job: int
    label: str
    numbers: dict


def find_results(
    structures: Collection[int], model: orm.Node, parameters: Mapping, committee: Collection[str] = ()
) -> dict[int, Result]:
    """Return the result of each structure that was predicted with a model, by structure.

    Results of jobs that are marked as invalid for the cache do not count; of several, the newest does.

    :param structures: primary keys of structures; results of other nodes of the same content do not count.
    :param parameters: those of the prediction.
    :param committee: UUIDs of the models that it was compared with.
    """
    wanted, found = comparable(parameters), {}
    for chunk in in_chunks(sorted(structures)):
        jobs = {}
        query = orm.QueryBuilder()
        query.append(orm.StructureData, filters={'id': {'in': chunk}}, tag='structure', project='id')
        query.append(
            orm.CalcJobNode,
            filters={'process_type': 'aiida.calculations:hamlr.predict'},
            with_incoming='structure',
            edge_filters={'label': {'like': r'structures\_\_%'}},
            edge_project='label',
            project='id',
            tag='job',
        )
        for structure, job, label in query.iterall():
            jobs.setdefault(job, {})[label.removeprefix('structures__')] = structure
        valid = sorted(_find_jobs(jobs, model, wanted, set(committee)))
        if not valid:
            continue
        query = orm.QueryBuilder()
        query.append(orm.CalcJobNode, filters={'id': {'in': valid}}, project='id', tag='job')
        query.append(
            orm.Dict,
            with_incoming='job',
            edge_filters={'label': {'like': r'results\_\_%'}},
            edge_project='label',
            project='attributes',
        )
        query.order_by({'job': 'id'})
        for job, numbers, label in query.iterall():
            name = label.removeprefix('results__')
            if name in jobs[job]:
                found[jobs[job][name]] = Result(job, name, numbers)
    return found


def _find_jobs(jobs: Collection[int], model: orm.Node, wanted: dict, committee: set[str]) -> Iterator[int]:
    """Yield those of some jobs that had a model, parameters and a committee, and are valid for the cache."""
    for chunk in in_chunks(sorted(jobs)):
        committees: dict[int, set[str]] = {}
        query = orm.QueryBuilder()
        query.append(orm.CalcJobNode, filters={'id': {'in': chunk}}, project='id', tag='job')
        query.append(
            type(model), with_outgoing='job', edge_filters={'label': {'like': r'committee\_\_%'}}, project='uuid'
        )
        for job, uuid in query.iterall():
            committees.setdefault(job, set()).add(uuid)
        query = orm.QueryBuilder()
        query.append(orm.CalcJobNode, filters={'id': {'in': chunk}}, project=['id', 'extras'], tag='job')
        query.append(type(model), filters={'id': model.pk}, with_outgoing='job', edge_filters={'label': 'model'})
        query.append(orm.Dict, with_outgoing='job', edge_filters={'label': 'parameters'}, project='attributes')
        for job, extras, parameters in query.iterall():
            is_same = comparable(parameters) == wanted and committees.get(job, set()) == committee
            if extras.get('_aiida_valid_cache', True) and is_same:
                yield job


def get_table(screening: orm.WorkChainNode) -> list[dict]:
    """Return one row for each structure of a `ScreenWorkChain`, which may still be running.

    Structures that came into its group later have a row, too; their status is `waiting`.
    """
    inputs = screening.base.links.get_incoming(link_type=LinkType.INPUT_WORK).nested()
    structures = get_structures(inputs)
    parameters = inputs['predict']['predict']['parameters'].get_dict()
    committee = [node.uuid for node in inputs['predict']['predict'].get('committee', {}).values()]
    results = {
        label: find_results(structures, model, parameters, committee) for label, model in inputs['models'].items()
    }
    failures = {}
    if 'results' in screening.outputs:
        failures = screening.outputs.results.creator.inputs.models.get_dict()
    table = []
    for pk, node in structures.items():
        rows = {label: found[pk].numbers for label, found in results.items() if pk in found}
        reasons = {label: each[f's{pk}'] for label, each in failures.items() if f's{pk}' in each}
        about = {'structure': node.uuid, 'label': node.label or f's{pk}', 'formula': node.get_formula('hill')}
        table.append(make_row({**about, 'n_atoms': len(node.sites)}, len(results), rows, reasons))
    return table
