"""`aiida-hamlr hamiltonian`: list, show, compare and draw Hamiltonians."""

from __future__ import annotations

import click

from aiida_hamlr.cli import types
from aiida_hamlr.cli.exchange import cmd_export, cmd_import
from aiida_hamlr.cli.lazy import echo, with_dbenv
from aiida_hamlr.cli.nodes import FIGURE, LIMIT, compare_columns, list_nodes, one_line, show_node
from aiida_hamlr.cli.root import cmd_root

__all__ = ('cmd_hamiltonian', 'draw_bands', 'draw_dos')

_NODE = types.NodeType('hamlr.hamiltonian')

#: Kinds of figures.
_KINDS = ('bands', 'fat-bands', 'dos', 'layers')

_COMPARED = (
    'formula',
    'origin',
    'n_atoms',
    'n_orbitals',
    'n_pairs',
    'gap',
    'spin_gaps',
    'fermi_level',
    'magnetization',
    'magnetic_moments',
    'functional',
    'gauge',
    'band_mae_occupied_meV',
    'basis_hash',
)


@cmd_root.group('hamiltonian')
def cmd_hamiltonian():
    """List, show, compare and draw Hamiltonians."""


cmd_hamiltonian.add_command(cmd_export)
cmd_hamiltonian.add_command(cmd_import)


@cmd_hamiltonian.command('list')
@LIMIT
@with_dbenv()
def cmd_list(limit):
    """List the newest Hamiltonians. Example: aiida-hamlr hamiltonian list -l 10."""
    list_nodes('hamiltonian', limit)


@cmd_hamiltonian.command('show')
@click.argument('node', metavar='HAMILTONIAN', type=types.ANY)
@with_dbenv()
@one_line
def cmd_show(node):
    """Show the attributes of HAMILTONIAN and its creator. Example: aiida-hamlr hamiltonian show 1234."""
    show_node(node)


@cmd_hamiltonian.command('compare')
@click.argument('hamiltonian', type=_NODE)
@click.argument('reference', type=_NODE)
@with_dbenv()
@one_line
def cmd_compare(hamiltonian, reference):
    """Compare HAMILTONIAN, for example predicted, with REFERENCE of the same structure.

    Both are shown side by side, then the errors of the first in meV: mean absolute ones of elements, after one fitted
    shift of the zero of energy, and of bands; of magnets those of the moments of the atoms, too. Nothing is stored;
    `hamlr.pipeline` stores comparisons.

    Example: aiida-hamlr hamiltonian compare 1234 1200
    """
    from aiida_hamlr.calculations.functions.compare import find_errors

    columns = {f'{node.base.attributes.get("formula")}<{node.pk}>': node for node in (hamiltonian, reference)}
    compare_columns({name: node.base.attributes.all for name, node in columns.items()}, _COMPARED)
    errors = find_errors(hamiltonian, reference)
    echo.echo('')
    remarks = error_remarks()
    compare_columns({'error': errors}, [name for name in remarks if name in errors], remarks)


def error_remarks() -> dict[str, str]:
    """Names of errors in the order in which to read them, those to quote first, with a remark."""
    from aiida_hamlr.jobs.evaluate import QUOTED

    return {name: f'quote: {words}' for name, words in QUOTED.items()} | {
        'gap_error_meV': 'direct gaps',
        'moment_mae_muB': 'moments of the atoms, Bohr magnetons',
        'moment_largest_error_muB': 'largest of them',
        'magnetic_moments_muB': 'predicted moments of the atoms',
        'mae_onsite_diagonal_meV': 'levels of the orbitals',
        'mae_meV': 'small for every model: do not quote it alone',
    }


