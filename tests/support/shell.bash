# What tests/run, samples/demo and .ci/run share: children that end with us, one private broker, clear words when it ends badly.
# To be sourced by a script that has set `root` (the source tree) and `me` (its own name).
set -u -o pipefail

scratch='' # a directory of our own, removed at the end
child=''   # the process that we are waiting for
BROKER_DIR=''

fail() {
    echo "$me: $*" >&2
    exit 1
}

# Run a command in the background and wait for it: a signal is then handled at once, not when the command has ended.
run_child() {
    local rc
    "$@" &
    child=$!
    wait "$child"
    rc=$?
    child=''
    return $rc
}

end_child() { # PID: ask it to end, after 5 s insist
    local i
    kill "$1" 2>/dev/null || return 0
    for ((i = 0; i < 100; i++)); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.05
    done
    kill -9 "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}

# Leave nothing behind, whatever ends us. A script adds its own by defining `cleanup_more`.
cleanup() {
    trap '' INT TERM HUP
    [ -z "$child" ] || end_child "$child"
    ! declare -F cleanup_more >/dev/null || cleanup_more
    [ -z "$scratch" ] || {
        stop_broker
        rm -rf "$scratch"
    }
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

make_scratch() {
    scratch=$(mktemp -d) || fail "cannot write to ${TMPDIR:-/tmp}"
}

install_packages() {
    "$root/tests/install" "$@" || fail "cannot go on without these packages"
}

start_broker() { # OPTIONS of `broker start`
    run_child "$root/tests/broker/broker" start "$@" -w $$ >"$scratch/broker" || fail "cannot go on without a broker"
    . "$scratch/broker"
    unset "${!RABBITMQ_@}" # they would win over AMQP_URL
}

stop_broker() {
    local line
    [ -s "$scratch/broker" ] || return 0
    line=$(grep '^BROKER_DIR=' "$scratch/broker") && "$root/tests/broker/broker" stop "${line#*=}"
    rm -f "$scratch/broker"
}

# Build TARGET... in $root/build/NAME, set up anew when its options have changed or an earlier setup was cut short.
#   build NAME COMPILER 'MESON OPTIONS' [TARGET...]
build() {
    local dir=$root/build/$1 compiler=$2 options=$3 cxx=g++ lock
    shift 3
    [ "$compiler" = gcc ] || cxx=clang++
    mkdir -p "$dir" || fail "cannot write to $dir"
    exec {lock}<"$root/build"
    flock "$lock" # somebody else may be building here
    # an interrupted meson leaves no build.ninja
    if [ ! -f "$dir/build.ninja" ] || [ "$(cat "$dir/.options" 2>/dev/null)" != "$root $compiler $options" ]; then
        rm -rf "$dir" && mkdir -p "$dir" || fail "cannot write to $dir"
        CC=$compiler CXX=$cxx run_child meson setup $options "$dir" "$root" >"$dir/setup.log" 2>&1 || {
            fail "meson setup failed (all of it: $dir/setup.log): $(grep -m 1 ERROR "$dir/setup.log" || tail -n 1 "$dir/setup.log")"
        }
        echo "$root $compiler $options" >"$dir/.options"
    fi
    run_child ninja -C "$dir" "$@" >"$dir/build.log" 2>&1 || {
        grep -E 'error:|ERROR|undefined reference' "$dir/build.log" | head -n 20 >&2
        fail "the build failed (all of it: $dir/build.log)"
    }
    exec {lock}<&-
}
