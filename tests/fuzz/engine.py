#!/usr/bin/env python3
"""Runs the fuzzers that tests/fuzz/run has built, and counts. Packs and unpacks corpora; plants the bugs of the control.

    engine.py --binaries DIR --corpus DIR --checked-in DIR [--engine E] [--seconds N] [--executions N] [--jobs N]
              [--max-len N] [--merge] TARGET...
    engine.py --plant TREE COPY
    engine.py --control --binaries DIR --corpus DIR --checked-in DIR TARGET...
    engine.py --pack FILE PATH...          engine.py --unpack FILE DIR
"""
import argparse
import concurrent.futures
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import time

# Longer inputs find nothing that shorter ones do not, and cost more.
MAX_LEN = {'api': 1500, 'confirm': 300, 'encode': 300, 'frames': 400, 'header': 400, 'method': 300, 'session': 20000, 'table': 300,
           'tls': 300, 'url': 500}
PACK_FILES, PACK_BYTES = 2500, 256 << 10  # of a target, checked in
CONTROL_SECONDS = 60
# A bug for each target: file, what stands there, what is planted.
PLANTS = {
    'method': ('lib/codec/method.c', 'if (bits->count == 0) {\n        bits->octet = reader_u8(r);',
               'if (bits->count == 0) {\n        bits->octet = *r->at++;'),
    'header': ('lib/codec/properties.c', 'return r.failed || reader_left(&r) > 0 ?', 'return r.failed ?'),
    'table': ('lib/codec/table.c', 'case LAGO_TYPE_INT16: v.as.integer = (int16_t)reader_u16(r); break;',
              'case LAGO_TYPE_INT16: v.as.integer = reader_u16(r); break;'),
    'url': ('lib/client/url_query.c', 'if (!q->reason || q->secret) return rc;', 'if (!q->reason) return rc;'),
    'encode': ('lib/codec/table_builder.c', 'if (v > max || v < -max - 1) writer_fail', 'if (v > max) writer_fail'),
    'frames': ('lib/session/input.c', 'bool good = s->input[0] == FRAME_END;', 'bool good = true;'),
    'session': ('lib/session/input.c', '    (void)acks_flush(s, ch); /* nothing may follow', '    /* nothing may follow'),
    'confirm': ('lib/client/confirms.c', 'tag >= c->next                  ?', 'tag > c->next                   ?'),
    'tls': ('adapters/tls/tls_filter.c', '    if (f->failed) return TLS_FAILED;\n    if (f->pipe.out_of_memory)',
            '    if (f->pipe.out_of_memory)'),
    'api': ('lib/client/later.c', 'if (later->id != timer_id) continue;', 'if (later->id < timer_id) continue;'),
}


def environment():
    return dict(os.environ, ASAN_OPTIONS=('quarantine_size_mb=8:malloc_context_size=0:max_malloc_fill_size=0:detect_leaks=0:'
                              'abort_on_error=1:symbolize=0'),
                UBSAN_OPTIONS='halt_on_error=1:abort_on_error=1', AFL_SKIP_CPUFREQ='1', AFL_NO_UI='1', AFL_NO_AFFINITY='1',
                AFL_HANG_TMOUT='20000', AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES='1', AFL_IGNORE_SEED_PROBLEMS='1')


# ---------------------------------------------------------------- packs: a number of bytes in four octets, these bytes, and so on

def pack(file, inputs):
    with open(file, 'wb') as out:
        for data in sorted(inputs, key=lambda d: (len(d), d)):
            out.write(struct.pack('>I', len(data)) + data)


def packed(file):
    data = open(file, 'rb').read()
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from('>I', data, at)
        yield data[at + 4:at + 4 + size]
        at += 4 + size


def inputs_of(path):
    if os.path.isdir(path):
        for name in sorted(os.listdir(path)):
            yield from inputs_of(os.path.join(path, name))
    elif path.endswith('.pack') and os.path.exists(path):
        yield from packed(path)
    elif os.path.exists(path):
        yield open(path, 'rb').read()


