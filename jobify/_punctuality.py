"""Whether a job starts on time, and what becomes of its times that have passed if it does not."""

from jobify._aftermath import lateness, missed
from jobify._chronicle import Chronicle
from jobify._clock import Clock
from jobify._entry import Entry
from jobify._ledger import Ledger
from jobify._misfire import Decision, judge_overlap
from jobify._policies import Overlap
from jobify._records import make_up, times_now
from jobify._settings import Settings

_PROMPT = 0.001
"""Seconds that a start may be late before anybody asks whether a time was missed."""


class Punctuality:
    """Decides about jobs that have their slot, and are about to start."""

    def __init__(self, settings: Settings, clock: Clock, ledger: Ledger, chronicle: Chronicle) -> None:
        self._tz = settings.tz
        self._clock = clock
        self._ledger = ledger
        self._chronicle = chronicle

    def judge(self, entry: Entry) -> Decision | None:
        """Return why a job does not start; None if it does, though its run may stand for times that have passed."""
        if entry.overtaken:
            self._start_anew(entry)
            return None
        if entry.judged or entry.attempt or (entry.trigger is None and entry.misfire_policy.seconds is None):
            entry.judged = False
            return None
        late = lateness(entry, self._clock)
        if late <= _PROMPT or (decision := missed(entry, late, self._clock, self._tz)) is None:
            return None
        if decision.run is None:
            return decision
        self._stand_in(entry, decision)
        return None

    def _stand_in(self, entry: Entry, decision: Decision) -> None:
        """Let the next run stand for times that have passed."""
        assert decision.run is not None  # noqa: S101  # the caller has looked
        assert entry.trigger is not None  # noqa: S101  # a one-time job has one time
        entry.go_to(make_up(decision.run, entry.trigger, decision.until))
        entry.unwritten += self._chronicle.skipped(entry, decision.skipped, decision.reason)
        self._ledger.skip(entry, decision.skipped, reason=decision.reason)

    def _start_anew(self, entry: Entry) -> None:
        """Give up the attempts of a run, in its backoff, for one that is meant for the latest time."""
        entry.overtaken = False
        times = times_now(entry, self._clock, self._tz)
        assert times is not None  # noqa: S101  # the job recurs
        if (decision := judge_overlap(Overlap.CANCEL_OTHER, entry.reached, times)) is not None:
            entry.attempt = 0
            entry.started_at = None
            self._stand_in(entry, decision)
