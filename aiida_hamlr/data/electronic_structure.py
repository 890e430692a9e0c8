"""Bands, densities of states, projections and arrays as nodes of AiiDA, with the names of aiida-quantumespresso."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.common.exceptions import ValidationError
from aiida.plugins import OrbitalFactory

from aiida_hamlr.electronic.bands.band_structure import BandAttributes, Bands
from aiida_hamlr.electronic.bands.projections import OrbitalGroup
from aiida_hamlr.electronic.bands.properties import OTHER_ARRAYS, Properties

__all__ = ('make_arrays', 'make_bands', 'make_dos', 'make_projections', 'read_bands', 'read_dos')

#: Largest angular momentum of AiiDA's orbitals.
LARGEST_L = 3


def make_bands(bands: Bands, structure: orm.StructureData | None = None) -> orm.BandsData:
    """Return a node of bands with cell, labels and, if the Fermi level is known, occupations.

    The attributes `fermi_energy` and, for an insulator, `band_gap`, both in eV, are there to query for.
    """
    node = orm.BandsData()
    if structure is not None:
        node.set_cell_from_structure(structure)
    node.set_kpoints(bands.kpoints, weights=bands.weights)
    occupations = bands.occupations() if bands.attributes.fermi_level is not None else None
    single = len(bands.eigenvalues) == 1
    node.set_bands(
        bands.eigenvalues[0] if single else bands.eigenvalues,
        units='eV',
        occupations=occupations[0] if single and occupations is not None else occupations,
    )
    labels = [(index, label) for index, label in enumerate(bands.labels) if label]
    if labels:
        node.labels = labels
    for key, value in (('fermi_energy', bands.attributes.fermi_level), ('band_gap', bands.attributes.gap)):
        if value is not None:
            node.base.attributes.set(key, value)
    return node


def read_bands(node: orm.BandsData) -> Bands:
    """Return the bands of a node along a path; the way back from `make_bands`, and for nodes of other plugins.

    Two labelled points after each other, farther apart than any others, are a jump of the path.

    :raises ValueError: if the node has no labels (bands on a mesh), no cell, or other units than eV.
    """
    name = f'BandsData<{node.pk}>'
    if node.base.attributes.get('units', 'eV') != 'eV':
        raise ValueError(f'{name}: energies in {node.base.attributes.get("units")} instead of eV')
    labels = dict(node.labels or ())
    if not labels or 'cell' not in node.base.attributes.keys():
        raise ValueError(
            f'{name}: no labels of special points or no cell; bands on a mesh cannot be drawn along a path'
        )
    steps = np.linalg.norm(np.diff(node.get_kpoints(cartesian=True), axis=0), axis=1)
    named = np.array([index in labels for index in range(len(steps) + 1)])
    inside = steps[~(named[:-1] & named[1:])]
    jump = named[:-1] & named[1:] & (steps > 1.5 * (inside.max() if len(inside) else np.inf))
    attributes = node.base.attributes.all
    found = {'fermi_level': attributes.get('fermi_energy'), 'gap': attributes.get('band_gap')}
    energies = node.get_bands()
    energies = energies if energies.ndim == 3 else energies[None]
    if found['gap'] and found['fermi_level'] is not None:
        # The Fermi level of an insulator lies in its gap.
        found['vbm'] = float(energies[energies < found['fermi_level']].max())
        found['cbm'] = float(energies[energies > found['fermi_level']].min())
    return Bands(
        node.get_kpoints(),
        energies,
        tuple(labels.get(index, '') for index in range(len(named))),
        distances=np.concatenate([[0.0], np.cumsum(np.where(jump, 0.0, steps))]),
        attributes=BandAttributes(**{key: value for key, value in found.items() if value is not None}),
    )


def make_dos(properties: Properties) -> orm.XyData | None:
    """Return a node of the density of states: `dos_energy` in eV, `dos` and `integrated_dos`; with spin, by spin.

    It has the attributes `fermi_energy` and `band_gap` of bands, see `make_bands`.
    """
    if properties.dos_energies is None:
        return None
    node = orm.XyData()
    energies = properties.dos_energies
    node.set_x(energies, 'dos_energy', 'eV')
    step = float(energies[1] - energies[0])
    columns = [('integrated_dos', np.cumsum(properties.dos) * step, 'states')]
    if properties.dos_by_spin is None:
        columns.append(('dos', properties.dos, 'states/eV'))
    else:
        spins = zip(('dos_spin_up', 'dos_spin_down'), properties.dos_by_spin, strict=True)
        columns += [(name, values, 'states/eV') for name, values in spins]
    names, values, units = zip(*columns, strict=True)
    node.set_y(list(values), list(names), list(units))
    for key, name in (('fermi_energy', 'fermi_level_eV'), ('band_gap', 'gap_eV')):
        if properties.attributes.get(name) is not None:
            node.base.attributes.set(key, properties.attributes[name])
    return node


def read_dos(node: orm.XyData) -> Properties:
    """Return the density of states of a node, without atoms; the way back from `make_dos`.

    :raises ValueError: if the node holds no density of states of this form.
    """
    columns = {name: np.asarray(values) for name, values, _ in node.get_y()}
    name, energies, unit = node.get_x()
    spins = [columns[key] for key in ('dos_spin_up', 'dos_spin_down') if key in columns]
    total = columns.get('dos', sum(spins) if len(spins) == 2 else None)
    if total is None or unit != 'eV':
        raise ValueError(f'XyData<{node.pk}>: no density of states (dos over energies in eV), but {name} in {unit}')
    fermi_level, gap = (node.base.attributes.get(key, None) for key in ('fermi_energy', 'band_gap'))
    attributes = {} if fermi_level is None else {'fermi_level_eV': fermi_level}
    if fermi_level is not None and gap:
        # The Fermi level of an insulator lies in the middle of its gap.
        attributes |= {'gap_eV': gap, 'vbm_eV': fermi_level - 0.5 * gap}
    return Properties(
        [],
        np.zeros((0, 3)),
        dos_energies=np.asarray(energies),
        dos=total,
        dos_by_spin=np.array(spins) if len(spins) == 2 else None,
        attributes=attributes,
    )


def make_projections(
    properties: Properties, structure: orm.StructureData, bands: Bands | None = None, node: orm.BandsData | None = None
) -> dict[str, orm.ProjectionData]:
    """Return nodes of the projected density of states by name: `projections`, or `projections_up` and `_down`.

    :param bands: the bands with projections on the same orbitals; `node` is their node.
    :return: nothing without a projection on the orbitals of the atoms.
    """
    groups = properties.groups
    if properties.projected_dos is None or any(g.atom is None or g.m is None or g.l > LARGEST_L for g in groups):
        return {}
    names = ('projections',) if len(properties.projected_dos) == 1 else ('projections_up', 'projections_down')
    orbitals = [_orbital(group, structure) for group in groups]
    result = {}
    for spin, name in enumerate(names):
        projections = orm.ProjectionData()
        shares = None
        if bands is not None and bands.projections is not None and bands.groups == groups:
            projections.set_reference_bandsdata(node)
            shares = list(np.moveaxis(bands.projections[spin], -1, 0))
        projections.set_projectiondata(
            orbitals,
            list_of_projections=shares,
            list_of_energy=[properties.dos_energies] * len(groups),
            list_of_pdos=list(properties.projected_dos[spin]),
            bands_check=False,
        )
        result[name] = projections
    return result


def _orbital(group: OrbitalGroup, structure: orm.StructureData):
    """Return the orbital of AiiDA; all radial functions of an atom with the same l and m count together."""
    site = structure.sites[group.atom]
    return OrbitalFactory('core.realhydrogen')(
        kind_name=site.kind_name,
        position=site.position,
        angular_momentum=group.l,
        magnetic_number=group.m,
        radial_nodes=0,
    )


def make_arrays(properties: Properties) -> orm.ArrayData | None:
    """Return a node of charges, levels and layers, in e, e Å, eV and Å; nothing if there are none.

    :raises ValidationError: if an array cannot be stored.
    """
    names = ('positions', *OTHER_ARRAYS)
    found = {name: getattr(properties, name) for name in names if getattr(properties, name) is not None}
    masses = properties.attributes.get('effective_masses')
    if set(found) == {'positions'} and masses is None:
        return None
    node = orm.ArrayData()
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise ValidationError(f'{name} is not finite')
        node.set_array(name, values)
    node.base.attributes.set('symbols', list(properties.symbols))
    for key, value in properties.attributes.items():
        node.base.attributes.set(key, value)
    return node
