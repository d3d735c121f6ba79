# shellcheck shell=bash
# What quickstart.sh and tests/run.sh share. Sourced, not run.

# Where rustup puts cargo; a shell that did not read the profile does not know it.
PATH=$PATH:${HOME:-}/.cargo/bin

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages PACKAGE... : Debian packages that were found missing, by apt-get.
install_packages() {
    [ $# -gt 0 ] || return 0
    have apt-get || fail "these Debian packages or their like are missing, and there is no apt-get: $*"
    [ "$(id -u)" -eq 0 ] || have sudo ||
        fail "installing $* needs root: run 'apt-get install $*' as root, then this again"
    say "Installing $*"
    as_root apt-get update -qq || say "apt-get update failed; trying with the lists that are here"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
        fail "apt-get could not install $*; its message stands above"
}

# The C compiler that SQLite and ring are built with.
missing_compiler() {
    have cc || echo gcc libc6-dev
}

# The toolchain that rust-toolchain.toml names. Run in the repository.
ensure_rust() {
    have cargo || fail "Rust is missing: install rustup as https://rustup.rs says, then run this again"
    cargo --version >/dev/null 2>&1 && return
    have rustup || fail "cargo does not start and there is no rustup: install it as https://rustup.rs says"
    say "Installing the Rust toolchain of rust-toolchain.toml"
    rustup toolchain install || fail "rustup could not install the toolchain; its message stands above"
}
