"""Reading what Quantum ESPRESSO writes: data-file-schema.xml, filplot, charge-density.dat or .hdf5, output of ph.x."""

from aiida_hamlr.io.qe.grid_files import (
    GridFile,
    read_charge_density,
    read_density,
    read_filplot,
    read_potential,
)
from aiida_hamlr.io.qe.keywords import find_keyword_problem
from aiida_hamlr.io.qe.phonon import FieldResponse, read_field_response
from aiida_hamlr.io.qe.pseudo_files import check_saved_pseudos, find_other_names
from aiida_hamlr.io.qe.run import QeRun, check_supported, read_scf_xml
from aiida_hamlr.io.qe.structure import check_same_structure, is_pw_input, read_pw_input

__all__ = [
    'FieldResponse',
    'GridFile',
    'QeRun',
    'check_same_structure',
    'check_saved_pseudos',
    'check_supported',
    'find_keyword_problem',
    'find_other_names',
    'is_pw_input',
    'read_charge_density',
    'read_density',
    'read_field_response',
    'read_filplot',
    'read_potential',
    'read_pw_input',
    'read_scf_xml',
]
