"""Whether clients saw each message of each stream once, in order."""

from collections import Counter

#: Faults that are shown.
MAX_SHOWN = 40


class Comparison:
    """Compares what clients saw with what was sent.

    ``pushed`` are the numbers of messages by stream and publisher, ``reports`` those of clients.
    """

    def __init__(self, run, pushed, reports):
        self._run, self._reports = run, reports
        #: The number of messages of each sender, by stream.
        self.senders = {stream: dict(counts) for stream, counts in pushed.items()}
        #: Those that were refused during an outage: it is unknown whether they are in the room.
        self.refused = {}
        for report in reports:
            name = report["name"]
            self.senders.setdefault(run.sends_to[name], {})[name] = report["sent"]
            self.refused[name] = {int(n) for n in report["rejected"]}
        #: The number of closes by code, and of returns by whether they recovered.
        self.closes, self.recovered = Counter(), Counter()
        for report in reports:
            self.closes.update(report["closes"])
            self.recovered.update(report["recovered"])
        #: Messages that the clients of :meth:`check` have not seen.
        self.missed = 0
        self.faults = [f"{each}: nothing was pushed" for each in run.streams if each not in pushed]

    @property
    def least_deliveries(self):
        """The number of deliveries to all clients, without messages that were refused."""
        totals = {
            stream: sum(count - len(self.refused.get(name, ())) for name, count in counts.items())
            for stream, counts in self.senders.items()
        }
        streams = (self._run.streams_of(report["name"]).values() for report in self._reports)
        return sum(totals.get(stream, 0) for own in streams for stream in own)

    def check(self, names=None, *, gaps=0, may_miss=frozenset()):
        """Fail with the faults of the clients ``names``; of all if that is None.

        Each of their streams must have had ``gaps`` gaps. ``may_miss`` are the messages (stream,
        sender, number) that they may have lost; None stands for any.
        """
        reports = [each for each in self._reports if names is None or each["name"] in names]
        for report in reports:
            self._check(report, gaps, may_miss)
        if may_miss == frozenset():
            self._compare_sequences(reports)
        shown = "\n".join(self.faults[:MAX_SHOWN])
        assert not self.faults, f"{len(self.faults)} faults:\n{shown}"

    def _check(self, report, gaps, may_miss):
        name, known = report["name"], self._run.streams_of(report["name"])
        if unknown := report["streams"].keys() - known.keys():
            self.faults.append(f"{name}: streams of others: {unknown}")
        for seen, stream in known.items():
            found = report["streams"].get(
                seen, {"faults": [], "gaps": 0, "missing": {}, "next": {}}
            )
            where = f"{name} in {seen}"
            for fault in found["faults"]:
                self.faults.append(f"{where}: doubled or late: {fault}")
            if found["gaps"] != gaps:
                self.faults.append(f"{where}: {found['gaps']} gaps, expected {gaps}")
            self._find_lost(where, stream, found, may_miss)
        if report["unanswered"]:
            self.faults.append(f"{name}: {report['unanswered']} promises did not settle")
        codes = Counter(report["rejected"].values())
        if codes.keys() - {"INTERNAL_ERROR"}:
            self.faults.append(f"{name}: promises were rejected: {codes}")

    def _find_lost(self, where, stream, found, may_miss):
        for sender, count in self.senders.get(stream, {}).items():
            missing = set(found["missing"].get(sender, []))
            missing.update(range(found["next"].get(sender, 0), count))
            missing -= self.refused.get(sender, set())
            self.missed += len(missing)
            if may_miss is None:
                continue
            lost = [n for n in sorted(missing) if (stream, sender, n) not in may_miss]
            if lost:
                self.faults.append(f"{where}: lost {len(lost)} of {sender}: {lost[:20]}")

    def _compare_sequences(self, reports):
        """All clients saw the messages of a stream in one order."""
        sequences = {}
        for report in reports:
            for seen, stream in self._run.streams_of(report["name"]).items():
                if found := report["streams"].get(seen):
                    sequences.setdefault(stream, Counter())[found["order"], found["count"]] += 1
        for stream, found in sequences.items():
            if len(found) > 1:
                self.faults.append(f"{stream}: seen in {len(found)} different orders: {found}")


def count_deliveries(reports):
    return sum(stream["count"] for report in reports for stream in report["streams"].values())
