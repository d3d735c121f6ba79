#!/usr/bin/env bash
# A county on this machine, with this machine as its first device.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/lib.sh
. "$ROOT/deploy/lib.sh"

DATA=${BBT_QUICKSTART_DATA:-$ROOT/.bbt}
PROGRAMS=${BBT_QUICKSTART_PROGRAMS:-}
FIRST_REPORT_SECS=60
READY_SECS=60
STOP_SECS=60

usage() {
    cat <<'END'
usage: deploy/quickstart.sh [--stop]

Builds controller and agent, starts the controller, enrols this machine with the
real agent and waits for its first report. Can be run again: what runs is kept,
what is down is started. All data is in .bbt/ in the repository.

  --stop    ends the two processes that this script started; the data stays

Environment:
  BBT_CONTROLLER__LISTEN__AGENTS      ADDRESS:PORT for reports        (port 7443)
  BBT_CONTROLLER__LISTEN__ENROLLMENT  ADDRESS:PORT for enrolment      (port 7444)
  BBT_CONTROLLER__LISTEN__CONSOLE     ADDRESS:PORT of the console     (port 8443)
  BBT_CONTROLLER__LISTEN__ADMIN       ADDRESS:PORT for health checks  (port 9443)
  BBT_QUICKSTART_DATA                 another folder than .bbt
  BBT_QUICKSTART_PROGRAMS             a folder with both programs: nothing is built
END
}

main() {
    case "${1:-} $#" in
    ' 0') start ;;
    '--stop 1') stop ;;
    '--help 1' | '-h 1') usage ;;
    '--demo 1') fail "--demo comes with the simulator, which this version does not have yet" ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
}

start() {
    umask 077
    mkdir -p "$DATA/log" "$DATA/run"
    build
    export BBT_CONTROLLER_DATA=$DATA/controller
    initialise
    start_controller
    enrol
    start_agent
    wait_for_report
    summary
}

stop() {
    find_programs
    stop_one agent "$AGENT"
    stop_one controller "$CONTROLLER"
}

# ---------------------------------------------------------------- steps

find_programs() {
    local folder=${PROGRAMS:-${CARGO_TARGET_DIR:-$ROOT/target}/release}
    CONTROLLER=$(realpath -m "$folder/bbt-controller")
    AGENT=$(realpath -m "$folder/bbt-agent")
}

build() {
    find_programs
    if [ -z "$PROGRAMS" ]; then
        cd "$ROOT"
        # shellcheck disable=SC2046 # a list of packages
        install_packages $(missing_compiler)
        ensure_rust
        say "Building both programs (several minutes the first time)"
        cargo build --release --locked -p bbt-controller -p bbt-agent ||
            fail "the build failed; cargo's message stands above"
    fi
    [ -x "$CONTROLLER" ] || fail "$CONTROLLER is missing"
    [ -x "$AGENT" ] || fail "$AGENT is missing"
}

initialise() {
    if [ -e "$BBT_CONTROLLER_DATA/controller.toml" ]; then
        say "Data of an earlier run found in $(short "$DATA")"
        return
    fi
    if [ ! -s "$DATA/admin-password" ]; then
        head -c 15 /dev/urandom | base64 | tr '+/' 'xy' >"$DATA/admin-password"
    fi
    # This machine first: its own agent must reach the county whatever its name resolves to.
    local name names=(--name 127.0.0.1 --name localhost --name "$(hostname)")
    for name in $(hostname -I 2>/dev/null || true); do
        names+=(--name "$name")
    done
    "$CONTROLLER" init --county 本机体验县 "${names[@]}" --admin-password-file "$DATA/admin-password" \
        >>"$DATA/log/controller.log" || fail "making the county failed; the message stands above"
    say "Made a county in $(short "$DATA/controller")"
}

start_controller() {
    local listen=$BBT_CONTROLLER_DATA/run/listen.json pid
    if pid=$(running controller "$CONTROLLER"); then
        say "The controller runs already (process $pid$(outdated "$pid"))"
        return
    fi
    same_addresses_as_before
    check_port AGENTS 7443
    check_port ENROLLMENT 7444
    check_port CONSOLE 8443
    check_port ADMIN 9443
    rm -f "$listen"
    launch controller "$CONTROLLER" serve --data "$BBT_CONTROLLER_DATA"
    wait_until "$READY_SECS" "the controller's ports" controller "$CONTROLLER" test -s "$listen"
    remember_addresses "$listen"
    say "Started the controller (process $(cat "$DATA/run/controller.pid"))"
}

enrol() {
    if [ -e "$DATA/enrolled" ] && [ -d "$DATA/agent" ]; then
        return
    fi
    local school token
    school=$("$CONTROLLER" school list --json | json_text code)
    if [ -z "$school" ]; then
        school=LOCAL
        "$CONTROLLER" school add --code "$school" --name 本机体验学校 >/dev/null
    fi
    token=$("$CONTROLLER" token create --school "$school" --json)
    json_text token <<<"$token" | "$AGENT" enroll --state "$DATA/agent" --token-file - \
        --controller "$(json_text enrollment <<<"$token")" \
        --ca-sha256 "$(json_text ca_sha256 <<<"$token")" \
        >>"$DATA/log/agent.log" || fail "enrolling this machine failed; the message stands above"
    : >"$DATA/enrolled"
    say "Enrolled this machine"
}

