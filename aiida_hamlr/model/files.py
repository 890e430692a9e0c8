"""Writing and loading models: weights as safetensors, all else as JSON, basis and pseudopotentials; no code is run."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from aiida_hamlr import __version__
from aiida_hamlr.electronic.files import atomic_path, synchronise, umask
from aiida_hamlr.electronic.orbitals.basis import Basis, SpeciesBasis
from aiida_hamlr.electronic.pseudo.pseudopotential import Pseudopotential
from aiida_hamlr.electronic.reading import read_text
from aiida_hamlr.model.folder import (
    DESCRIPTION,
    FORMAT,
    LARGEST_TEXT,
    VERSION,
    WEIGHTS,
    Architecture,
    architecture_of,
    basis_name,
    check_folder,
    pseudo_name,
    pseudo_names,
    read_shapes,
    seal,
)
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel

#: Names of torch's types in safetensors files.
_TYPES = {
    torch.float64: 'F64',
    torch.float32: 'F32',
    torch.float16: 'F16',
    torch.bfloat16: 'BF16',
    torch.int64: 'I64',
    torch.int32: 'I32',
    torch.bool: 'BOOL',
}


def describe(model: HamiltonianModel) -> dict:
    """All that rebuilds the network without its weights: plain JSON values, those of `Architecture`."""
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
    return {**description, 'config': Architecture.model_validate(description).config.flat()}


def rebuild(architecture: Architecture) -> HamiltonianModel:
    """Inverse of :func:`describe`, with random weights."""
    model = HamiltonianModel(
        architecture.shells, architecture.config, architecture.pair_cutoff, architecture.n_neighbours
    )
    return model.double() if architecture.precision == 'float64' else model


def write_model(
    folder: str | Path, model: HamiltonianModel, state: dict, basis: Basis, pseudopotentials, metadata: dict
):
    """Write a model folder, under a temporary name first; one that is there is replaced as a whole.

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
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    try:
        for element, species in basis.items():
            species.write(temporary / basis_name(element))
        for element, text in pseudopotentials.items():
            with atomic_path(temporary / pseudo_name(element)) as path:
                path.write_text(text, encoding='utf-8', newline='')
        tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        with atomic_path(temporary / WEIGHTS) as path:
            path.write_bytes(save(tensors))
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
        names = [WEIGHTS, *map(basis_name, basis), *map(pseudo_name, pseudopotentials)]
        with atomic_path(temporary / DESCRIPTION) as path:
            path.write_text(json.dumps(seal(description, temporary, names), indent=1) + '\n', encoding='utf-8')
        _replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
    description = check_folder(folder)
    architecture = architecture_of(description, str(folder / DESCRIPTION))
    basis = Basis({element: SpeciesBasis.read(folder / basis_name(element)) for element in description['species']})
    for element, expected in description['basis_hash'].items():
        if basis[element].content_hash != expected:
            raise ValueError(f'{folder}: basis of {element} is not the one that the model was trained with')
        if list(basis[element].angular_momenta) != architecture.shells[element]:
            raise ValueError(f'{folder}: basis of {element} does not have the shells that {DESCRIPTION} names')
    texts = {}
    for element, name in pseudo_names(description, folder).items():
        texts[element] = read_text(folder / name, LARGEST_TEXT)
        if description['version'] == 1 and Pseudopotential.from_text(texts[element], name).element != element:
            raise ValueError(f'{folder / name}: a pseudopotential of another element')
    model = _load_weights(folder / WEIGHTS, architecture)
    return model.eval(), description, basis, texts


def _load_weights(path: Path, architecture: Architecture) -> HamiltonianModel:
    """The network with its weights; nothing is allocated before types and shapes are known to fit."""
    try:
        with torch.device('meta'):
            expected = rebuild(architecture).state_dict()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f'{path.with_name(DESCRIPTION)}: no such network: {" ".join(str(error).split())}') from error
    found = read_shapes(path)
    for name in sorted(set(expected) | set(found)):
        wanted = (_TYPES.get(expected[name].dtype), tuple(expected[name].shape)) if name in expected else None
        if wanted != found.get(name):
            raise ValueError(
                f'{path}: weights do not fit {DESCRIPTION}: {name} is {_in_words(found.get(name))} instead of '
                f'{_in_words(wanted)}'
            )
    model = rebuild(architecture)
    try:
        model.load_state_dict(load(path.read_bytes()))
    except SafetensorError as error:
        raise ValueError(f'{path}: not a safetensors file, or truncated') from error
    for tensor in model.state_dict().values():
        if not torch.isfinite(tensor).all():
            raise ValueError(f'{path}: weights are not finite')
    return model


def _in_words(entry: tuple[str, tuple[int, ...]] | None) -> str:
    return 'absent' if entry is None else f'{entry[0]} {"x".join(map(str, entry[1])) or "scalar"}'


def _replace_folder(new: Path, folder: Path):
    """Give a complete folder its name; what else is in a folder that had the name stays in it."""
    new.chmod(0o777 & ~umask())
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
        folder.rename(old)
        new.rename(folder)
        for path in sorted(old.rglob('*')):
            other = folder / path.relative_to(old)
            if not path.is_dir() and not other.exists() and not path.name.endswith(('.basis.h5', '.upf')):
                other.parent.mkdir(parents=True, exist_ok=True)
                path.rename(other)
        shutil.rmtree(old)
    else:
        new.rename(folder)
    synchronise(folder.parent)
