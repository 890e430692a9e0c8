"""Where the structures of a screening come from: a group, a query, a trajectory, or structures by label."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.common.links import LinkType

__all__ = ('SOURCES', 'get_structures', 'validate_group', 'validate_query')

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


def get_structures(inputs: Mapping) -> dict[int, orm.StructureData]:
    """Return the structures of a screening by primary key, but for the frames of a trajectory."""
    if 'group' in inputs:
        group = orm.load_group(inputs['group'].value)
        query = orm.QueryBuilder().append(orm.Group, filters={'id': group.pk}, tag='group')
        query.append(orm.StructureData, with_group='group', tag='structure', project='*')
        nodes = query.order_by({'structure': 'id'}).all(flat=True)
    elif 'query' in inputs:
        rows = orm.QueryBuilder.from_dict(inputs['query'].get_dict()).all()
        nodes = [node for row in rows for node in row if isinstance(node, orm.StructureData)]
    elif 'trajectory' in inputs:
        nodes = find_frames(inputs['trajectory'])
    else:
        nodes = list(inputs['structures'].values())
    return {node.pk: node for node in sorted(nodes, key=lambda node: node.pk)}


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
