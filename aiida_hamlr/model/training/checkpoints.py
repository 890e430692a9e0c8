"""Which checkpoint a training resumes from: the last one that is whole."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path

import torch

from aiida_hamlr.electronic.reading import check_regular, shortened
from aiida_hamlr.errors import DAMAGED_CHECKPOINT
from aiida_hamlr.model.folder import DESCRIPTION, WEIGHTS

#: Files in checkpoints/: of the last epoch, and of the one with the best validation.
LAST, BEST = 'last.ckpt', 'best.ckpt'

#: Other files of a training, relative to its folder.
METRICS, SUMMARY = 'metrics.csv', 'summary.json'

#: What a damaged checkpoint makes torch raise.
_DAMAGE = (RuntimeError, ValueError, KeyError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile)


def find_checkpoint(resume: str | None, output: Path) -> Path | None:
    """The checkpoint to resume from; None to begin anew.

    Parameters
    ----------
    resume : str, optional
        The file that the user names; no other is tried.
    output : Path
        Folder of the training. If its last checkpoint is damaged, that of the best validation is taken.

    Raises
    ------
    ValueError
        If the named file is missing or damaged, or all checkpoints in the folder are damaged.

    Warns
    -----
    UserWarning
        If the last checkpoint is damaged and the other is taken.
    """
    if resume is not None:
        path = Path(resume)
        if not path.exists():
            raise ValueError(f'training.resume: {path}: no such file')
        problem = find_damage(path)
        if problem is not None:
            raise ValueError(f'training.resume: {path}: {DAMAGED_CHECKPOINT}: {problem}')
        return path
    found = [path for name in (LAST, BEST) if (path := output / 'checkpoints' / name).exists()]
    problems = []
    for path in found:
        problem = find_damage(path)
        if problem is None:
            for other in problems:
                warnings.warn(f'{other}; resuming from {path}', stacklevel=2)
            return path
        problems.append(f'{path}: {DAMAGED_CHECKPOINT}: {problem}')
    if problems:
        raise ValueError(f'{"; ".join(problems)}; remove {output / "checkpoints"} to begin anew')
    return None


def remove_results(output: Path, is_new: bool):
    """Remove results of an earlier training from its folder, so that they do not pass for those of the one that begins.

    Parameters
    ----------
    output : Path
        Folder of the training.
    is_new : bool
        Whether nothing is resumed: then the metrics and the model go, too, and not only the summary.
    """
    names = [SUMMARY, *([METRICS, f'model/{DESCRIPTION}', f'model/{WEIGHTS}'] if is_new else [])]
    for name in names:
        (output / name).unlink(missing_ok=True)


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None; nothing in it is run."""
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
            if member is not None:
                return f'{member} does not have its checksum'
        torch.load(path, map_location='cpu', weights_only=True)
    except _DAMAGE as error:
        return shortened(error or type(error).__name__, 200)
    return None
