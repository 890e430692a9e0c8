"""What jobs that compute properties of Hamiltonians share: their parameters, and the outputs of a single structure."""

from __future__ import annotations

from collections.abc import Collection

from aiida import orm
from pydantic import ValidationError, create_model

from aiida_hamlr.jobs.config import Config, describe

__all__ = ('SINGLE', 'define_single', 'make_parameters_validator')

#: Outputs by the names that they have in a job of many structures, and those of a single structure, which are the names
#: of aiida-quantumespresso.
SINGLE = {
    'bands': ('band_structure', orm.BandsData),
    'output_dos': ('dos.output_dos', orm.XyData),
    'projections': ('projwfc.projections', orm.ProjectionData),
    'projections_up': ('projwfc.projections_up', orm.ProjectionData),
    'projections_down': ('projwfc.projections_down', orm.ProjectionData),
}


def define_single(spec, subject: str):
    """Define the outputs of a single structure under the names of aiida-quantumespresso.

    :param subject: what the help texts say that they are of.
    """
    for namespace, program in (('dos', 'dos.x'), ('projwfc', 'projwfc.x')):
        text = f'{subject}, what aiida-quantumespresso has from {program}.'
        spec.output_namespace(namespace, required=False, help=text)
    for name, valid_type in SINGLE.values():
        text = f'{subject}, under the name that aiida-quantumespresso uses.'
        spec.output(name, valid_type=valid_type, required=False, help=text)


def make_parameters_validator(config: type[Config], blocked: Collection[str]):
    """Return a validator of a node with keys of a configuration.

    :param blocked: keys that the job sets, or that name files, which have no node.
    """
    fields = {name: (field.annotation, field) for name, field in config.model_fields.items() if name not in blocked}
    model = create_model('_Parameters', __base__=Config, **fields)

    def validate_parameters(value, _) -> str | None:
        """Return what is wrong with the parameters, or nothing."""
        if value is None:
            return None
        try:
            model.model_validate(value.get_dict())
        except ValidationError as error:
            return describe(error.errors()[0], model)
        return None

    return validate_parameters
