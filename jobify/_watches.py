"""Times that come while a run is in progress, or in its backoff: who wants to know of them is told."""

from jobify._agenda import Agenda
from jobify._clock import Clock
from jobify._entry import Entry, Watch
from jobify._policies import Overlap
from jobify._records import times_now
from jobify._settings import Settings

_WATCHED = (Overlap.ALLOW, Overlap.CANCEL_OTHER)


class Watches:
    """Lets a watch wait, in the agenda, for the next time of a job whose run is in progress."""

    def __init__(self, settings: Settings, clock: Clock, agenda: Agenda) -> None:
        self._tz = settings.tz
        self._clock = clock
        self._agenda = agenda

    def begin(self, entry: Entry) -> None:
        """Have the next time of a job told while its run is in progress, if its overlap policy wants to know."""
        trigger = entry.trigger
        if trigger is None or trigger.overlap not in _WATCHED or entry.watch is not None or entry.given_up:
            return
        if entry.until is not None and entry.reached.nanoseconds < entry.until.nanoseconds:
            return  # runs that make up for times are made one after the other
        times = times_now(entry, self._clock, self._tz)
        if times is None:
            return
        following = times.coming(entry.reached) if entry.kept_back else times.after(entry.reached)
        if following is not None:
            entry.watch = Watch(entry, following.nanoseconds)
            self._agenda.add(entry.watch)

    def end(self, entry: Entry) -> None:
        """Tell no more of the times of a job while its run is in progress."""
        if entry.watch is not None:
            self._agenda.discard(entry.watch)
            entry.watch = None
