#!/usr/bin/env bash
# Builds the agent as it is shipped: target/agent/bbt-agent, one small file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# The spool uses plain tables: what SQLite brings for searching text and maps is left out, and so is the way to
# load code from files.
export LIBSQLITE3_FLAGS="-USQLITE_ENABLE_FTS3 -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_FTS5 \
-USQLITE_ENABLE_RTREE -USQLITE_ENABLE_DBSTAT_VTAB -USQLITE_ENABLE_STAT4 -USQLITE_ENABLE_COLUMN_METADATA \
-USQLITE_ENABLE_LOAD_EXTENSION -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_DEPRECATED -DSQLITE_OMIT_JSON \
-DSQLITE_OMIT_SHARED_CACHE"
# No panic passes through C code, so it needs no tables for unwinding.
export CFLAGS="-fno-asynchronous-unwind-tables -fno-unwind-tables"
# Functions that came out the same are kept once.
export RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-Wl,--icf=all"

# Alone: a build of the whole workspace would give it the controller's features too.
cargo build --locked -p bbt-agent --profile agent "$@"
ls -l target/agent/bbt-agent
