"""The steps of a work chain that copy the Hamiltonians of a dataset from other computers."""

from __future__ import annotations

from aiida import orm

from aiida_hamlr.calculations.fetch import FetchCalculation
from aiida_hamlr.calculations.functions.dataset import create_dataset
from aiida_hamlr.data.dataset import SPLITS, DatasetData
from aiida_hamlr.data.remote import find_gone, group_by_computer

__all__ = ('FetchStepsMixin',)


class FetchStepsMixin:
    """Outline steps: `inspect_data`, then `run_fetch` and `inspect_fetch` if `should_fetch`.

    The work chain says in `data_target` which dataset is needed on which computer, and finds it in ``ctx.dataset``. It
    has the methods of `StepsMixin`.
    """

    @classmethod
    def define_fetch(cls, spec):
        """Define the exit codes."""
        spec.exit_code(
            320,
            'ERROR_HAMILTONIANS_GONE',
            message='Files of Hamiltonians of the dataset are missing: nodes {nodes}. Restore the files, or compute '
            'the '
            'Hamiltonians again.',
        )
        spec.exit_code(
            440,
            'ERROR_SUB_PROCESS_FAILED_FETCH',
            message='Hamiltonians could not be copied from another computer: {reason}. Look into the fetch job.',
        )

    def data_target(self) -> tuple[DatasetData, orm.Computer | None]:
        """Return the dataset and the computer that needs its files."""
        raise NotImplementedError

    def inspect_data(self):
        """Check that remote files exist, and note which are on other computers and must be fetched."""
        self.ctx.dataset, computer = self.data_target()
        remote = self.ctx.dataset.get_remote()
        self.ctx.elsewhere = [
            node.uuid for node in remote if computer is not None and node.computer.uuid != computer.uuid
        ]
        gone = find_gone(remote)
        if gone:
            listed = ', '.join(
                f'{node.pk} on {node.computer.label} at {node.base.attributes.get("remote_path")}' for node in gone[:3]
            )
            return self.exit_codes.ERROR_HAMILTONIANS_GONE.format(
                nodes=f'{listed} and {len(gone) - 3} more' if len(gone) > 3 else listed
            )
        return None

    def should_fetch(self) -> bool:
        """Return whether there are Hamiltonians on other computers."""
        return bool(self.ctx.elsewhere)

    def run_fetch(self):
        """Copy the Hamiltonians of each other computer into the repository."""
        nodes = [orm.load_node(uuid) for uuid in self.ctx.elsewhere]
        self.ctx.fetched = []
        for part in group_by_computer(nodes):
            inputs = {
                'hamiltonians': {f'h{node.pk}': node for node in part},
                'metadata': {'computer': part[0].computer},
            }
            job = self.launch(FetchCalculation, inputs, f'fetch_{len(self.ctx.fetched)}')
            self.ctx.fetched.append(job.pk)
            self.to_context(**{f'fetch_{job.pk}': job})

    def inspect_fetch(self):
        """Make a dataset in which copies replace the Hamiltonians on other computers."""
        copies = {}
        for pk in self.ctx.fetched:
            job = orm.load_node(pk)
            reason = self.find_failure(job)
            if reason is not None:
                return self.exit_codes.ERROR_SUB_PROCESS_FAILED_FETCH.format(reason=reason)
            copies |= {job.inputs.hamiltonians[label].uuid: node for label, node in job.outputs.hamiltonians.items()}
        dataset = self.ctx.dataset
        names, hamiltonians = {}, {}
        for part in SPLITS:
            names[part] = []
            for index, node in enumerate(dataset.get_hamiltonians(part)):
                names[part].append(f'{part}_{index}')
                hamiltonians[f'{part}_{index}'] = copies.get(node.uuid, node)
        self.ctx.dataset = create_dataset(
            split=orm.Dict(names),
            seed=orm.Int(dataset.base.attributes.get('seed') or 0),
            failures=orm.Dict(dataset.base.attributes.get('failures')),
            **hamiltonians,
            metadata={'call_link_label': 'dataset_of_copies'},
        )
        return None
