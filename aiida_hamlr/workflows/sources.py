"""Where a work chain takes many structures from: a group, a query, a trajectory, or structures by label."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.common.links import LinkType

from aiida_hamlr.calculations.functions.structures import extract_frames
from aiida_hamlr.calculations.validation import validate_structures, validate_trajectory

__all__ = (
    'SOURCES',
    'define_sources',
    'find_sources_problem',
    'get_structures',
    'list_structures',
    'load_structures',
    'set_source',
)

#: Where the structures can come from.
SOURCES = ('group', 'structures', 'trajectory', 'query')


def validate_group(value, _) -> str | None:
    """Return why a group cannot be screened, or nothing."""
    if value is None:
        return None
    try:
        orm.load_group(value.value)
    except NotExistent:
        return f'`group`: there is no group {value.value!r}'
    return None


def validate_query(value, _) -> str | None:
    """Return why a query cannot be run, or nothing."""
    if value is None:
        return None
    try:
        orm.QueryBuilder.from_dict(value.get_dict())
    except (TypeError, ValueError, KeyError) as error:
        return f'`query`: not the content of `QueryBuilder.as_dict()`: {error}'
    return None


def define_sources(spec):
    """Define the inputs that say which structures."""
    spec.input(
        'group',
        valid_type=orm.Str,
        required=False,
        validator=validate_group,
        help='Label or UUID of a group; all structures in it at the start count.',
    )
    spec.input_namespace(
        'structures',
        valid_type=orm.StructureData,
        dynamic=True,
        required=False,
        validator=validate_structures,
        help='Structures by label, for small sets that are in no group.',
    )
    spec.input(
        'trajectory',
        valid_type=orm.TrajectoryData,
        required=False,
        validator=validate_trajectory,
        help='A trajectory; each frame becomes a structure node.',
    )
    spec.input(
        'query',
        valid_type=orm.Dict,
        required=False,
        validator=validate_query,
        help='A query as `QueryBuilder.as_dict()` returns it; all structures that it projects count.',
    )


def find_sources_problem(inputs: Mapping) -> str | None:
    """Return why the inputs do not say which structures, or nothing."""
    given = [name for name in SOURCES if inputs.get(name)]
    if len(given) != 1:
        return f'give one of `group`, `structures`, `trajectory` and `query`, not {" and ".join(given) or "none"}'
    return None


def set_source(builder, source):
    """Put a group, a query, a trajectory, or structures by label into a builder."""
    if isinstance(source, orm.Group):
        builder.group = orm.Str(source.uuid)
    elif isinstance(source, orm.QueryBuilder):
        builder.query = orm.Dict(source.as_dict())
    elif isinstance(source, orm.TrajectoryData):
        builder.trajectory = source
    else:
        builder.structures = source


def load_structures(inputs: Mapping) -> dict[int, orm.StructureData]:
    """Return all structures by primary key; the frames of a trajectory are extracted unless they are there already."""
    structures = get_structures(inputs)
    if not structures and 'trajectory' in inputs:
        frames = extract_frames(inputs['trajectory'], metadata={'call_link_label': 'frames'})
        structures = {node.pk: node for node in frames.values()}
    return structures


def list_structures(inputs: Mapping) -> list[orm.StructureData]:
    """Return the structures, stored or not; none if they are frames of a trajectory that were not extracted yet."""
    if 'group' in inputs:
        group = orm.load_group(inputs['group'].value)
        query = orm.QueryBuilder().append(orm.Group, filters={'id': group.pk}, tag='group')
        query.append(orm.StructureData, with_group='group', tag='structure', project='*')
        return query.all(flat=True)
    if 'query' in inputs:
        rows = orm.QueryBuilder.from_dict(inputs['query'].get_dict()).all()
        return [node for row in rows for node in row if isinstance(node, orm.StructureData)]
    return find_frames(inputs['trajectory']) if 'trajectory' in inputs else list(inputs['structures'].values())


def get_structures(inputs: Mapping) -> dict[int, orm.StructureData]:
    """Return the stored structures by primary key; see `list_structures`."""
    return {node.pk: node for node in sorted(list_structures(inputs), key=lambda node: node.pk)}


def find_frames(trajectory: orm.TrajectoryData) -> list[orm.StructureData]:
    """Return the structures of an earlier extraction of the frames of a trajectory; nothing if there was none."""
    query = orm.QueryBuilder().append(orm.TrajectoryData, filters={'id': trajectory.pk}, tag='trajectory')
    query.append(
        orm.CalcFunctionNode,
        filters={'attributes.function_name': 'extract_frames', 'attributes.exit_status': 0},
        with_incoming='trajectory',
        project='*',
        tag='function',
    )
    function = query.order_by({'function': {'id': 'desc'}}).first(flat=True)
    if function is None:
        return []
    return [entry.node for entry in function.base.links.get_outgoing(orm.StructureData, LinkType.CREATE).all()]