def unpack(path, directory):
    os.makedirs(directory, exist_ok=True)
    for data in inputs_of(path):
        name = os.path.join(directory, hashlib.sha1(data).hexdigest())
        if not os.path.exists(name):
            open(name, 'wb').write(data)


# ---------------------------------------------------------------- engines

class Result:
    def __init__(self, target):
        self.target, self.executions, self.edges, self.edges_before, self.seconds, self.findings = target, 0, 0, 0, 0.0, 0

    def line(self):
        new = 100.0 * (self.edges - self.edges_before) / self.edges if self.edges else 0.0
        rate = self.executions / self.seconds if self.seconds else 0
        return (f'{self.target:8} {self.executions:>13,} executions {self.edges:>6} edges {new:6.2f} % of them new in the last fifth '
                f'{rate:>9,.0f}/s {self.findings} findings')


def read_log(log, result):
    history = []
    for line in open(log, errors='replace'):
        found = re.match(r'#(\d+)\s+\S+\s+cov: (\d+)', line)
        if found:
            history.append((int(found[1]), int(found[2])))
        found = re.match(r'stat::number_of_executed_units:\s*(\d+)', line)
        if found:
            result.executions = int(found[1])
    if not history:
        return
    result.executions = max(result.executions, history[-1][0])
    result.edges = history[-1][1]
    result.edges_before = max((cov for n, cov in history if n <= result.executions * 0.8), default=0)


def run_libfuzzer(target, o, seconds):
    corpus, found = os.path.join(o.corpus, target), os.path.join(o.corpus, 'found', target)
    os.makedirs(found, exist_ok=True)
    log = os.path.join(o.corpus, target + '.log')
    command = [os.path.join(o.binaries, 'fuzz_' + target), f'-max_len={o.max_len or MAX_LEN[target]}', '-entropic=0',
               '-print_final_stats=1', '-detect_leaks=0', '-timeout=20', '-rss_limit_mb=2500', f'-artifact_prefix={found}/']
    dictionary = os.path.join(o.checked_in, '..', 'amqp.dict')
    if os.path.exists(dictionary) and target not in ('url', 'confirm', 'api', 'tls'):
        command.append('-dict=' + dictionary)
    command.append(f'-runs={o.executions}' if o.executions else f'-max_total_time={seconds}')
    result, before, started = Result(target), len(os.listdir(found)), time.monotonic()
    with open(log, 'w', encoding='utf-8') as out:
        rc = subprocess.call(command + [corpus], stdout=out, stderr=out, env=environment())
    result.seconds = time.monotonic() - started
    read_log(log, result)
    result.findings = max(len(os.listdir(found)) - before, 1 if rc else 0)
    return result


def run_afl(target, o, seconds):
    corpus, out = os.path.join(o.corpus, target), os.path.join(o.corpus, 'afl-' + target)
    shutil.rmtree(out, ignore_errors=True)
    limit = ['-E', str(o.executions)] if o.executions else ['-V', str(seconds)]
    command = ['afl-fuzz', '-i', corpus, '-o', out, '-m', 'none', '-t', '5000+', '-G', str(o.max_len or MAX_LEN[target]),
               *limit, '--', os.path.join(o.binaries, 'fuzz_' + target)]
    result, started = Result(target), time.monotonic()
    first = {'AFL_BENCH_UNTIL_CRASH': '1'} if o.control else {}
    with open(os.path.join(o.corpus, target + '.log'), 'w', encoding='utf-8') as log:
        rc = subprocess.call(command, stdout=log, stderr=log, env={**environment(), **first})
    result.seconds = time.monotonic() - started
    stats = os.path.join(out, 'default', 'fuzzer_stats')
    if rc or not os.path.exists(stats):
        result.findings = 1
        return result
    values = dict(re.findall(r'^(\w+)\s*: (.*)$', open(stats, encoding='utf-8').read(), re.M))
    result.executions, result.edges = int(values['execs_done']), int(values['edges_found'])
    result.findings = int(values.get('saved_crashes', 0)) + int(values.get('saved_hangs', 0))
    plot = [line.split(', ') for line in open(os.path.join(out, 'default', 'plot_data'), encoding='utf-8') if line[0] != '#']
    early = [int(row[12]) for row in plot if int(row[11]) <= result.executions * 0.8]
    result.edges_before = (early or [int(row[12]) for row in plot] or [0])[-1 if early else 0]  # brief runs: all there is
    return result


