#!/usr/bin/env bash
# Installs what the tests need and runs them all.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/lib.sh
. "$ROOT/deploy/lib.sh"

OUT=$ROOT/tests/out
VENV=$ROOT/tests/.venv
NODE_AT_LEAST=18
WINDOWS=x86_64-pc-windows-gnu

usage() {
    cat <<'END'
usage: tests/run.sh [--long]

Runs every check, in sections; stops after the first section that fails.
What each section said is kept in tests/out/.

  --long    instead, faults of chance as before a release: many hours, any share
            at a time. BBT_TEST_FIRST_SEED (1) is where to begin; how much of
            each, of which 0 is none but for the durable calls:
              BBT_TEST_AGENT_KILLS       10000    kills of agents under load
              BBT_TEST_CONTROLLER_KILLS   1000    kills of the controller
              BBT_TEST_DURABLE_EVERY         1    every so many durable calls fail
              BBT_TEST_CRASH_STATES     100000    disks after a power cut
              BBT_TEST_INTERLEAVINGS   1000000    orders of reports
              BBT_TEST_CUTS               1000    cut lines
              BBT_TEST_CLOCK_JUMPS         500    jumps of the clocks, each way
              BBT_TEST_FROZEN_PCS           40    PCs with a restore card, and
              BBT_TEST_FROZEN_STARTS        30    how often each starts
              BBT_TEST_CLONES               40    clones of one image
              BBT_TEST_STORM_DEVICES     10000    devices that come back at once
              BBT_TEST_FUZZ_SECS         21600    seconds of damaged bytes for each reader
              BBT_TEST_ABUSE_SECS          180    seconds of each wave of attacks
            Each test says with which of them its round is had again.
END
}

main() {
    cd "$ROOT"
    exec </dev/null
    # Errors of the harness name what failed; where they were made adds only length.
    export RUST_LIB_BACKTRACE=0
    mkdir -p "$OUT"
    : >"$OUT/counts"
    case "${1:-} $#" in
    ' 0') every_check ;;
    '--long 1') long_programme ;;
    '--help 1' | '-h 1') usage ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
}

every_check() {
    PRIVATE=$(mktemp -d "${TMPDIR:-/tmp}/bbt-tests.XXXXXX")
    trap leave EXIT
    section packages "Debian packages" debian_packages
    section toolchain "Rust toolchain and crates" toolchain
    section scripts "Syntax of the scripts" script_syntax
    section postgres "A private PostgreSQL" start_postgres
    # By the socket in that folder; the store's tests on PostgreSQL fail without an address when it is required.
    export BBT_TEST_POSTGRES=postgres://bbt@${PRIVATE//\//%2F}/postgres BBT_TEST_POSTGRES_REQUIRED=1
    section format "Format" cargo fmt --all --check
    section clippy "Lints" cargo clippy --locked --workspace --all-targets -- -D warnings
    section doc "Documentation" documentation
    section build "Build" cargo build --locked --workspace --all-targets
    section windows "The agent for Windows" agent_for_windows
    section rust "Rust tests" rust_tests ci
    section doctests "Examples in the documentation" cargo test --locked --workspace --doc
    section grpc "A foreign gRPC client" foreign_client
    section browser "The console in a browser" browser
    totals
}

long_programme() {
    export BBT_TEST_FIRST_SEED=${BBT_TEST_FIRST_SEED:-1}
    export BBT_TEST_AGENT_KILLS=${BBT_TEST_AGENT_KILLS:-10000}
    export BBT_TEST_CONTROLLER_KILLS=${BBT_TEST_CONTROLLER_KILLS:-1000}
    export BBT_TEST_DURABLE_EVERY=${BBT_TEST_DURABLE_EVERY:-1}
    export BBT_TEST_CRASH_STATES=${BBT_TEST_CRASH_STATES:-100000}
    export BBT_TEST_INTERLEAVINGS=${BBT_TEST_INTERLEAVINGS:-1000000}
    export BBT_TEST_CUTS=${BBT_TEST_CUTS:-1000}
    export BBT_TEST_CLOCK_JUMPS=${BBT_TEST_CLOCK_JUMPS:-500}
    export BBT_TEST_FROZEN_PCS=${BBT_TEST_FROZEN_PCS:-40}
    export BBT_TEST_FROZEN_STARTS=${BBT_TEST_FROZEN_STARTS:-30}
    export BBT_TEST_CLONES=${BBT_TEST_CLONES:-40}
    export BBT_TEST_STORM_DEVICES=${BBT_TEST_STORM_DEVICES:-10000}
    export BBT_TEST_FUZZ_SECS=${BBT_TEST_FUZZ_SECS:-21600}
    export BBT_TEST_ABUSE_SECS=${BBT_TEST_ABUSE_SECS:-180}
    section packages "Debian packages" debian_packages
    section toolchain "Rust toolchain and crates" toolchain
    section build "Build" cargo build --locked --workspace --all-targets
    local from="from seed $BBT_TEST_FIRST_SEED on"
    section power-loss "Power cuts $from" rust_tests long power_loss::
    section order "Orders of reports $from" rust_tests long ingest_order::
    section kills "Kills $from" rust_tests long kills::
    section lines "Bad lines $from" rust_tests long lines::
    section clocks "Jumping clocks $from" rust_tests long clocks::
    section restore-cards "Restore cards" rust_tests long restore_cards::
    section clones "Clones" rust_tests long clones::
    section storm "A storm" rust_tests long storm::
    section abuse "Abuse of the ports" rust_tests long abuse::
    section bytes "Damaged bytes $from" rust_tests long hostile_bytes::
    section durable "Failing durable calls $from" rust_tests long durable::
    totals
}

