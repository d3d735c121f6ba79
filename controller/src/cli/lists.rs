//! `status`, `school`, `token`: ask, and print what comes.

use clap::Subcommand;
use serde_json::{Value as Json, json};

use super::{
    Failure, Output,
    ask::{ask, ask_all},
    table::{self, cell},
};
use crate::{config::DataFolder, operation::Operation};

#[derive(Debug, Subcommand)]
pub(super) enum School {
    /// Add a school.
    Add {
        /// Ten-digit 学校标识码, or a code of the county's own.
        #[arg(long)]
        code: String,
        /// Name, as people say it.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// List schools.
    List(Output),
}

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token; it is shown only now.
    Create {
        /// Code of the school that its devices belong to.
        #[arg(long, value_name = "CODE")]
        school: String,
        /// How many devices may use it.
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// For how long, such as 90m, 72h or 7d.
        #[arg(long, default_value = "72h", value_parser = parse_span, value_name = "SPAN")]
        expires: u64,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn status(folder: &DataFolder, output: Output) -> Result<(), Failure> {
    let status = ask(folder, Operation::Status).await?;
    if output.json {
        return print_json(&status);
    }
    let running = if status["live"].is_null() { "not running" } else { "running" };
    println!("{} ({running}, version {})", cell("", &status["county"]), cell("", &status["version"]));
    for (label, key) in [
        ("time", "time"),
        ("devices", "devices"),
        ("  reported within 15 min", "devices_reporting"),
        ("  revoked", "devices_revoked"),
        ("store", "store"),
        ("clock", "clock"),
        ("issuing certificate until", "issuing_until"),
        ("trust domain", "trust_domain"),
        ("SHA-256 of the root", "ca_sha256"),
    ] {
        println!("{label:<26}{}", cell(key, &status[key]));
    }
    for trouble in status["troubles"].as_array().into_iter().flatten() {
        println!("TROUBLE since {}: {}", cell("", &trouble["since"]), cell("", &trouble["sentence"]));
    }
    Ok(())
}

impl School {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        match self {
            Self::Add { code, name, output } => {
                let school = ask(folder, Operation::SchoolAdd { code, name }).await?;
                if output.json {
                    return print_json(&school);
                }
                println!("school {} {} was added", cell("", &school["code"]), cell("", &school["name"]));
                Ok(())
            }
            Self::List(output) => {
                let schools = ask_all(folder, |after| Operation::SchoolList { after }).await?;
                let columns =
                    [("CODE", "code"), ("NAME", "name"), ("DEVICES", "devices"), ("ADDED", "created_at")];
                let empty = "no schools yet: bbt-controller school add --code CODE --name NAME";
                print_list(&schools, &columns, output, empty)
            }
        }
    }
}

impl Token {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let Self::Create { school, uses, expires, output } = self;
        let token = ask(folder, Operation::TokenCreate { school, uses, expires_secs: expires }).await?;
        if output.json {
            return print_json(&token);
        }
        let text = |key: &str| cell(key, &token[key]);
        println!("token    {} (shown only now)", text("token"));
        println!("school   {}, for {} devices, until {}", text("school"), text("uses"), text("expires_at"));
        println!("on the device:");
        println!(
            "  bbt-agent enroll --controller {} --token {} --ca-sha256 {}",
            text("enrollment"),
            text("token"),
            text("ca_sha256")
        );
        Ok(())
    }
}

pub(super) fn print_json(value: &Json) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

pub(super) fn print_list(
    items: &[Json],
    columns: &[table::Column],
    output: Output,
    empty: &str,
) -> Result<(), Failure> {
    if output.json {
        return print_json(&json!({"items": items, "next": null}));
    }
    table::print(items, columns, empty);
    Ok(())
}

/// A document as indented lines.
pub(super) fn print_tree(value: &Json, depth: usize) {
    let Json::Object(fields) = value else { return };
    let indent = "  ".repeat(depth);
    for (key, value) in fields {
        match value {
            Json::Object(_) => {
                println!("{indent}{key}");
                print_tree(value, depth + 1);
            }
            Json::Array(items) if items.is_empty() => println!("{indent}{key:<24} none"),
            Json::Array(items) => {
                println!("{indent}{key}");
                for item in items {
                    println!("{indent}  -");
                    print_tree(item, depth + 2);
                }
            }
            value => println!("{indent}{key:<24} {}", cell(key, value)),
        }
    }
}

/// `90m`, `72h`, `7d` or plain seconds, as seconds.
fn parse_span(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let count: Option<u64> = digits.parse().ok();
    count.and_then(|count| count.checked_mul(unit)).ok_or_else(|| "write it as 90m, 72h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        assert_eq!(parse_span("72h"), Ok(259_200));
        assert_eq!(parse_span("7d"), Ok(604_800));
        assert_eq!(parse_span("30"), Ok(30));
        for bad in ["", "h", "1w", "-1h", "99999999999999999d"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}
