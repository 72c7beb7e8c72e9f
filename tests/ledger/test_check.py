#!/usr/bin/env python3
"""The checker sees what is planted, and nothing else."""
import os
import tempfile
import unittest

import check

PRODUCER = ['B 1 10', 'S 1 1 1 11', 'S 2 1 1 12', 'A 1 1 13', 'A 2 1 14', 'Z 15']
CONSUMER = ['B 2 10', 'O 1 10', 'D 1 1 1 0 1 1 1 20', 'K 1 1 1 1 1 21', 'D 1 2 1 0 1 2 1 22', 'K 1 2 1 1 2 23', 'L 1 1 30']


class Check(unittest.TestCase):
    def judge(self, producer=PRODUCER, consumer=CONSUMER, drain=(), faults=(), second=()):
        with tempfile.TemporaryDirectory() as directory:
            for name, lines in (('prod.1.led', producer), ('cons.1.led', consumer), ('cons.2.led', second), ('drain.led', drain), ('faults.led', faults)):
                with open(os.path.join(directory, name), 'w', encoding='ascii') as file:
                    file.writelines(line if line.endswith('\n') else f'{line} .\n' for line in lines)
            return check.Ledger(directory).judge()

    def expect(self, kinds, **books):
        verdict = self.judge(**books)
        found = {kind: len(problems) for kind, problems in verdict.problems.items() if problems}
        self.assertEqual(found, kinds, verdict.problems)
        return verdict

    def test_nothing_is_wrong(self):
        verdict = self.expect({})
        self.assertEqual(verdict.line(), '2 sent, 2 confirmed, 2 delivered, 0 lost, 0 false, 0 unexplained duplicates')

    def test_a_loss(self):
        self.expect({'lost': 1}, consumer=CONSUMER[:4] + CONSUMER[6:])

    def test_what_is_left_in_the_queue_is_not_lost(self):
        self.expect({}, consumer=CONSUMER[:4] + CONSUMER[6:], drain=['F 1 2 1 0 1 99'])

    def test_a_confirmed_attempt_is_not_saved_by_another_one(self):
        producer = ['B 1 10', 'S 1 1 1 11', 'U 1 1 12', 'S 1 2 2 13', 'A 1 2 14']
        self.expect({'lost': 1}, producer=producer, consumer=CONSUMER[:4])

    def test_phantoms(self):
        self.expect({'phantom': 1}, drain=['F 1 3 1 0 1 99'])
        self.expect({'phantom': 1}, drain=['F 1 1 2 0 1 99'])

    def test_a_bad_crc(self):
        self.expect({'phantom': 1}, consumer=[line.replace('D 1 2 1 0 1 2 1', 'D 1 2 1 0 1 2 0') for line in CONSUMER])

    def test_a_false_not_sent(self):
        self.expect({'false': 1}, producer=[line.replace('A 2', 'X 2') for line in PRODUCER])
        self.expect({'false': 1}, producer=[line.replace('A 2', 'R 2') for line in PRODUCER])

    def test_outcomes(self):
        self.expect({'unsettled': 1}, producer=PRODUCER[:4])
        self.expect({'unsettled': 1}, producer=PRODUCER + ['A 2 1 16'])
        self.expect({}, producer=PRODUCER[:4] + ['B 3 20', 'Z 21'])  # killed
        self.expect({}, producer=PRODUCER[:4] + ['S 2\n', 'B 3 20'])  # in the middle of a line

    def test_sent_again_without_a_reason(self):
        self.expect({'again': 1}, producer=PRODUCER + ['S 1 2 2 16', 'A 1 2 17'], drain=['F 1 1 2 0 1 99'])

    def test_sent_again_with_one(self):
        producer = PRODUCER[:3] + ['U 1 1 13', 'A 2 1 14', 'S 1 2 2 16', 'A 1 2 17']
        verdict = self.expect({}, producer=producer, drain=['F 1 1 2 0 1 99'])
        self.assertEqual(verdict.counts['unknown and there'], 1)
        self.assertEqual(verdict.counts['sent again'], 1)

    def test_unknown_may_be_there_or_not(self):
        self.expect({}, producer=[line.replace('A 2', 'U 2') for line in PRODUCER])
        self.expect({}, producer=[line.replace('A 2', 'U 2') for line in PRODUCER], consumer=CONSUMER[:4])

    def test_a_duplicate_on_a_living_link(self):
        self.expect({'unexplained': 1}, consumer=CONSUMER[:6] + ['D 1 2 1 1 1 3 1 24'] + CONSUMER[6:])

    def test_a_duplicate_after_a_broken_link(self):
        broken = CONSUMER[:6] + ['L 1 0 24']
        self.expect({}, consumer=broken, second=['B 3 10', 'O 1 25', 'D 1 2 1 1 1 1 1 26'])

    def test_a_duplicate_after_a_clean_one(self):
        self.expect({'unexplained': 1}, second=['B 3 10', 'O 1 25', 'D 1 2 1 1 1 1 1 31'])
        not_acked = [line for line in CONSUMER if not line.startswith('K 1 2')]
        self.expect({}, consumer=not_acked, second=['B 3 10', 'O 1 25', 'D 1 2 1 1 1 1 1 31'])

    def test_a_duplicate_of_what_is_still_held(self):
        held = [line for line in CONSUMER if not line.startswith('K 1 2')][:-1]
        again = ['B 3 10', 'O 1 11', 'D 1 2 1 1 1 1 1 26']
        self.expect({'unexplained': 1}, consumer=held + ['C 1 28', 'L 1 1 30'], second=again)
        self.expect({}, consumer=held + ['C 1 25', 'L 1 1 30'], second=again)  # it was given back, and we have not heard close-ok yet
        self.expect({}, consumer=held + ['C 1 28', 'L 1 0 30'], second=again)  # nobody knows when the link broke

    def test_tags(self):
        self.expect({'tags': 1}, consumer=[line.replace('D 1 2 1 0 1 2', 'D 1 2 1 0 1 1') for line in CONSUMER])
        self.expect({'tags': 1}, consumer=[line.replace('D 1 2 1 0 1 2', 'D 1 2 1 0 1 3') for line in CONSUMER])
        self.expect({'tags': 2}, consumer=[line.replace('D 1 1 1 0 1 1', 'D 1 1 1 0 1 2') for line in CONSUMER])

    def test_an_ack_that_is_not_taken(self):
        self.expect({'refused': 1}, consumer=CONSUMER[:6] + ['E 1 2 LAGO_ESTALE 24', 'L 1 0 30'])
        self.expect({'refused': 1}, consumer=CONSUMER[:6] + ['E 1 2 LAGO_ECLOSED 24', 'L 1 1 30'])
        self.expect({'refused': 1}, consumer=CONSUMER[:4] + ['E 1 1 LAGO_ECLOSED 21'] + CONSUMER[4:6] + ['L 1 0 30'])
        self.expect({}, consumer=CONSUMER[:6] + ['E 1 2 LAGO_ECLOSED 24', 'L 1 0 30'])  # the channel had heard of it

    def test_nothing_confirmed_proves_nothing(self):
        self.assertTrue(self.judge().good())
        self.assertFalse(self.judge(producer=[line.replace('A ', 'U ') for line in PRODUCER]).good())

    def test_a_duplicate_without_its_mark(self):
        broken, again = CONSUMER[:6] + ['L 1 0 24'], ['B 3 10', 'O 1 25', 'D 1 2 1 0 1 1 1 26']
        self.expect({'unexplained': 1}, consumer=broken, second=again)
        self.expect({}, consumer=broken, second=again, faults=['kill 23 24 99'])
        self.expect({'unexplained': 1}, consumer=broken, second=again, faults=['kill 27 28 99'])

    def test_the_first_delivery_is_read_last(self):
        early = [line.replace('D 1 2 1 0', 'D 1 2 1 1') for line in CONSUMER[:6]] + ['L 1 0 40']
        late = ['B 3 10', 'O 1 12', 'D 1 2 1 0 1 1 1 26']
        self.expect({}, consumer=early, second=late + ['L 1 0 27'])
        self.expect({'unexplained': 1}, consumer=early, second=late + ['L 1 1 27'])  # then its link was not broken
        self.expect({'unexplained': 1}, consumer=CONSUMER[:6] + ['L 1 0 40'], second=late + ['L 1 0 27'])  # both are the first

    def test_a_duplicate_in_the_queue(self):
        self.expect({'unexplained': 1}, drain=['F 1 2 1 1 1 99'])
        self.expect({'unexplained': 1}, consumer=CONSUMER[:4] + CONSUMER[6:], drain=['F 1 2 1 0 1 98', 'F 1 2 1 0 1 99'])

    def test_disorder(self):
        consumer = ['B 2 10', 'D 1 2 1 0 1 1 1 20', 'D 1 1 1 0 1 2 1 21']
        self.expect({'disorder': 1}, consumer=consumer)
        self.expect({}, consumer=[line.replace('D 1 1 1 0', 'D 1 1 1 1') for line in consumer])


if __name__ == '__main__':
    unittest.main(verbosity=0)
