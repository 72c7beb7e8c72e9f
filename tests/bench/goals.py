"""What lago shall reach (goals.txt), and what it has reached."""
import os

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'goals.txt')
NEARLY_NONE = 0.005  # what is once for hundreds of messages is none for each


def read_number(text, floor=None):
    """20, 1/18, or 350@248: then with the floor's figure beside it."""
    number, _, floors = text.partition('@')
    above, _, below = number.partition('/')
    return float(above) / float(below or 1) * max(1, (floor or 0) / float(floors or 'inf'))


def read_goals(prefix):
    """(job, octets, what, goal as it stands there, stretch or None) of the jobs with this prefix, which is taken off."""
    with open(TABLE, encoding='utf-8') as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith('#')]
    for job, octets, what, goal, *stretch in lines:
        if ('/' in job) == bool(prefix) and job.startswith(prefix):
            yield job[len(prefix):], int(octets), what, goal, read_number(stretch[0]) if stretch else None


def judge(what, value, goal, stretch):
    if what == 'msgs-to-best':
        return 'ok' if value >= goal else 'UNDER'
    if value > goal + (NEARLY_NONE if what == 'allocations' else 0):
        return 'OVER'
    return 'ok, stretch' if stretch is not None and value <= stretch else 'ok'


def show(what, value):
    """With as many digits as it is judged by."""
    if what in ('instructions', 'cpu-ns', 'ns'):
        return round(value, 0 if value >= 100 else 1)
    return round(value, 4 if what == 'x-rabbitmq-c' or not what.startswith(('x-', 'msgs')) else 2)


def print_goals(rows, prefix=''):
    """Those that were measured. Returns what was not reached."""
    known, floors = ({(row['mode'], row['size']): row for row in rows if row['client'] == client} for client in ('lago', 'floor'))
    missed = []
    print('\n%-18s %8s %-13s %10s %10s %10s' % ('goals', 'octets', 'what', 'measured', 'goal', 'stretch'))
    for job, octets, what, goal, stretch in read_goals(prefix):
        value = known.get((job, octets), {}).get(what)
        if value is None:
            continue
        value, goal = show(what, value), read_number(goal, floors.get((job, octets), {}).get(what))
        verdict = judge(what, value, goal, stretch)
        if verdict.isupper():
            missed.append(f'{job} {octets} {what}')
        print('%-18s %8d %-13s %10g %10.4g %10s  %s' % (job, octets, what, value, goal,
                                                        '' if stretch is None else f'{stretch:g}', verdict))
    print('missed: ' + (', '.join(missed) or 'none'))
    return missed
