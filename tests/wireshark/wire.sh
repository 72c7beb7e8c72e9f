#!/bin/bash
# Record what the broker tests send through the loopback and let Wireshark judge it: wire.sh PROGRAM... The programs talk to the
# broker of AMQP_URL; without one a private broker is started. 77 says skipped: no tshark, no right to capture, no broker.
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
me=tests/wireshark/wire.sh
given_dir=${BROKER_DIR:-} # of the broker of AMQP_URL, if it is one of tests/broker/broker
. "$root/tests/support/shell.bash"
BROKER_DIR=$given_dir

BUFFER_MIB=256 # of the kernel, so that it need not drop anything while dumpcap waits for the disk
MARKER_PORT=9  # UDP "discard"; a marker says in the recording which program follows
MARKER=lago-marker
READY_LIMIT_S=60

capture=''

cleanup_more() {
    [ -z "$capture" ] || end_child "$capture"
}

skip() {
    echo "$*"
    exit 77
}

mark() { # WORDS
    printf '%s' "$MARKER $*" 2>/dev/null >/dev/udp/127.0.0.1/$MARKER_PORT
}

# Send markers until the recording has one. dumpcap writes in order, so all that came before is in it, too.
await_mark() { # WORDS
    local text="$* $RANDOM$RANDOM;" limit=$((SECONDS + READY_LIMIT_S)) grown=0
    until [[ $(tail -c +$((grown + 1)) "$recording" 2>/dev/null | grep -acF "$text") -gt 0 ]]; do
        kill -0 "$capture" 2>/dev/null || return 1
        [ $SECONDS -lt $limit ] || fail "the recording does not show what is sent"
        mark "$text"
        read -r -t 0.05 <> <(:) # dumpcap hands over in bunches
        grown=$(($(stat -c %s "$recording" 2>/dev/null || echo 65536) - 65536))
        [ $grown -ge 0 ] || grown=0
    done
}

start_capture() { # PORT
    recording=$scratch/wire.pcapng
    dumpcap -q -i lo -s 0 -B $BUFFER_MIB -f "tcp port $1 or udp port $MARKER_PORT" -w "$recording" 2>"$scratch/dumpcap" &
    capture=$!
    await_mark start && return
    capture=''
    skip "cannot capture: $(grep -m 1 -i -E 'permission|not permitted|no such|no interfaces' "$scratch/dumpcap" ||
        tail -n 1 "$scratch/dumpcap")"
}

stop_capture() {
    await_mark end || fail "dumpcap has ended by itself: $(tail -n 1 "$scratch/dumpcap")"
    kill -INT "$capture"
    wait "$capture"
    capture=''
    grep -E '^Packets received/dropped' "$scratch/dumpcap"
    grep -qE '^Packets received/dropped on interface .*: [0-9]+/0 ' "$scratch/dumpcap" || fail "the kernel has dropped packets"
}

[ $# -gt 0 ] || fail "which programs?"
command -v tshark >/dev/null && command -v dumpcap >/dev/null || skip "no tshark here"
make_scratch
if [ -z "${AMQP_URL:-}" ]; then
    [ -d /usr/lib/rabbitmq ] || skip "no AMQP_URL, and no rabbitmq-server here"
    start_broker
    export AMQP_URL BROKER_DIR BROKER_PID BROKER_VERSION LAGO_TEST_BROKER=$root/tests/broker/broker
fi
[[ $AMQP_URL =~ ^amqp://([^@/]*@)?(127\.0\.0\.1|localhost|\[::1\])(:([0-9]+))? ]] || skip "the broker of AMQP_URL is not on the loopback"
port=${BASH_REMATCH[4]:-5672}

start_capture "$port"
failed=0
for program; do
    mark "$(basename "$program")"
    run_child "$program" >"$scratch/output" 2>&1
    rc=$?
    [ $rc = 0 ] || [ $rc = 77 ] && continue
    echo "$(basename "$program") has failed ($rc):"
    tail -n 20 "$scratch/output"
    failed=1
done
stop_capture
extent=all
[ -n "${BROKER_DIR:-}" ] || extent=some
specification=$root/lib/codec/spec/amqp0-9-1.extended.xml
run_child python3 -B "$root/tests/wireshark/check.py" "$recording" "$port" "$specification" $extent || failed=1
exit $failed
