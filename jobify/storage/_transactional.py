"""What a storage can do beyond `Storage`: take jobs within transactions of the user's."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jobify.storage._stored import StoredJob


class Added(NamedTuple):
    """A job that was added in a transaction of the user's: it is there if that is committed.

    Attributes:
        number: of the job. If the transaction is rolled back, another job may get it.
        job_id: the id of the job.
        transaction: by which name the storage knows the transaction; "" where it needs none.
    """

    number: int
    job_id: str
    transaction: str = ""


@runtime_checkable
class TransactionalStorage(Protocol):
    """A storage that can add a job in a transaction of the user's: the optional part of a `Storage`."""

    async def add_using(self, connection: Any, job: StoredJob, /) -> Added:
        """Add a job that nobody has claimed, within the transaction that is in progress on a connection of the user's.

        The next `claim` after the commit has it. Others are told then, if they can be; this process asks.

        Raises:
            TypeError: the connection is none that this storage can use.
            DuplicateJobError: the id is taken; the transaction can go on.
        """
        ...

    async def were_committed(self, added: Sequence[Added], /) -> Sequence[bool | None]:
        """Return of each of some jobs that were added whether it is there, or was; None if that is not decided yet.

        It does not wait for the end of a transaction.
        """
        ...