def merge(target, o):
    """What is checked in: the smallest inputs that cover all that is covered; regress* files stay as they are."""
    corpus, small = os.path.join(o.corpus, target), os.path.join(o.corpus, 'merged-' + target)
    shutil.rmtree(small, ignore_errors=True)
    os.makedirs(small)
    subprocess.call([os.path.join(o.binaries, 'fuzz_' + target), '-merge=1', f'-max_len={MAX_LEN[target]}', small, corpus],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    kept, size = [], 0
    for data in sorted(inputs_of(small), key=len):
        if len(kept) < PACK_FILES and size + len(data) <= PACK_BYTES:
            kept.append(data)
            size += len(data)
    os.makedirs(os.path.join(o.checked_in, target), exist_ok=True)
    pack(os.path.join(o.checked_in, target, 'found.pack'), kept)
    print(f'{target}: {len(kept)} inputs, {size} bytes')


# ---------------------------------------------------------------- the control

def plant(tree, copy):
    os.makedirs(copy)
    for part in ('include', 'lib', 'adapters', 'tests', 'meson.build', 'meson_options.txt', 'samples'):
        source = os.path.join(tree, part)
        (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, os.path.join(copy, part))
    for target, (file, old, new) in PLANTS.items():
        path = os.path.join(copy, file)
        text = open(path, encoding='utf-8').read()
        if text.count(old) != 1:
            sys.exit(f'engine.py: the bug for {target} cannot be planted: {file} has changed')
        open(path, 'w', encoding='utf-8').write(text.replace(old, new))


def control(targets, o):
    missed = 0
    for target in targets:
        unpack(os.path.join(o.checked_in, target, 'seeds.pack'), os.path.join(o.corpus, target))
        result = (run_afl if o.engine == 'afl' else run_libfuzzer)(target, o, CONTROL_SECONDS)
        missed += result.findings == 0
        print(f'{target:8} planted bug {"found" if result.findings else "NOT FOUND"} after {result.seconds:.1f} s, '
              f'{result.executions:,} executions', flush=True)
    print(f'fuzz control: {len(targets)} planted bugs, {missed} not found')
    return 1 if missed else 0


def main():
    if sys.argv[1:2] == ['--plant']:
        return plant(*sys.argv[2:4])
    if sys.argv[1:2] == ['--pack']:
        return pack(sys.argv[2], {d for path in sys.argv[3:] for d in inputs_of(path)})
    if sys.argv[1:2] == ['--unpack']:
        return unpack(*sys.argv[2:4])
    parser = argparse.ArgumentParser()
    for name in ('--binaries', '--corpus', '--checked-in'):
        parser.add_argument(name, required=True)
    parser.add_argument('--engine', default='libfuzzer')
    parser.add_argument('--seconds', type=int, default=60)
    parser.add_argument('--executions', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=1)
    parser.add_argument('--max-len', type=int, default=0)
    parser.add_argument('--merge', action='store_true')
    parser.add_argument('--control', action='store_true')
    parser.add_argument('targets', nargs='+')
    o = parser.parse_args()
    os.makedirs(o.corpus, exist_ok=True)
    if o.control:
        return control(o.targets, o)
    for target in o.targets:
        unpack(os.path.join(o.checked_in, target), os.path.join(o.corpus, target))
    engine = run_afl if o.engine == 'afl' else run_libfuzzer
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        results = []
        for result in pool.map(lambda t: engine(t, o, o.seconds), o.targets):
            print(result.line(), flush=True)
            results.append(result)
    if o.merge:
        for target in o.targets:
            merge(target, o)
    findings = sum(r.findings for r in results)
    print(f'fuzz: {sum(r.executions for r in results):,} executions of {len(results)} targets, {findings} findings')
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
