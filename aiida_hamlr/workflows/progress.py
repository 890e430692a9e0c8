"""How far runs are, from what their nodes and working directories hold."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.common.links import LinkType

from aiida_hamlr.data.connections import CONNECTION_ERRORS
from aiida_hamlr.monitors.learning_curve import read_learning_curve
from aiida_hamlr.workflows.results import get_table

__all__ = ('Progress', 'measure')

#: Labels of links to structures that a work chain computes, as namespaces of its inputs.
_STRUCTURES = 'structures'


@dataclass(frozen=True)
class Progress:
    """How much of a run is done.

    Parameters
    ----------
    done, total : int
        In ``unit``; a total of 0 is not known.
    unit : str
        'epochs', 'references' and so on.
    reused : int
        How many of `done` are of earlier runs and took no time.
    """

    done: int
    total: int
    unit: str
    reused: int = 0

    def __str__(self):
        counted = f'{self.done} of {self.total} {self.unit}' if self.total else f'{self.done} {self.unit}'
        return f'{counted} ({self.reused} reused)' if self.reused else counted


def measure(node: orm.ProcessNode) -> Progress | None:
    """Return how far a process is; nothing for those that cannot tell."""
    function = _MEASURES.get((node.process_type or '').partition(':')[2])
    try:
        return function(node) if function else None
    except (ValueError, OSError, NotExistent, KeyError, *CONNECTION_ERRORS):
        # It is not far enough to tell, or its computer cannot be reached.
        return None


def seconds_left(node: orm.ProcessNode, progress: Progress | None) -> float | None:
    """Return the expected time until a running process ends, s, if it goes on as it did; nothing if it is not known."""
    if progress is None or not progress.total or progress.done <= progress.reused or node.is_terminated:
        return None
    left = max(progress.total - progress.done, 0)
    return (time.time() - node.ctime.timestamp()) * left / (progress.done - progress.reused)


def _epochs(node: orm.ProcessNode) -> Progress | None:
    """Epochs or steps of a training, whichever limit comes first."""
    columns = read_learning_curve(node)
    training = _inputs(node).get('parameters')
    if training is None:
        training = _inputs(node).get('train', {}).get('parameters')
    limits = (training.get_dict() if training is not None else {}).get('training', {})
    epoch, step = (int(np.nanmax(columns[name])) if name in columns else 0 for name in ('epoch', 'step'))
    if limits.get('max_steps'):
        return Progress(step, int(limits['max_steps']), 'steps')
    return Progress(epoch, int(limits.get('max_epochs') or 0), 'epochs')


def _references(node: orm.ProcessNode) -> Progress:
    """References of a dataset."""
    chains = _called(node, 'hamlr.reference')
    inputs = _inputs(node)
    recipes = inputs['recipes'].get_dict() if 'recipes' in inputs else {}
    sources = {name for recipe in recipes.values() for name in recipe['of']}
    total = len(set(inputs.get(_STRUCTURES, {})) - sources)
    for entry in node.base.links.get_outgoing(link_type=LinkType.CALL_CALC).all():
        if entry.link_label == 'frames' or entry.link_label.startswith('structures_'):
            total += len(entry.node.base.links.get_outgoing(orm.StructureData, LinkType.CREATE).all())
    # Every reference is an output as soon as it is there, those of earlier runs too.
    outputs = node.base.links.get_outgoing(link_type=LinkType.RETURN).all()
    kept = sum(entry.link_label.startswith('references__') for entry in outputs)
    reused = max(kept - sum(chain.is_finished_ok for chain in chains), 0)
    done = sum(chain.is_finished for chain in chains) + reused
    return Progress(done, max(total, len(chains) + reused), 'references', reused)


def _structures(node: orm.ProcessNode) -> Progress:
    """Structures of a screening."""
    table = get_table(node)
    return Progress(sum(row['status'] != 'waiting' for row in table), len(table), 'structures')


def _steps_of_reference(node: orm.ProcessNode) -> Progress:
    """Steps of a reference: orbitals if they are not given, scf, potential if pp.x writes it, reconstruction."""
    inputs = _inputs(node)
    total = 2 + ('basis' not in inputs) + ('potential' in inputs)
    ended = [child for child in node.called if not isinstance(child, orm.CalcFunctionNode) and child.is_finished_ok]
    return Progress(min(len(ended), total), total, 'steps')


def _parts_of_pipeline(node: orm.ProcessNode) -> Progress:
    """Parts of a pipeline: dataset, training, and prediction if there are structures for it."""
    total = 2 + bool(_inputs(node).get(_STRUCTURES, {}).get('predict'))
    return Progress(
        sum(child.is_finished_ok for child in node.called if isinstance(child, orm.WorkChainNode)), total, 'parts'
    )


_MEASURES = {
    'hamlr.dataset': _references,
    'hamlr.pipeline': _parts_of_pipeline,
    'hamlr.reference': _steps_of_reference,
    'hamlr.screen': _structures,
    'hamlr.train': _epochs,
    'hamlr.train.base': _epochs,
}


def _called(node: orm.ProcessNode, kind: str) -> list[orm.ProcessNode]:
    return [child for child in node.called if child.process_type == f'aiida.workflows:{kind}']


def _inputs(node: orm.ProcessNode) -> dict:
    return node.base.links.get_incoming(link_type=(LinkType.INPUT_CALC, LinkType.INPUT_WORK)).nested()
