"""The numbers of rows, drawn from SQLite in blocks: to draw each costs a transaction one page more."""

import sqlite3

_BLOCK = 1000
_DRAW = """
UPDATE sqlite_sequence SET seq = max(seq, (SELECT ifnull(max(number), 0) FROM {table})) + ? WHERE name = ?
"""
_DRAW_FIRST = "INSERT INTO sqlite_sequence (seq, name) SELECT ifnull(max(number), 0) + ?, ? FROM {table}"
_DRAWN = "SELECT seq FROM sqlite_sequence WHERE name = ?"


class Connection(sqlite3.Connection):
    """A connection to a file whose rows are numbered in blocks if it has only one writer.

    A number is never used twice, by whoever else adds rows: SQLite goes on behind the last block.

    Attributes:
        is_only_writer: whether nobody else adds rows, but now and then.
        is_overtaken: whether somebody else has added a job, which is to be before those that are added from now on.
        new_runs: how many rows of the history were added since that was last asked.
    """

    is_only_writer = False
    is_overtaken = False
    new_runs = 0

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # what sqlite3.connect passes
        self._blocks: dict[str, range] = {}

    def needs_no_draw(self, table: str) -> bool:
        """Whether the next number can be had without a statement of its own."""
        return not self.is_only_writer or bool(self._blocks.get(table))

    def next_number(self, table: str) -> int | None:
        """Return the number of a new row; None if SQLite is to give it one. It holds within the same transaction."""
        if not self.is_only_writer:
            return None
        block = self._blocks.get(table) or self._draw(table)
        self._blocks[table] = block[1:]
        return block[0]

    def _draw(self, table: str) -> range:
        assert self.in_transaction  # noqa: S101  # else somebody may add a row in between
        if not self.execute(_DRAW.format(table=table), (_BLOCK, table)).rowcount:
            self.execute(_DRAW_FIRST.format(table=table), (_BLOCK, table))
        ((last,),) = self.execute(_DRAWN, (table,)).fetchall()
        return range(last - _BLOCK + 1, last + 1)

    def see_who_came(self) -> None:
        """Draw the numbers of jobs anew if somebody else has added one; called on the lane, where they are given."""
        if self.is_overtaken:
            self.is_overtaken = False
            self._blocks.pop("jobify_jobs", None)

    def forget_numbers(self) -> None:
        """Draw anew: a transaction was rolled back, and with it what was drawn in it."""
        self._blocks.clear()