start_agent() {
    local pid
    REPORT_BEFORE=
    if pid=$(running agent "$AGENT"); then
        say "The agent runs already (process $pid$(outdated "$pid"))"
        return
    fi
    REPORT_BEFORE=$(last_report)
    launch agent "$AGENT" run --state "$DATA/agent"
    say "Started the agent (process $(cat "$DATA/run/agent.pid"))"
}

wait_for_report() {
    wait_until "$FIRST_REPORT_SECS" "a committed report of this machine" agent "$AGENT" new_report
    say "The county has this machine's report of $(last_report)"
}

summary() {
    local console
    console=$(json_text console <"$BBT_CONTROLLER_DATA/run/listen.json")
    case $console in
    0.0.0.0:* | '[::]':*) console=127.0.0.1:${console##*:} ;;
    esac
    cat <<END

Console   https://$console   (the browser warns: the certificate is the county's own)
User      admin
Password  in $(short "$DATA/admin-password")
Logs      in $(short "$DATA/log")
Stop      deploy/quickstart.sh --stop
END
}

stop_one() {
    local name=$1 program=$2 pid secs=0
    if ! pid=$(running "$name" "$program"); then
        say "The $name does not run"
        rm -f "$DATA/run/$name.pid"
        return
    fi
    kill -TERM "$pid"
    while running "$name" "$program" >/dev/null; do
        [ "$secs" -lt "$((STOP_SECS * 5))" ] ||
            fail "the $name (process $pid) did not end within $STOP_SECS s; its log is in $(short "$DATA/log")"
        [ "$secs" -ne 10 ] || say "Waiting for the $name to end"
        sleep 0.2
        secs=$((secs + 1))
    done
    rm -f "$DATA/run/$name.pid"
    say "Stopped the $name (process $pid)"
}

# ---------------------------------------------------------------- processes

# launch NAME PROGRAM ARGUMENT... : in the background, outliving this script and its terminal.
launch() {
    local name=$1
    shift
    setsid "$@" >>"$DATA/log/$name.log" 2>&1 </dev/null &
    echo $! >"$DATA/run/$name.pid"
}

# running NAME PROGRAM : prints the process id if the process in the pid file is that program.
running() {
    local pid exe
    pid=$(cat "$DATA/run/$1.pid" 2>/dev/null) || return 1
    exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
    [ "${exe% (deleted)}" = "$2" ] || return 1
    echo "$pid"
}

outdated() {
    case $(readlink "/proc/$1/exe") in
    *' (deleted)') echo ', built anew since: --stop, then run this again to use the new one' ;;
    esac
}

# wait_until SECS WHAT NAME PROGRAM CONDITION... : fails early when the process that must bring it about ends.
wait_until() {
    local deadline=$((SECONDS + $1)) told=$((SECONDS + 2)) what=$2 name=$3 program=$4
    shift 4
    # A child that was just started is this script itself until it has become the program.
    sleep 0.1
    until "$@"; do
        running "$name" "$program" >/dev/null || fail "the $name ended instead of giving $what; its last words:
$(tail -n 5 "$DATA/log/$name.log")"
        [ "$SECONDS" -lt "$deadline" ] || fail "waited in vain for $what; the last words of the $name:
$(tail -n 5 "$DATA/log/$name.log")"
        if [ "$SECONDS" -ge "$told" ]; then
            say "Waiting for $what ($((deadline - SECONDS)) s left)"
            told=$((SECONDS + 5))
        fi
        sleep 0.2
    done
}

last_report() {
    "$CONTROLLER" device list --json | json_text last_report_at
}

new_report() {
    local now
    now=$(last_report)
    [ -n "$now" ] && [ "$now" != "$REPORT_BEFORE" ]
}

# ---------------------------------------------------------------- addresses

# check_port NAME DEFAULT : says who holds the port before the controller trips over it.
check_port() {
    local variable=BBT_CONTROLLER__LISTEN__$1 address port host line holder
    address=${!variable:-0.0.0.0:$2}
    port=${address##*:} host=${address%:*}
    have ss || return 0
    while read -r _ _ _ line holder; do
        case " $host ${line%:*} " in
        *' 0.0.0.0 '* | *' * '* | *' [::] '* | " $host $host ")
            holder=$(sed -n 's/.*(("\([^"]*\)",pid=\([0-9]*\).*/ by \1 (process \2)/p' <<<"$holder")
            fail "port $port is already in use$holder: end that, or choose another with $variable=$host:PORT"
            ;;
        esac
    done < <(ss -Hltnp "sport = :$port")
}

# The device knows the county by its addresses, so a county comes back where it was unless told otherwise.
same_addresses_as_before() {
    local name value
    [ -e "$DATA/addresses" ] || return 0
    while IFS='=' read -r name value; do
        case ${!name:-} in
        '' | *:0) export "$name=$value" ;;
        esac
    done <"$DATA/addresses"
}

remember_addresses() {
    local name
    for name in agents enrollment console admin; do
        echo "BBT_CONTROLLER__LISTEN__${name^^}=$(json_text "$name" <"$1")"
    done >"$DATA/addresses"
}

# ---------------------------------------------------------------- words

# json_text KEY : the first text under KEY of the JSON on the standard input; empty where there is none.
json_text() {
    tr -d '\n' | grep -o "\"$1\" *: *\"[^\"]*\"" | head -n 1 | sed 's/.*"\([^"]*\)"$/\1/' || true
}

short() {
    case $1 in
    "$PWD"/*) echo "${1#"$PWD"/}" ;;
    *) echo "$1" ;;
    esac
}

main "$@"
