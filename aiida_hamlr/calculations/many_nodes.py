"""Processes with hundreds of input and output nodes.

AiiDA's engine is made for processes with a few nodes. Outside of a transaction it reads a node again from the database
whenever one of its attributes is asked for; it compares each new link with all links that the process has; it writes
all inputs with each checkpoint, loads them one by one, and loads those of a job with each look at the queue. For a
batch of 100 structures that is most of what AiiDA costs. The mixins here do the same in one transaction for each
record, with one look at the links and one query for all inputs. They override private methods of the engine; their
tests fail if aiida-core changes what is relied on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.common.links import LinkType, validate_link_label
from aiida.engine import ProcessState
from aiida.engine.processes.calcjobs.monitors import CalcJobMonitors
from aiida.engine.processes.calcjobs.tasks import Waiting
from aiida.manage import get_manager

__all__ = ('ManyInputsMixin', 'ManyNodesMixin', 'in_chunks', 'load_nodes', 'transaction')

#: Nodes asked for at a time, for databases with a limit on the length of a query.
_LARGEST_QUERY = 500


def transaction() -> AbstractContextManager:
    """Return a transaction of the storage, in which nodes that were read are not read again."""
    return get_manager().get_profile_storage().transaction()


def in_chunks(items: Sequence) -> Iterator[Sequence]:
    """Yield parts of some primary keys, each short enough for one query."""
    for start in range(0, len(items), _LARGEST_QUERY):
        yield items[start : start + _LARGEST_QUERY]


def load_nodes(pks: Collection[int]) -> dict[int, orm.Node]:
    """Return nodes by primary key, with a query for some hundreds of them at a time.

    :raises NotExistent: if one is not there.
    """
    wanted, found = sorted(set(pks)), {}
    for chunk in in_chunks(wanted):
        query = orm.QueryBuilder().append(orm.Node, filters={'id': {'in': chunk}}, project=['id', '*'])
        found |= dict(query.all())
    missing = [pk for pk in wanted if pk not in found]
    if missing:
        raise NotExistent(f'node {missing[0]} is not in the database')
    return found


class ManyNodesMixin:
    """For a process with many input or output nodes: links are made in one transaction, without a query for each."""

    def encode_input_args(self, inputs: Mapping[str, Any]) -> str:
        """Return inputs or outputs as text for a checkpoint; inputs do not change and are encoded once."""
        known = self.__dict__.setdefault('_encoded', [])
        for encoded, text in known:
            if encoded is inputs:
                return text
        nodes: dict[str, int] = {}
        text = super().encode_input_args({'values': _take_nodes(inputs, nodes), 'nodes': nodes})
        if inputs is self.raw_inputs or inputs is self.inputs:
            known.append((inputs, text))
        return text

    def decode_input_args(self, encoded: str) -> Mapping[str, Any]:
        """Return what was encoded, with all nodes loaded by one query; checkpoints of the engine's own are read too."""
        decoded = super().decode_input_args(encoded)
        if set(decoded) != {'values', 'nodes'}:
            return decoded
        nodes = load_nodes(decoded['nodes'].values())
        return _put_nodes(decoded['values'], {path: nodes[pk] for path, pk in decoded['nodes'].items()})

    def on_create(self):
        """Check the inputs and store the node of the process with its links."""
        with transaction():
            super().on_create()
            rows = [self._link(source, self.node, *link) for source, *link in self.__dict__.pop('_later', ())]
            if rows:
                self.node.backend.bulk_insert(orm.EntityTypes.LINK, rows)
                self.node.base.caching.rehash()

    def _setup_inputs(self):
        """Link the inputs to the node of the process.

        The node is new: no link can be there twice, as labels are keys, and none can close a cycle. The types of nodes
        were checked by the ports. Links to stored nodes are all inserted at once after the node of the process is
        stored, unless the cache is searched for an equal one, for which the links are needed before.
        """
        is_calculation = isinstance(self.node, orm.CalculationNode)
        link_type = LinkType.INPUT_CALC if is_calculation else LinkType.INPUT_WORK
        uses_cache = is_calculation and self.node.base.caching.should_use_cache()
        at_once = self.metadata.store_provenance and not uses_cache
        self._later = []
        for label, source in self._flat_inputs().items():
            if source is None:
                continue
            validate_link_label(label)
            source.base.links.validate_outgoing(self.node, link_type, label)
            link = orm.LinkTriple(source, link_type, label)
            (self._later if at_once and source.is_stored else self.node.base.links.incoming_cache).append(link)

    @staticmethod
    def _link(source: orm.Node, target: orm.Node, link_type: LinkType, label: str) -> dict:
        """Return the record of a link between two stored nodes."""
        return {'input_id': source.pk, 'output_id': target.pk, 'label': label, 'type': link_type.value}

    def update_outputs(self):
        """Store and link outputs that are new; the engine calls this with each change of the state."""
        outputs = self._flat_outputs()
        if not outputs or not self.metadata.store_provenance:
            return
        links = self.node.base.links
        known = set(links.get_outgoing(link_type=(LinkType.CREATE, LinkType.RETURN), only_uuid=True).all_link_labels())
        new = {label: output for label, output in outputs.items() if label not in known}
        creates = isinstance(self.node, orm.CalculationNode)
        # A job creates nodes that are not stored and have no other origin; a work chain returns nodes that are.
        usual = {
            label: output
            for label, output in new.items()
            if output.is_stored != creates and not output.base.links.incoming_cache
        }
        with transaction():
            if creates:
                self._create_outputs(usual)
            else:
                self._return_outputs(usual)
        if len(usual) < len(new):
            super().update_outputs()

    def _create_outputs(self, outputs: dict[str, orm.Data]):
        for label, output in outputs.items():
            validate_link_label(label)
            self.node.base.links.validate_outgoing(output, LinkType.CREATE, label)
            output.base.links.incoming_cache.append(orm.LinkTriple(self.node, LinkType.CREATE, label))
            output.store()

    def _return_outputs(self, outputs: dict[str, orm.Data]):
        rows = []
        for label, output in outputs.items():
            validate_link_label(label)
            self.node.base.links.validate_outgoing(output, LinkType.RETURN, label)
            rows.append(self._link(self.node, output, LinkType.RETURN, label))
        self.node.backend.bulk_insert(orm.EntityTypes.LINK, rows)


