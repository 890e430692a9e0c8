"""Parser of `hamlr train`."""

from __future__ import annotations

from aiida import orm

from aiida_hamlr.data.model import ModelData
from aiida_hamlr.parsers.base import HamlrParser
from aiida_hamlr.parsers.raw import parse_metrics

__all__ = ('TrainParser',)


class TrainParser(HamlrParser):
    """Make nodes of the model and the learning curve, even if the training stopped early."""

    def parse_outputs(self, folder, summary, exit_code):
        """Attach the learning curve and the model."""
        metrics = self._read('metrics.csv')
        if metrics is not None:
            try:
                curve = orm.ArrayData()
                for name, column in parse_metrics(metrics).items():
                    curve.set_array(_array_name(name), column)
                self.out('learning_curve', curve)
            except ValueError as error:
                self.logger.warning(f'metrics.csv could not be read: {error}')
        elif exit_code is not None and exit_code.status == self.exit_codes.ERROR_OUT_OF_WALLTIME.status:
            # The metrics are written together with the checkpoint.
            exit_code = self.exit_codes.ERROR_NO_CHECKPOINT.format(reason=self.reason)
        path = folder / 'model'
        if not path.is_dir():
            return self.missing(path.name, exit_code)
        try:
            self.out('model', ModelData.from_folder(path))
        except ValueError as error:
            return exit_code or self.unreadable(error)
        return exit_code


def _array_name(name: str) -> str:
    """Return a name that an array node accepts: letters, digits and underscores."""
    return ''.join(character if character.isascii() and character.isalnum() else '_' for character in name)
