#!/usr/bin/env python3
"""A command that must not pass for a success: refused.py CODE 'WORDS' COMMAND...  It ends with this code, and says these words."""
import subprocess
import sys


def main(code, words, *command):
    if command[0].endswith('.py'):
        command = (sys.executable, '-B', *command)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors='replace', timeout=60, check=False)
    told = done.stdout + done.stderr
    if done.returncode == int(code) and words in told and 'Traceback' not in told:
        return 0
    print(f'{" ".join(command)}: exit code {done.returncode}, not {code} with "{words}":\n{told}')
    return 1


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
