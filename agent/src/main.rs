//! `bbt-agent`: see `bbt_agent::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match bbt_agent::cli::main(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bbt-agent: {}", failure.sentence());
            ExitCode::from(failure.exit_code())
        }
    }
}
