#!/usr/bin/env python3
"""Whether anything was lost, invented or told wrong: check.py DIR

Reads what producers (prod.N.led), consumers (cons.N.led; both: book.h), the last look into the queues (drain.led: F producer number
attempt redelivered intact) and the rig (faults.led: kill FROM TO, in us) have written. Every message is its producer, its number and the attempt:
what was sent again is another one with the same number. The categories are those of Jepsen's total-queue.

  lost        confirmed, and never delivered, to nobody
  phantom     delivered, and never sent; or not as it was sent
  false       not sent, or returned, it was said: and delivered all the same
  unsettled   no outcome, though its producer was not killed; or two
  again       sent again without a reason
  unexplained delivered twice, though whoever had it first has acknowledged it on a link that lived, or still has it; or without
              the mark of redelivery, though the node was not killed meanwhile
  disorder    one link has brought fresh messages of a producer in another order than they were sent in
  tags        the delivery tags of a link are not 1, 2, 3 ...
  refused     an ack that lago did not take, though nothing says that the link had ended

Where nothing was confirmed, nothing is proved: that is not good either."""
import collections
import glob
import os
import re
import sys

PROBLEMS = ('lost', 'phantom', 'false', 'unsettled', 'again', 'unexplained', 'disorder', 'tags', 'refused')
GOOD_REASONS = ('U', 'X', 'N', 'died')
Delivery = collections.namedtuple('Delivery', 'time redelivered link tag')


def lines_of(path):
    """The words of each whole line: one who was killed may have left half a one."""
    with open(path, encoding='ascii') as file:
        for line in file:
            words = line.split()
            if words and words[-1] == '.' and line.endswith('\n'):
                yield words[:-1]


class Verdict:
    def __init__(self):
        self.counts = collections.Counter()
        self.problems = {kind: [] for kind in PROBLEMS}

    def add(self, kind, what):
        self.problems[kind].append(what)

    def bad(self):
        return sum(map(len, self.problems.values()))

    def good(self):
        return not self.bad() and self.counts['confirmed'] > 0

    def line(self):
        counts = self.counts
        return (f'{counts["sent"]:,} sent, {counts["confirmed"]:,} confirmed, {counts["delivered"]:,} delivered, '
                f'{len(self.problems["lost"])} lost, {len(self.problems["false"]) + len(self.problems["phantom"])} false, '
                f'{len(self.problems["unexplained"])} unexplained duplicates')


