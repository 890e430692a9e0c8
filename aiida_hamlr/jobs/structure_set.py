"""The structures of a prediction: their names, what decides whether a stored result is theirs, and batches of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_hamlr import __version__
from aiida_hamlr.electronic.files import file_sha256
from aiida_hamlr.electronic.magnetism import MOMENTS, moments_of_species, set_starting_moments, starting_moments
from aiida_hamlr.electronic.species import species_labels
from aiida_hamlr.jobs.inputs import read_frames
from aiida_hamlr.jobs.outputs import folder_names
from aiida_hamlr.jobs.schemas import PredictConfig

#: Keys of the configuration that do not change a result.
IRRELEVANT = {
    'model',
    'committee',
    'structures',
    'labels',
    'output',
    'device',
    'batch_atoms',
    'memory_limit',
    'magnetic_moments',
    'path',
}


@dataclass(frozen=True)
class Job:
    """One structure to predict.

    Parameters
    ----------
    name : str
        That of its folder.
    source : str
        The file that it comes from.
    atoms : ase.Atoms or None
        The structure; None if the file could not be read.
    error : ValueError, optional
        Why not.
    """

    name: str
    source: str
    atoms: Atoms | None
    error: ValueError | None = None


def collect_structures(
    paths: Sequence[Path], labels: Sequence[str] | None = None, moments: Mapping[str, float] | None = None
) -> list[Job]:
    """All structures of all files, with names of their folders: stems if these are unique, else running numbers.

    A file that cannot be read counts as one structure, which has failed.

    Parameters
    ----------
    paths : sequence of path
        Files with one or more structures each.
    labels : sequence of str, optional
        Other names, one for each structure.
    moments : mapping of str to float, optional
        Starting moments by species, Bohr magnetons, for structures that have none.

    Raises
    ------
    ValueError
        If there is another number of labels than of structures, or they are no different names of folders.
    """
    jobs, stems = [], []
    for path in paths:
        try:
            frames = read_frames(path)
        except ValueError as error:
            stems.append(path.stem)
            jobs.append((str(path), None, error))
            continue
        width = len(str(len(frames) - 1))
        for index, atoms in enumerate(frames):
            if moments and MOMENTS not in atoms.arrays:
                set_starting_moments(atoms, moments_of_species(species_labels(atoms), moments))
            stems.append(path.stem if len(frames) == 1 else f'{path.stem}_{index:0{width}d}')
            source = str(path) if len(frames) == 1 else f'{path}, structure {index}'
            jobs.append((source, atoms, None))
    names = folder_names(stems if labels is None else labels)
    if labels is not None and len(labels) != len(jobs):
        unread = next((f' ({error})' for *_, error in jobs if error is not None), '')
        raise ValueError(f'labels: {len(labels)} are given for {len(jobs)} structures{unread}')
    if labels is not None and names != list(labels):
        raise ValueError('labels: must be different names of folders, also where upper and lower case are the same')
    return [Job(name, *job) for name, job in zip(names, jobs, strict=True)]


class InputsDigest:
    """sha256 of all that a result depends on: program, model, settings and the structure to the last bit.

    Parameters
    ----------
    config : PredictConfig
        Settings.
    model_hash : str
        That of the content of the model.
    """

    def __init__(self, config: PredictConfig, model_hash: str):
        settings = config.model_dump(mode='json', exclude=IRRELEVANT)
        settings['outputs'] = sorted(settings['outputs'])
        settings['path'] = 'auto' if str(config.path) == 'auto' else file_sha256(config.path)
        settings['spin_orbit_pseudos'] = {
            label: file_sha256(path) for label, path in sorted(config.spin_orbit_pseudos.items())
        }
        common = {'version': __version__, 'model': model_hash, 'settings': settings}
        self._common = hashlib.sha256(json.dumps(common, sort_keys=True).encode())

    def __call__(self, atoms: Atoms) -> str:
        """The digest of one structure."""
        digest = self._common.copy()
        digest.update(json.dumps([species_labels(atoms), atoms.pbc.tolist()]).encode())
        digest.update(np.ascontiguousarray(atoms.cell[:], dtype=float).tobytes())
        digest.update(np.ascontiguousarray(atoms.positions, dtype=float).tobytes())
        moments = starting_moments(atoms)
        if moments is not None:
            digest.update(moments.tobytes())
        return digest.hexdigest()


def batches_by_size(jobs: Iterable[Job], n_atoms: int) -> Iterator[list[Job]]:
    """Batches of structures of similar size with at most ``n_atoms`` atoms together, or of one larger structure."""
    batch, filled = [], 0
    for job in sorted(jobs, key=lambda job: len(job.atoms)):
        if batch and filled + len(job.atoms) > n_atoms:
            yield batch
            batch, filled = [], 0
        batch.append(job)
        filled += len(job.atoms)
    if batch:
        yield batch
