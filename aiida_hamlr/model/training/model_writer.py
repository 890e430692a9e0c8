"""Writing the model folder of a training, at its end and on the way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from aiida_hamlr.model.files import write_model
from aiida_hamlr.model.hamiltonian_model import HamiltonianModel
from aiida_hamlr.model.training.data_identity import DataIdentity
from aiida_hamlr.model.training.module import TrainingModule


class ModelWriter:
    """Writes the model folder: at the end, and before it whenever there is a better model.

    Parameters
    ----------
    output : Path
        Folder of the training.
    common : DataIdentity
    files : dict
        Names of the files of every part of the split.
    response : dict
        What the summary says of the response.
    parent : dict, optional
        What identifies the model from which the training started.
    """

    def __init__(self, output: Path, common: DataIdentity, files: dict, response: dict, parent: dict | None = None):
        self.output, self.common, self.files = output, common, files
        self.response, self.parent = response, parent

    def write(self, module: TrainingModule, uncertainty: dict | None = None) -> dict:
        """Write the best model so far, at the end with its uncertainty; return its summary."""
        model, settings = module.best_model(), module.settings
        summary = self._summary(module, model)
        metadata = {
            'variant': model.config.variant,
            **self.response,
            'functional': self.common.functional,
            'gauge': self.common.gauge,
            'ecutrho_Ry': self.common.ecutrho,
            'data_hash': self.common.content_hash,
            'distances': self.common.distances,
            'split': self.files,
            'training': settings.flat(),
            'metrics': summary,
        }
        if self.parent is not None:
            metadata['parent'] = self.parent
        if uncertainty is not None:
            metadata['uncertainty'] = uncertainty
        metadata['identity'] = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
        folder, texts = self.output / 'model', self.common.pseudopotentials
        write_model(folder, model, model.state_dict(), self.common.basis, texts, metadata)
        return summary

    def _summary(self, module: TrainingModule, model: HamiltonianModel) -> dict:
        summary = {
            'epochs': module.finished_epochs,
            'steps': module.finished_steps,
            'training_s': round(module.seconds, 3),
            'n_train': len(self.files['train']),
            'n_validation': len(self.files['validation']),
            'n_parameters': sum(parameter.numel() for parameter in model.parameters()),
            'pair_cutoff_angstrom': model.pair_cutoff,
            'variant': model.config.variant,
            'seed': module.settings.seed,
            **{f'validation_{key}': value for key, value in module.best_metrics.items()},
            'warnings': list(self.common.warnings),
        }
        channel = model.long_range
        if channel is not None:
            charges = channel.species_charge.detach() - channel.species_charge.detach().mean()
            summary['species_charges'] = dict(zip(model.slots.species, charges.tolist(), strict=True))
            summary['field_factors'] = dict(zip(model.slots.species, channel.species_factor.tolist(), strict=True))
        if self.response:
            summary |= self.response
            polarisabilities = channel.species_polarisability.tolist()
            summary['species_polarisabilities'] = dict(zip(model.slots.species, polarisabilities, strict=True))
        return summary