class Ledger:
    def __init__(self, directory):
        self.verdict = Verdict()
        self.sent = {}                                 # (producer, number, attempt) -> outcome, '' as long as there is none
        self.deliveries = collections.defaultdict(list)  # the same -> Delivery
        self.acked = set()                             # (link, tag)
        self.refused = []                              # (link, tag, error, time): acks that lago did not take
        self.clean = set()                             # links that were closed in order
        self.closing = {}                              # link -> when we began to close it
        self.last = {}                                 # link -> its last Delivery
        self.kills = []
        for path in sorted(glob.glob(os.path.join(directory, 'prod.*.led'))):
            self.read_producer(path, int(re.search(r'prod\.(\d+)\.led', path)[1]))
        for path in sorted(glob.glob(os.path.join(directory, 'cons.*.led'))):
            self.read_consumer(path)
        self.read_rest(directory)

    def read_producer(self, path, producer):
        open_ones, links = set(), 0
        for words in lines_of(path):
            what = words[0]
            if what == 'S':
                key = (producer, int(words[1]), int(words[2]))
                self.send(key)
                open_ones.add(key)
            elif what in 'ANRUX':
                key = (producer, int(words[1]), int(words[2]))
                if key in open_ones:
                    open_ones.discard(key)
                    self.sent[key] = what
                else:
                    self.verdict.add('unsettled', f'{key} {what}, and it was {self.sent.get(key, "never sent")} before')
            elif what == 'B':
                for key in open_ones:
                    self.sent[key] = 'died'
                open_ones.clear()
            elif what == 'L':
                links += 1
        for key in open_ones:
            self.verdict.add('unsettled', f'{key} has no outcome')
        self.verdict.counts['links'] += links

    def send(self, key):
        producer, number, attempt = key
        if key in self.sent:
            self.verdict.add('again', f'{key} twice')
        if attempt > 1 and self.sent.get((producer, number, attempt - 1), 'nothing') not in GOOD_REASONS:
            self.verdict.add('again', f'{key}, and before it was {self.sent.get((producer, number, attempt - 1), "nothing")}')
        self.sent[key] = ''

    def read_consumer(self, path):
        life, fresh = 0, {}
        for words in lines_of(path):
            what, time = words[0], int(words[-1])
            if what == 'B':
                life += 1
            elif what == 'D':
                self.read_delivery(path, life, words, fresh)
            elif what == 'K':
                self.acked.add(((path, life, int(words[4])), int(words[5])))
            elif what == 'E':
                self.refused.append(((path, life, int(words[1])), int(words[2]), words[3], time))
            elif what == 'C':
                self.closing[path, life, int(words[1])] = time
            elif what == 'L' and words[2] == '1':
                self.clean.add((path, life, int(words[1])))
            elif what == 'L':
                self.verdict.counts['links'] += 1

    def read_delivery(self, path, life, words, fresh):
        producer, number, attempt, redelivered, epoch, tag, intact, time = map(int, words[1:9])
        key, link = (producer, number, attempt), (path, life, epoch)
        if not intact:
            self.verdict.add('phantom', f'{key} is not as it was sent')
        before = self.last.get(link)
        if tag != (before.tag if before else 0) + 1:
            self.verdict.add('tags', f'{key} has tag {tag} behind {before.tag if before else "none"} at {time}')
        self.last[link] = Delivery(time, redelivered, link, tag)
        self.deliveries[key].append(self.last[link])
        if attempt == 1 and not redelivered:
            before = fresh.get((link, producer), (0, None))
            fresh[link, producer] = (number, key)
            if number < before[0]:
                self.verdict.add('disorder', f'{key} behind {before[1]} at {time}')

    def read_rest(self, directory):
        drain, faults = os.path.join(directory, 'drain.led'), os.path.join(directory, 'faults.led')
        for words in lines_of(drain) if os.path.exists(drain) else ():
            producer, number, attempt, redelivered, intact = map(int, words[1:6])
            if not intact:
                self.verdict.add('phantom', f'{producer, number, attempt} in the queue is not as it was sent')
            self.deliveries[producer, number, attempt].append(Delivery(1 << 62, redelivered, None, 0))
        for words in lines_of(faults) if os.path.exists(faults) else ():
            if words[0] == 'kill':
                self.kills.append((int(words[1]), int(words[2])))

    def killed_between(self, begin, end):
        return any(begin <= kill[1] and kill[0] <= end for kill in self.kills)

    def is_marked(self, again, earlier):
        """A second delivery says so; but the node forgets it when it is killed, and what was on its way on a link that broke may be
        read later than what the node then sent to another one: that one is marked, and nothing else is unmarked."""
        if again.redelivered or self.killed_between(earlier[-1].time, again.time):
            return True
        return again.link not in self.clean and all(delivery.redelivered or self.killed_between(delivery.time, again.time) for delivery in earlier)

    def judge_duplicates(self, key, deliveries):
        deliveries.sort(key=lambda delivery: delivery.time)
        for index, again in enumerate(deliveries[1:]):
            before = deliveries[index]
            self.verdict.counts['redeliveries'] += 1
            link = before.link
            why = ''
            if link is None:
                why = 'it was in the queues twice'
            elif link == again.link:
                why = 'twice on one link'
            elif link in self.clean and (link, before.tag) in self.acked:
                why = 'it was acknowledged on a link that was closed in order'
            elif link in self.clean and again.time < self.closing.get(link, 0):
                why = 'who had it first still has it, on a link that was closed in order later'
            elif not self.is_marked(again, deliveries[:index + 1]):
                why = 'it is not marked as redelivered'
            if why:
                self.verdict.add('unexplained', f'{key}: {why} ({before}, {again})')

    def judge_refusals(self):
        """The end of a link is told to the channel first: until the next turn acks of it are LAGO_ECLOSED. Else they are taken."""
        for link, tag, error, time in self.refused:
            if error != 'LAGO_ECLOSED' or link in self.clean or link in self.last and self.last[link].time > time:
                self.verdict.add('refused', f'tag {tag} of {link} with {error} at {time}')

    def judge(self):
        verdict = self.verdict
        self.judge_refusals()
        for key, outcome in self.sent.items():
            verdict.counts[outcome or 'none'] += 1
            there = key in self.deliveries
            if outcome == 'A' and not there:
                verdict.add('lost', f'{key} was confirmed')
            if outcome in ('X', 'R') and there:
                verdict.add('false', f'{key} is {outcome}, and was delivered at {self.deliveries[key][0].time}')
            if outcome == 'U':
                verdict.counts['unknown and there' if there else 'unknown and not there'] += 1
        for key, deliveries in self.deliveries.items():
            if key not in self.sent:
                verdict.add('phantom', f'{key} was never sent')
            if len(deliveries) > 1:
                self.judge_duplicates(key, deliveries)
        verdict.counts['sent'] = len(self.sent)
        verdict.counts['confirmed'] = verdict.counts['A']
        verdict.counts['delivered'] = sum(map(len, self.deliveries.values()))
        verdict.counts['sent again'] = sum(attempt > 1 for _, _, attempt in self.sent)
        return verdict


def show(verdict, most=5):
    for kind, problems in verdict.problems.items():
        for problem in problems[:most]:
            print(f'{kind}: {problem}')
        if len(problems) > most:
            print(f'{kind}: and {len(problems) - most} more')
    if not verdict.counts['confirmed']:
        print('nothing was confirmed: this proves nothing')


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith('-'):
        print('check.py DIR: the ledgers that tests/ledger/run --keep DIR has left', file=sys.stderr)
        return 2
    if not glob.glob(os.path.join(sys.argv[1], 'prod.*.led')):
        print(f'{sys.argv[1]}: no ledger of a producer is there (prod.N.led)', file=sys.stderr)
        return 2
    verdict = Ledger(sys.argv[1]).judge()
    show(verdict)
    print(', '.join(f'{name} {count:,}' for name, count in sorted(verdict.counts.items())))
    print(f'ledger: {verdict.line()}')
    return 0 if verdict.good() else 1


if __name__ == '__main__':
    sys.exit(main())
