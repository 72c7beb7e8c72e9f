"""What is measured: jobs, by which mode of which client, beside which others, for which sizes of bodies."""
import collections

SIZES = [16, 256, 4096, 65536, 1048576]
COUNTED_SIZE = 256
LARGE = [65536, 1048576]
CLIENTS = {'lago': 'bench-lago', 'floor': 'bench-floor', 'rabbitmq-c': 'bench-rabbitmqc'}

# `mode` is the client's own word, `beside` the job of others that lago's is compared with, `sizes` those that it is for
Job = collections.namedtuple('Job', 'mode beside sizes clients env')


def job(mode, beside=None, sizes=None, clients=tuple(CLIENTS), **env):
    return Job(mode, beside, sizes or SIZES, clients, env)


# What stands in a row is measured in turn, A B A B: a noisy minute hits all of them.
ROWS = [
    {'publish': job('publish'), 'publish-plain': job('publish-plain', 'publish', clients=['lago']),
     'publish-tls': job('publish', clients=['lago', 'rabbitmq-c'], TLS=True)},
    {'publish-confirm': job('publish-confirm'),
     'publish-confirm-tls': job('publish-confirm', sizes=[256], clients=['lago', 'rabbitmq-c'], TLS=True)},
    {'consume-autoack': job('consume-autoack'),
     'consume-streamed': job('consume-autoack', 'consume-autoack', LARGE, ['lago'], BENCH_STREAM='1'),
     'consume-autoack-tls': job('consume-autoack', clients=['lago', 'rabbitmq-c'], TLS=True)},
    {'consume-ack': job('consume-ack'), 'consume-ack-each': job('consume-ack-each', 'consume-ack', clients=['lago']),
     'consume-ack-tls': job('consume-ack', sizes=[256], clients=['lago', 'rabbitmq-c'], TLS=True)},
    {'consume-ack100': job('consume-ack100', sizes=[256])},
    {'pingpong': job('pingpong', clients=['lago', 'echo', *list(CLIENTS)[1:]])},
]
JOBS = {name: job for row in ROWS for name, job in row.items()}
QUICK = ['publish', 'publish-tls', 'publish-confirm', 'consume-autoack', 'consume-ack', 'pingpong']
OF_RABBITMQ = ['publish', 'publish-plain', 'publish-confirm', 'consume-autoack', 'consume-ack', 'consume-ack-each', 'pingpong']

# Of bench-micro; the floor's own job, if there is one, is NAME-floor.
MICRO = ['decode', 'encode', 'encode-plain', 'table-lookup', 'table-encode']
MICRO_FLOOR = ['decode', 'encode']
MICRO_RABBITMQC = ['decode']