def _take_nodes(value, nodes: dict[str, int], path: str = ''):
    """Return nested values with nothing in the place of nodes, whose primary keys are noted by their path."""
    if isinstance(value, Mapping):
        return type(value)({key: _take_nodes(each, nodes, f'{path}.{key}') for key, each in value.items()})
    if isinstance(value, orm.Node):
        nodes[path] = value.pk
        return None
    return value


def _put_nodes(value, nodes: Mapping[str, orm.Node], path: str = ''):
    """Return nested values with nodes at their paths."""
    if isinstance(value, Mapping):
        return type(value)({key: _put_nodes(each, nodes, f'{path}.{key}') for key, each in value.items()})
    return nodes.get(path, value)


class _Waiting(Waiting):
    """The waiting state of a job that looks for monitors among the inputs in memory, not in the database."""

    @property
    def monitors(self) -> CalcJobMonitors | None:
        """Return the monitors of the job."""
        return super().monitors if self.process.inputs.get('monitors') else None


class ManyInputsMixin(ManyNodesMixin):
    """For a job with many nodes: does not load all its inputs whenever it asks the scheduler for its state."""

    def _setup_inputs(self):
        super()._setup_inputs()
        # As `CalcJob._setup_inputs` does it, whose links are made above.
        if not self.node.computer:
            self.node.computer = self.inputs.code.computer

    @classmethod
    def get_state_classes(cls) -> dict:
        """Return the classes of the states."""
        return {**super().get_state_classes(), ProcessState.WAITING: _Waiting}
