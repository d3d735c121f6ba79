//! The county's controller: reads its arguments, does what they say, ends with 0, 1 or 2.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match bbt_controller::cli::run(bbt_controller::cli::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bbt-controller: {error}");
            ExitCode::FAILURE
        }
    }
}
