"""Generated orbitals, kept by what they were generated from, so that a second structure does not generate them anew."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ase import Atoms

from aiida_hamlr import __version__
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.jobs.progress import log

#: Length of the name of an entry: half of a sha256 in hexadecimal digits.
_NAME_LENGTH = 32


def cache_folder() -> Path:
    """Where generated orbitals are kept: ``$XDG_CACHE_HOME/aiida-hamlr/orbitals``, by default below ``~/.cache``.

    The folder can be deleted at any time.
    """
    base = os.environ.get('XDG_CACHE_HOME', '')
    return (Path(base) if Path(base).is_absolute() else Path.home() / '.cache') / 'aiida-hamlr' / 'orbitals'


def cached_orbitals(
    pseudos: Mapping[str, Pseudopotential], recipes: Mapping, structures: Sequence[Atoms], generate: Callable[[], Basis]
) -> Basis:
    """Orbitals from the cache, or generated and then kept there.

    A damaged entry is generated anew; a cache that cannot be written is not used, which is logged.

    Parameters
    ----------
    pseudos : mapping of str to Pseudopotential
        By species label.
    recipes : mapping
        Plain values that say how the orbitals of each species are generated.
    structures : sequence of ase.Atoms
        Crystals on which they are optimised; Å.
    generate : callable
        Makes the orbitals of all species.

    Returns
    -------
    Basis
        The same orbitals, bit by bit, as ``generate`` gave.
    """
    folder = _entry(pseudos, recipes, structures)
    if folder is None:
        return generate()
    paths = {label: folder / f'{label}.basis.h5' for label in pseudos}
    if all(path.is_file() for path in paths.values()):
        try:
            basis = Basis({label: SpeciesBasis.read(path) for label, path in paths.items()})
        except (ValueError, OSError) as error:
            log(f'the orbitals in the cache are damaged and are generated anew: {error}')
        else:
            log(f'orbitals of {", ".join(pseudos)} from the cache, {folder}')
            return basis
    basis = generate()
    try:
        for label, path in paths.items():
            basis[label].write(path)
    except OSError as error:
        log(f'the orbitals could not be kept for later runs: {error}')
    else:
        log(f'orbitals kept for later runs in {folder}')
    return basis


def _entry(pseudos: Mapping[str, Pseudopotential], recipes: Mapping, structures: Sequence[Atoms]) -> Path | None:
    """Folder of the orbitals of these inputs, of this version of the program; None without a home folder."""
    content = {
        'version': __version__,
        'pseudos': {label: pseudo.content_hash for label, pseudo in pseudos.items()},
        'recipes': dict(recipes),
        'structures': [
            [species_labels(atoms), atoms.cell.tolist(), atoms.positions.tolist(), atoms.pbc.tolist()]
            for atoms in structures
        ],
    }
    name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_NAME_LENGTH]
    try:
        return cache_folder() / name
    except RuntimeError:
        return None