# ---------------------------------------------------------------- sections

debian_packages() {
    local missing=()
    # shellcheck disable=SC2207 # a list of packages
    missing=($(missing_compiler))
    have git || missing+=(git)
    have lsblk && have lscpu && have setsid || missing+=(util-linux)
    have ip && have ss || missing+=(iproute2)
    have strace || missing+=(strace)
    have faketime || missing+=(faketime)
    have nft || missing+=(nftables)
    have openssl || missing+=(openssl)
    have x86_64-w64-mingw32-gcc || missing+=(gcc-mingw-w64-x86-64)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
    have chromium || missing+=(chromium)
    fc-list 2>/dev/null | grep -qi 'wqy-microhei' || missing+=(fontconfig fonts-wqy-microhei)
    if ! node_is_new_enough; then
        missing+=(nodejs npm)
    elif ! have npm; then
        missing+=(npm)
    fi
    install_packages "${missing[@]}"
    postgres_programs >/dev/null || install_postgres
    node_is_new_enough || fail "Node.js is $(node --version), the browser tests need $NODE_AT_LEAST or later"
}

node_is_new_enough() {
    have node && node -e "process.exit(parseInt(process.versions.node) >= $NODE_AT_LEAST ? 0 : 1)"
}

# Only the programs: told nothing, Debian's package makes and starts a server of its own.
install_postgres() {
    local told=/etc/postgresql-common/createcluster.conf
    install_packages postgresql-common
    as_root cp -p "$told" "$told.before-tests"
    # Whatever becomes of the installation, the next one is told what it was told before.
    # shellcheck disable=SC2064 # the name as it is now
    trap "as_root mv -f '$told.before-tests' '$told'" EXIT
    echo 'create_main_cluster = false' | as_root tee -a "$told" >/dev/null
    install_packages postgresql
}

# The folder of the newest server's programs; they are not on PATH.
postgres_programs() {
    local programs
    programs=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    [ -x "$programs/initdb" ] && echo "$programs"
}

# A server in a folder of its own, reached by a socket there and from nowhere else. It writes to the disk as in
# earnest: the store refuses one that does not.
start_postgres() {
    local programs
    programs=$(postgres_programs)
    [ "$(id -u)" -ne 0 ] || chown postgres "$PRIVATE"
    as_postgres "$programs/initdb" -D "$PRIVATE/data" -U bbt -A trust -E UTF8 --locale=C.UTF-8 -k --no-sync >/dev/null
    # Its own words go to a file, else it would hold this section's.
    as_postgres "$programs/pg_ctl" -D "$PRIVATE/data" -l "$PRIVATE/log" -o "-k '$PRIVATE' -c listen_addresses=''" \
        -w start >/dev/null || fail "PostgreSQL did not start: $(cat "$PRIVATE/log")"
    "$programs/postgres" --version
}

# The server's programs refuse root.
as_postgres() {
    if [ "$(id -u)" -ne 0 ]; then
        "$@"
    else
        (cd "$PRIVATE" && setpriv --reuid=postgres --regid=postgres --init-groups "$@")
    fi
}

# However the checks end.
leave() {
    if [ -e "$PRIVATE/data/postmaster.pid" ]; then
        as_postgres "$(postgres_programs)/pg_ctl" -D "$PRIVATE/data" -m fast -w stop >/dev/null ||
            say "PostgreSQL in $PRIVATE did not stop"
    fi
    rm -rf "$PRIVATE"
}

