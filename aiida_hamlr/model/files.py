"""The model folder: weights as safetensors, all else as JSON, basis and pseudopotentials; loading runs no code."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from aiida_hamlr import __version__
from aiida_hamlr.electronic.files import atomic_path
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.model.config import ModelConfig
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel

FORMAT = 'hamlr-model'
VERSION = 1

#: Largest files that are read: beyond this something is wrong, bytes.
LARGEST_DESCRIPTION = 50_000_000
LARGEST_WEIGHTS = 4_000_000_000


def describe(model: HamiltonianModel) -> dict:
    """All that rebuilds the network without its weights: plain JSON values."""
    return {
        'config': model.config.flat(),
        'shells': {element: list(momenta) for element, momenta in model.slots.shells.items()},
        'pair_cutoff': model.pair_cutoff,
        'n_neighbours': model.n_neighbours,
        'precision': str(model.dtype).removeprefix('torch.'),
        'irreps': model.network.widths.irreps,
    }


def canonical_description(description: dict) -> dict:
    """Return what :func:`describe` gave in any earlier version as it would be now; settings keep their effect."""
    # Models without this entry are older than it.
    config = ModelConfig.from_flat({'neutrality': 'cell', **description['config']})
    return {**description, 'config': config.flat()}


def rebuild(description: dict) -> HamiltonianModel:
    """Inverse of :func:`describe`, with random weights."""
    model = HamiltonianModel(
        description['shells'],
        ModelConfig.from_flat(canonical_description(description)['config']),
        description['pair_cutoff'],
        description['n_neighbours'],
    )
    return model.double() if description['precision'] == 'float64' else model


def write_model(
    folder: str | Path, model: HamiltonianModel, state: dict, basis: Basis, pseudopotentials, metadata: dict
):
    """Write a model folder.

    Parameters
    ----------
    folder : path
        The model folder; one that exists is replaced.
    model : HamiltonianModel
        Its configuration and tables are written.
    state : dict of str to tensor
        The weights to keep, as of ``model.state_dict()``.
    basis : Basis
        Orbitals of each element.
    pseudopotentials : mapping of str to str
        UPF text of every element.
    metadata : dict
        Functional, gauge, ecutrho, data, split, metrics: plain JSON values.
    """
    folder = Path(folder)
    for element, species in basis.items():
        species.write(folder / 'basis' / f'{element}.basis.h5')
    for element, text in pseudopotentials.items():
        with atomic_path(folder / 'pseudos' / f'{element}.upf') as temporary:
            temporary.write_text(text, encoding='utf-8')
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with atomic_path(folder / 'model.safetensors') as temporary:
        temporary.write_bytes(save(tensors))
    description = {
        'format': FORMAT,
        'version': VERSION,
        'created_by': f'aiida-hamlr {__version__}',
        'architecture': describe(model),
        'species': list(model.slots.species),
        'basis_hash': {element: species.content_hash for element, species in basis.items()},
        'n_parameters': sum(parameter.numel() for parameter in model.parameters()),
        **metadata,
    }
    with atomic_path(folder / 'model.json') as temporary:
        temporary.write_text(json.dumps(description, indent=1) + '\n', encoding='utf-8')


def read_description(folder: str | Path) -> dict:
    """Read ``model.json``.

    Raises
    ------
    ValueError
        If it is missing, foreign, damaged or of a newer version.
    """
    path = Path(folder) / 'model.json'
    try:
        if path.stat().st_size > LARGEST_DESCRIPTION:
            raise ValueError(f'{path}: too large for a model description')
        description = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ValueError(f'{path}: cannot be read; give the folder that `hamlr train` wrote as model/') from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f'{path}: not a model description, or truncated') from error
    if not isinstance(description, dict) or description.get('format') != FORMAT:
        raise ValueError(f'{path}: not a {FORMAT} file')
    if not isinstance(description.get('version'), int) or description['version'] > VERSION:
        raise ValueError(
            f'{path}: {FORMAT} version {description.get("version")} is newer than version {VERSION}, the newest that '
            'this program reads; update aiida-hamlr'
        )
    return description


def read_model(folder: str | Path) -> tuple[HamiltonianModel, dict, Basis, dict[str, str]]:
    """Read a model folder.

    Returns
    -------
    model : HamiltonianModel
        On the CPU.
    description : dict
    basis : Basis
    pseudopotentials : dict of str to str
        UPF texts.

    Raises
    ------
    ValueError
        If a file is missing or damaged, or they do not belong together; the message names it.
    """
    folder = Path(folder)
    description = read_description(folder)
    try:
        model = rebuild(description['architecture'])
        species, hashes = description['species'], description['basis_hash']
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{folder / "model.json"}: incomplete or impossible: {error}') from error
    path = folder / 'model.safetensors'
    try:
        if path.stat().st_size > LARGEST_WEIGHTS:
            raise ValueError(f'{path}: too large for weights')
        model.load_state_dict(load(path.read_bytes()))
    except OSError as error:
        raise ValueError(f'{path}: cannot be read') from error
    except SafetensorError as error:
        raise ValueError(f'{path}: not a safetensors file, or truncated') from error
    except RuntimeError as error:
        raise ValueError(f'{path}: weights do not fit model.json: {str(error).splitlines()[0]}') from error
    basis = Basis({element: SpeciesBasis.read(folder / 'basis' / f'{element}.basis.h5') for element in species})
    for element, expected in hashes.items():
        if basis[element].content_hash != expected:
            raise ValueError(f'{folder}: basis of {element} is not the one that the model was trained with')
    texts = {}
    for element in species:
        upf = folder / 'pseudos' / f'{element}.upf'
        if upf.exists():
            texts[element] = upf.read_text(encoding='utf-8')
    for tensor in model.state_dict().values():
        if not torch.isfinite(tensor).all():
            raise ValueError(f'{path}: weights are not finite')
    return model.eval(), description, basis, texts