@cmd_hamiltonian.command('plot')
@click.argument('hamiltonian', type=_NODE)
@click.option('-k', '--kind', type=click.Choice(_KINDS), default='bands', show_default=True, help='What to draw.')
@click.option('-r', '--reference', type=_NODE, help='Hamiltonian of DFT to draw the first over, for bands and dos.')
@click.option('--mesh', type=(int, int, int), help='k-points of the density of states and of the Fermi level.')
@FIGURE
@with_dbenv()
@one_line
def cmd_plot(hamiltonian, kind, reference, mesh, output, window, zero, title):
    """Draw bands, fat bands, density of states or band edges by layer of HAMILTONIAN.

    Example: aiida-hamlr hamiltonian plot 1234 --reference 1200 --window -5 5 -o bands.pdf
    """
    from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
    from aiida_hamlr.plotting.properties import plot_fat_bands, plot_layers

    output = output or f'{kind}-{hamiltonian.pk}.png'
    if reference is not None and not _same_structure(hamiltonian, reference):
        echo.echo_warning('the two Hamiltonians are of different structures')
    nodes = {'prediction' if reference else '': hamiltonian} | ({'DFT': reference} if reference else {})
    if kind == 'bands':
        echo.echo_success(f'wrote {draw_bands(nodes, output, window, zero, title, mesh)}')
        return
    if kind == 'dos':
        echo.echo_success(f'wrote {draw_dos(nodes, output, window, zero, mesh)}')
        return
    wanted = {'fat-bands': ('gap', 'bands', 'projections'), 'layers': ('gap', 'layers')}[kind]
    found = compute_properties(hamiltonian.open(), wanted, PropertyOptions(kpoints=mesh, projection='species'))
    if kind == 'fat-bands':
        vacuum = hamiltonian.base.attributes.get('vacuum_level', None)
        written = plot_fat_bands(found.bands, output, window=window, zero=zero, vacuum_level=vacuum)
    else:
        written = plot_layers(found.properties, output)
    echo.echo_success(f'wrote {written}')


def _same_structure(first, second) -> bool:
    """Whether two Hamiltonians are of the same atoms, within 0.001 Å."""
    import numpy as np

    one, other = (node.get_structure().get_ase() for node in (first, second))
    if one.get_chemical_symbols() != other.get_chemical_symbols() or not np.allclose(one.cell, other.cell, atol=1e-3):
        return False
    return np.allclose(one.positions, other.positions, atol=1e-3)


def draw_bands(nodes, output, window=None, zero='edge', title=None, mesh=None):
    """Draw bands of Hamiltonian nodes along the path of the first, DFT below and the prediction over it."""
    from aiida_hamlr.electronic.bands.band_structure import band_structure
    from aiida_hamlr.electronic.bands.kpoints import find_band_path
    from aiida_hamlr.electronic.matrices.hamiltonian import OF_STATES
    from aiida_hamlr.plotting.bands import plot_bands

    ordered = dict(reversed(nodes.items()))
    sets, path = {}, None
    for name, node in ordered.items():
        hamiltonian = node.open(OF_STATES)
        path = path or find_band_path(hamiltonian.atoms, 'auto')
        sets[name] = band_structure(hamiltonian, path, mesh)
    vacuum = [node.base.attributes.get('vacuum_level', None) for node in ordered.values()]
    names = list(sets) if len(sets) > 1 else None
    return plot_bands(list(sets.values()), output, names, window, title, zero, vacuum)


def draw_dos(nodes, output, window=None, zero='edge', mesh=None):
    """Draw the density of states of a Hamiltonian node by shells, and that of a second one as a dashed line."""
    from aiida_hamlr.electronic.bands.calculation import PropertyOptions, compute_properties
    from aiida_hamlr.electronic.matrices.hamiltonian import OF_STATES
    from aiida_hamlr.plotting.properties import plot_dos
    from aiida_hamlr.plotting.zero import Levels

    found = []
    for name, node in nodes.items():
        options = PropertyOptions(kpoints=mesh, projection='shell')
        results = compute_properties(node.open(OF_STATES), ('gap', 'dos', 'projections'), options)
        levels = Levels.of_properties(results.properties, node.base.attributes.get('vacuum_level', None))
        found.append((name, results.properties, levels))
    (_, properties, levels), *others = found
    reference = others[0] if others else None
    return plot_dos(properties, output, 'shell', window, zero, levels, reference)