toolchain() {
    ensure_rust
    if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        rustup component add rustfmt clippy
    fi
    rustup target add "$WINDOWS"
    rustc --version
    # The checks over the lock file look at every package, those for other systems too.
    cargo metadata --format-version 1 --locked --offline >/dev/null 2>&1 || cargo fetch --locked
}

script_syntax() {
    local script
    for script in .ci/run deploy/*.sh tests/*.sh; do
        bash -n "$script"
        echo "$script"
    done
}

documentation() {
    # Private items too: nobody reads these pages but those who work inside.
    RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --workspace --no-deps --document-private-items
}

# Built and linked, not run: nothing here runs Windows. Lints look at what only Windows compiles.
agent_for_windows() {
    cargo clippy --locked -p bbt-agent --target "$WINDOWS" -- -D warnings
    cargo build --locked -p bbt-agent --target "$WINDOWS"
}

# rust_tests PROFILE [FILTER] : with nextest where it is installed.
rust_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --workspace --profile "$1" ${2:+"$2"}
    else
        cargo test --locked --workspace --no-fail-fast --lib --bins --tests ${2:+"$2"}
    fi
}

foreign_client() {
    if ! cmp -s tests/grpc/requirements.txt "$VENV/installed.txt" || ! "$VENV/bin/python" -c 'import grpc'; then
        rm -rf "$VENV"
        python3 -m venv "$VENV"
        "$VENV/bin/pip" install --quiet --disable-pip-version-check -r tests/grpc/requirements.txt
        cp tests/grpc/requirements.txt "$VENV/installed.txt"
    fi
    "$VENV/bin/python" tests/grpc/client.py "$(programs)/county"
}

browser() {
    cd tests/browser
    if ! cmp -s package-lock.json node_modules/installed.json; then
        npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
        cp package-lock.json node_modules/installed.json
    fi
    BBT_PROGRAMS=$(programs) node --test --test-reporter=tap ./*.test.mjs
}

# Where `cargo build` put the programs.
programs() {
    echo "${CARGO_TARGET_DIR:-$ROOT/target}/debug"
}

# ---------------------------------------------------------------- running and counting

# section NAME TITLE COMMAND... : runs the command, keeps what it says, stops everything if it fails.
section() {
    local name=$1 title=$2 began=$SECONDS status=0
    shift 2
    say "=== $title"
    # In a shell of its own, so that a failure inside of a function ends the function at once, as it should.
    set +e
    (
        set -euo pipefail
        "$@"
    ) 2>&1 | tee "$OUT/$name.log"
    status=${PIPESTATUS[0]}
    set -e
    count "$status" <"$OUT/$name.log" >>"$OUT/counts"
    say "--- $title: $((SECONDS - began)) s"
    if [ "$status" -ne 0 ]; then
        totals
        fail "the section \"$title\" failed; all it said is in tests/out/$name.log"
    fi
}

# count STATUS : the numbers that the runners report, "PASSED FAILED", one line for each report. A section that
# failed without a failed test, as by not compiling, counts as one.
count() {
    awk -v status="$1" '
        function report(passed, failed) {
            print passed + 0, failed + 0
            failures += failed
        }
        { gsub(/\033\[[0-9;]*m/, "") }
        # nextest: "Summary [ 1.4s] 20 tests run: 18 passed (1 slow), 1 failed, 1 timed out, 0 skipped"
        /^ +Summary \[/ { report(before("passed"), before("failed") + before("timed") + before("exec")) }
        # cargo test: "test result: ok. 5 passed; 0 failed; 0 ignored; ..."
        /^test result: / { report(before("passed"), before("failed")) }
        # our own: "12 passed, 0 failed"
        /^[0-9]+ passed, [0-9]+ failed$/ { report($1, $3) }
        # Node: "# pass 9" and "# fail 0"
        /^# pass [0-9]+$/ { report($3, 0) }
        /^# fail [0-9]+$/ { report(0, $3) }
        function before(word,    i) {
            for (i = 2; i <= NF; i++) if (index($i, word) == 1) return $(i - 1) + 0
            return 0
        }
        END { if (status != 0 && failures == 0) report(0, 1) }
    '
}

totals() {
    awk '{ passed += $1; failed += $2 } END { printf "%d passed, %d failed\n", passed, failed }' "$OUT/counts"
}

main "$@"
