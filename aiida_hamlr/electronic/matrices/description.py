"""A small JSON file that describes a Hamiltonian file, so that the large one can stay where it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr import __version__
from aiida_hamlr.electronic.files import atomic_path, content_digest, file_sha256
from aiida_hamlr.electronic.matrices.hamiltonian import Hamiltonian
from aiida_hamlr.electronic.reading import parse_json
from aiida_hamlr.electronic.species import SPECIES_LABELS, set_species_labels

FORMAT = 'hamlr-description'

#: From version 2 on, with a sha256 of the description itself, and with species labels.
VERSION = 2

#: What a description says of the verification of a reconstructed Hamiltonian.
VERIFICATION = (
    'band_mae_occupied_meV',
    'band_mae_conduction_meV',
    'band_mae_window_meV',
    'variational_violation_meV',
    'variational_violation_truncated_meV',
    'cutoff_error_meV',
    'overlap_condition_number',
    'plane_wave_error_meV',
)

_KEYS = ('size', 'sha256', 'attributes', 'structure')


def description_path(path: str | Path) -> Path:
    """Where the description of a Hamiltonian file goes: ``hamiltonian.h5.json`` beside ``hamiltonian.h5``."""
    path = Path(path)
    return path.with_name(f'{path.name}.json')


def describe(hamiltonian: Hamiltonian) -> dict:
    """Numbers and names to search for a Hamiltonian by; energies in eV.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Its matrices are not needed.

    Returns
    -------
    dict
        Plain JSON values.
    """
    attributes = hamiltonian.attributes
    verification = attributes.verification or {}
    return {
        'formula': hamiltonian.atoms.get_chemical_formula(mode='hill'),
        'elements': sorted(set(hamiltonian.symbols)),
        'species': sorted(set(hamiltonian.species)),
        'n_atoms': len(hamiltonian.atoms),
        'n_orbitals': hamiltonian.n_orbitals,
        'n_pairs': len(hamiltonian.pattern),
        'n_spin': int(attributes.n_spin or 1),
        'magnetization': attributes.magnetization,
        'magnetic_moments': attributes.magnetic_moments,
        'n_electrons': attributes.n_electrons,
        'gap': attributes.gap,
        'direct_gap': attributes.direct_gap,
        'spin_gaps': attributes.spin_gaps,
        'vbm_kpoint': attributes.vbm_kpoint,
        'cbm_kpoint': attributes.cbm_kpoint,
        'kpoints': attributes.kpoints,
        'fermi_level': attributes.fermi_level,
        'vacuum_level': attributes.vacuum_level,
        'vacuum_levels': attributes.vacuum_levels,
        **{key: verification.get(key) for key in VERIFICATION},
        'warnings': list(attributes.warnings or []),
        'gauge': attributes.gauge or '',
        'origin': attributes.origin or '',
        'source_format': attributes.source_format,
        'functional': attributes.functional or '',
        'matrices': sorted(hamiltonian.matrices),
        'labels': sorted(hamiltonian.labels),
        'basis_hash': hamiltonian.basis.content_hash,
        'basis_hashes': {label: species.content_hash for label, species in sorted(hamiltonian.basis.items())},
    }


def write_described(hamiltonian: Hamiltonian, path: str | Path) -> dict:
    """Write a Hamiltonian file and its description beside it.

    Returns
    -------
    dict
        ``size_bytes`` and ``sha256`` of the Hamiltonian file, for the summary of the job.
    """
    path = Path(path)
    hamiltonian.write(path)
    labels = {SPECIES_LABELS: hamiltonian.species} if hamiltonian.species != hamiltonian.symbols else {}
    content = {
        'format': FORMAT,
        'version': VERSION,
        'created_by': f'aiida-hamlr {__version__}',
        'size': path.stat().st_size,
        'sha256': file_sha256(path),
        'attributes': describe(hamiltonian),
        'structure': {
            'cell': hamiltonian.atoms.cell.tolist(),
            'positions': hamiltonian.atoms.positions.tolist(),
            'atomic_numbers': hamiltonian.atoms.numbers.tolist(),
            'pbc': hamiltonian.atoms.pbc.tolist(),
            **labels,
        },
    }
    content['digest'] = _digest(content)
    with atomic_path(description_path(path)) as temporary:
        temporary.write_text(json.dumps(content) + '\n', encoding='utf-8')
    return {'size_bytes': content['size'], 'sha256': content['sha256']}


def read_description(text: str, name: str) -> dict:
    """Read what `write_described` wrote: ``size``, ``sha256``, ``attributes`` and ``structure``.

    Raises
    ------
    ValueError
        If it is damaged, foreign or newer than this program; ``name`` is that of the file.
    """
    content = parse_json(text, name)
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise ValueError(f'{name}: not the description of a Hamiltonian file')
    if type(content.get('version')) is not int or not 1 <= content['version'] <= VERSION:
        raise ValueError(
            f'{name}: version {content.get("version")!r} is not known, the newest that this program reads is '
            f'{VERSION}; update aiida-hamlr'
        )
    missing = [key for key in _KEYS if key not in content]
    if missing:
        raise ValueError(f'{name}: incomplete: {", ".join(missing)} is missing')
    sha256 = content['sha256']
    if not isinstance(sha256, str) or len(sha256) != 64 or sha256.strip('0123456789abcdef'):
        raise ValueError(f'{name}: {sha256!r} is no sha256')
    if type(content['size']) is not int or content['size'] < 1 or not isinstance(content['attributes'], dict):
        raise ValueError(f'{name}: size or attributes are not those of a Hamiltonian file')
    structure_of(content, name)
    if content['version'] > 1 and content.get('digest') != _digest(content):
        raise ValueError(f'{name}: does not have its recorded digest; the file is damaged')
    return content


def _digest(content: dict) -> str:
    """sha256 of a description, its own left out; the same before writing and after reading."""
    rest = {key: value for key, value in content.items() if key != 'digest'}
    return content_digest({'description': json.dumps(json.loads(json.dumps(rest)), sort_keys=True)})


def structure_of(content: dict, name: str) -> Atoms:
    """The structure of a description, lengths in Å.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    structure = content['structure']
    try:
        cell, positions = (np.array(structure[key], dtype=float) for key in ('cell', 'positions'))
        atoms = Atoms(structure['atomic_numbers'], positions=positions, cell=cell, pbc=structure['pbc'])
        set_species_labels(atoms, structure.get(SPECIES_LABELS, atoms.get_chemical_symbols()))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{name}: damaged structure: {error}') from error
    if not (np.isfinite(cell).all() and np.isfinite(positions).all()):
        raise ValueError(f'{name}: cell or positions are not finite')
    return atoms
