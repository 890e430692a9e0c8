"""Base class of the parsers of the `hamlr` executable."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from aiida import orm
from aiida.common.exceptions import AiidaException
from aiida.common.links import LinkType
from aiida.engine import ExitCode
from aiida.orm import StructureData
from aiida.parsers import Parser

from aiida_hamlr.calculations.base import HamlrCalculation
from aiida_hamlr.calculations.storage import is_remote_storage
from aiida_hamlr.data.hamiltonian import HamiltonianData
from aiida_hamlr.data.structures import get_atoms
from aiida_hamlr.electronic.matrices.description import description_path
from aiida_hamlr.parsers.raw import (
    SIGNALLED,
    find_difference,
    find_exit_label,
    find_reason,
    parse_status,
    parse_summary,
)

__all__ = ('HamlrParser',)


class HamlrParser(Parser):
    """Base class: turns the exit status of the executable into an exit code."""

    @cached_property
    def inputs(self) -> Mapping:
        """Return the inputs of the job, by nested labels; `node.inputs` loads all of them for each that is taken."""
        return self.node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()

    @cached_property
    def is_remote(self) -> bool:
        """Return whether the Hamiltonians stay on the computer."""
        return is_remote_storage(self.inputs)

    def parse(self, retrieved_temporary_folder: str | None = None, **kwargs) -> ExitCode | None:
        """Parse the retrieved files into output nodes."""
        if retrieved_temporary_folder is None:
            return self.exit_codes.ERROR_NO_RETRIEVED_TEMPORARY_FOLDER
        summary, problem = self._parse_summary()
        exit_code = self._parse_status()
        if exit_code is None:
            exit_code = problem
        try:
            parsed = self.parse_outputs(Path(retrieved_temporary_folder), summary or {}, exit_code)
        except (ValueError, TypeError, KeyError, OSError, MemoryError, AiidaException) as error:
            # Whatever a job left behind, its parser ends with an exit code.
            self.logger.exception('the outputs could not be read')
            return exit_code or self.unreadable(error)
        return exit_code if parsed is None else parsed

    def parse_outputs(self, folder: Path, summary: dict, exit_code: ExitCode | None) -> ExitCode | None:
        """Attach the outputs that the job wrote.

        :param folder: the temporarily retrieved files.
        :param summary: the content of the summary.
        :param exit_code: exit code of a failure that is already known.
        :return: an exit code that replaces the given one, or nothing.
        """
        raise NotImplementedError

    def make_hamiltonian(self, folder: Path, filename: str) -> HamiltonianData | None:
        """Return the node of a Hamiltonian file, from its description if it was stashed; nothing if it is missing.

        :param folder: the temporarily retrieved files.
        :param filename: the Hamiltonian file, relative to the folder of the job.
        :raises ValueError: if the file or the description is damaged.
        """
        path = folder / filename
        if not self.is_remote:
            return HamiltonianData.from_file(path) if path.is_file() else None
        description = description_path(path)
        if not description.is_file():
            return None
        stash = self.node.outputs.remote_stash
        return HamiltonianData.from_remote(description, stash.computer, f'{stash.target_basepath}/{filename}')

    @staticmethod
    def check_hamiltonian(
        node: HamiltonianData, origin: str, structure: StructureData | None, hashes: Mapping[str, str]
    ):
        """Check that a Hamiltonian is the one that the job was asked for.

        :param origin: `reference` or `predicted`.
        :param structure: the structure that the job had, if it is known.
        :param hashes: sha256 of the orbitals that the job had, by species; kinds without an entry are species of their
            element.
        :raises ValueError: if it is another.
        """
        attributes = node.base.attributes
        if attributes.get('origin') != origin:
            raise ValueError(
                f'{HamiltonianData.FILENAME}: of origin {attributes.get("origin")!r} instead of {origin!r}'
            )
        for element, found in attributes.get('basis_hashes').items():
            if hashes.get(element) != found:
                raise ValueError(f'{HamiltonianData.FILENAME}: orbitals of {element} are not those that the job had')
        if structure is None:
            return
        difference = find_difference(get_atoms(node.get_structure()), get_atoms(structure, hashes))
        if difference is not None:
            raise ValueError(f'{HamiltonianData.FILENAME}: of another structure than the job had: {difference}')

    @property
    def is_not_stashed(self) -> bool:
        """Return whether a file that should have been stashed was not."""
        return self.is_remote and 'remote_stash' not in self.node.outputs

    def missing(self, filename: str, exit_code: ExitCode | None) -> ExitCode:
        """Return the exit code for a missing output: that of a known failure, if any."""
        if exit_code is not None:
            return exit_code
        return self.exit_codes.ERROR_OUTPUT_FILE_MISSING.format(filename=filename, reason=self.reason)

    def unreadable(self, error: ValueError) -> ExitCode:
        """Return the exit code for a damaged output."""
        return self.exit_codes.ERROR_OUTPUT_FILE_READ.format(reason=str(error))

    @property
    def reason(self) -> str:
        """Return the last message of the executable."""
        return find_reason(self._read(self.node.get_option('scheduler_stderr')) or '')

    def _read(self, filename: str | None) -> str | None:
        """Return the text of a retrieved file, with marks for bytes that are not UTF-8; or nothing."""
        if filename is None:
            return None
        try:
            content = self.retrieved.base.repository.get_object_content(filename, mode='rb')
        except (FileNotFoundError, IsADirectoryError):
            return None
        return content.decode(errors='replace')

    def _parse_status(self) -> ExitCode | None:
        text = self._read(HamlrCalculation._STATUS_FILENAME)
        status = parse_status(text)
        if status == 0:
            return None
        if self.node.is_imported and text is None:
            return None  # A job that ran without AiiDA has no status; its outputs show whether it finished.
        stderr = self._read(self.node.get_option('scheduler_stderr')) or ''
        label, reason = find_exit_label(status, stderr, text is not None and not text.strip()), find_reason(stderr)
        if label == 'ERROR_DISK_FULL' and not stderr.strip():
            reason = 'there was no room for a message'
        # A job ended by the scheduler left no status, or that of a signal. The scheduler knows the cause: wall-time,
        # memory, node failure.
        unclear = label is None or label == 'ERROR_KILLED' or (status or 0) > SIGNALLED
        if self.node.exit_status is not None and unclear:
            return ExitCode(self.node.exit_status, self.node.exit_message)
        if label is not None:
            self.logger.error(reason)
            return getattr(self.exit_codes, label).format(reason=reason)
        return self.exit_codes.ERROR_EXECUTABLE_FAILED.format(status=status, reason=reason)

    def _parse_summary(self) -> tuple[dict | None, ExitCode | None]:
        text = self._read(HamlrCalculation._SUMMARY_FILENAME)
        if text is None:
            return None, self.missing(HamlrCalculation._SUMMARY_FILENAME, None)
        try:
            summary = parse_summary(text)
        except ValueError as error:
            return None, self.exit_codes.ERROR_OUTPUT_SUMMARY.format(reason=str(error))
        self.out('output_parameters', orm.Dict({**summary, **self.name_as_quantum_espresso(summary)}))
        return summary, None

    def name_as_quantum_espresso(self, summary: dict) -> dict:
        """Return numbers of a summary under the names that aiida-quantumespresso gives them."""
        return {}
