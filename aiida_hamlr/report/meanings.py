"""What the numbers of a report mean, and which of them to quote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite

__all__ = ('MEANINGS', 'describe', 'format_value', 'pick_rows')

#: Names that differ from the key without its unit.
_NAMES = {
    'mae': 'error of all elements',
    'mae_onsite': 'on-site error',
    'mae_onsite_diagonal': 'on-site error, diagonal',
    'mae_overlapping': 'error of overlapping orbitals',
    'band_mae_occupied': 'error of occupied bands',
    'band_mae_conduction': 'error of lowest conduction bands',
    'band_mae_window': 'error of empty states up to 2 eV',
    'gap_error': 'error of the direct gap',
    'wall': 'wall-clock time',
    'cpu': 'CPU time',
    'vbm': 'valence band maximum',
    'cbm': 'conduction band minimum',
    'vbm_kpoint': 'k-point of the valence band maximum',
    'cbm_kpoint': 'k-point of the conduction band minimum',
    'kpoints': 'mesh of k-points',
    'spin_gaps': 'gaps of spin up and spin down',
    'n_atoms': 'atoms',
    'n_orbitals': 'orbitals',
    'n_pairs': 'blocks',
    'n_electrons': 'electrons',
    'n_spin': 'spin channels',
    'n_parameters': 'parameters',
    'size': 'size of the file',
    'n_train': 'training structures',
    'n_validation': 'validation structures',
    'n_test': 'test structures',
}

#: Units at the end of keys, as they are written.
_UNITS = {'meV': 'meV', 'eV': 'eV', 's': 's', 'MB': 'MB', 'e': 'e', 'angstrom': 'Å', 'muB': 'µB'}

#: Meanings by the key without its unit; keys of nodes are described by their fields.
MEANINGS = {
    'mae': 'Mean over all stored elements, most of which belong to distant pairs and are nearly zero. Small for every '
    'model: do not quote it alone.',
    'mae_onsite': 'Quote this. Elements of an atom with itself place its levels relative to those of others; their '
    'error shows in gaps and band offsets.',
    'mae_onsite_diagonal': 'The levels of the orbitals themselves.',
    'mae_overlapping': 'Quote this. Elements of orbitals that overlap, without the many that are nearly zero.',
    'band_mae_occupied': 'Quote this. Mean distance of the occupied bands from the reference in the same basis.',
    'band_mae_conduction': 'Mean distance of the four lowest conduction bands from those of the reference.',
    'gap_error': 'Mean distance of the direct gaps at the compared k-points.',
    'gap': 'Smallest difference between empty and occupied states, on the k-points of the calculation.',
    'direct_gap': 'Smallest difference at one k-point.',
    'spin_gaps': 'Gap of each spin on its own: only one of them is 0 in a half-metal.',
    'fermi_level': 'In the gauge of the file, where neutral atoms have their zero. Of an insulator: mid-gap.',
    'vbm': 'Highest occupied level.',
    'cbm': 'Lowest empty level.',
    'uncertainty': 'Expected on-site error, from the rigidity of the last layer; too small far from the training data.',
    'wall': 'Time that the job took.',
    'cpu': 'Time of all processors.',
    'peak_memory': 'Largest memory of the job.',
    'best_epoch': 'Epoch with the lowest validation error, whose weights are in the model.',
    'steps': 'Updates of the weights.',
    'training': 'Time of the training alone.',
    'epochs': 'Epochs that the training has run.',
    'n_parameters': 'Numbers that the training has fitted.',
    'n_structures': 'How many structures the numbers are of.',
}


def split_key(key: str) -> tuple[str, str]:
    """The key without its unit, and the unit."""
    stem, _, last = key.rpartition('_')
    return (stem, _UNITS[last]) if stem and last in _UNITS else (key, '')


def describe(key: str, value, meaning: str | None = None) -> tuple[str, str, str]:
    """Name, value with unit, and meaning of a number by its key.

    Parameters
    ----------
    key : str
        With the unit last, as ``test_mae_onsite_meV``; the part that it is of, as ``test``, comes first.
    value : object
        Number, text or list.
    meaning : str, optional
        Takes the place of that known for the key.
    """
    stem, unit = split_key(key)
    part, base = '', stem
    for prefix in ('train', 'validation', 'test'):
        if stem.startswith(f'{prefix}_') and stem not in _NAMES:
            part, base = prefix, stem.removeprefix(f'{prefix}_')
    name = _NAMES.get(base, base.replace('_', ' '))
    name = f'{part}: {name}' if part else name
    text = format_bytes(value) if key == 'size' else format_value(value)
    return name[:1].upper() + name[1:], f'{text} {unit}'.strip(), meaning if meaning else MEANINGS.get(base, '')


def format_bytes(size: float) -> str:
    """A size with its unit."""
    for unit in ('bytes', 'kB', 'MB'):
        if size < 1000:
            return f'{size:.3g} {unit}'
        size /= 1000
    return f'{size:.3g} GB'


def format_value(value, decimals: int | None = None) -> str:
    """A value as a reader wants it: elements of a list with commas; numbers with four digits, or as many decimals."""
    if value is None:
        return ''
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, float):
        form = '.4g' if decimals is None else f'.{decimals}f'
        return f'{value:{form}}' if isfinite(value) else 'not known'
    if isinstance(value, Mapping):
        return ', '.join(f'{key} {format_value(entry, decimals)}' for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ', '.join(format_value(entry, decimals) for entry in value)
    return str(value)


def pick_rows(values: Mapping, keys: Iterable[str], meanings: Mapping[str, str] | None = None) -> list:
    """Rows of those keys that have a value, in the order of the keys."""
    meanings = meanings or {}
    return [describe(key, values[key], meanings.get(key)) for key in keys if values.get(key) not in (None, '', [], {})]
