//! The command line: a handful of commands, parsed by hand because there are so few of them.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use lexopt::{Arg, Parser, ValueExt};
use serde_json::json;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    VERSION,
    collect::{self, Runner, usage::Session},
    config::{Config, ConfigError, nearest},
    doctor::{self, Verdict},
    folder::{self, Folder},
    identity::{
        enroll::{EnrolOrder, enrol},
        trust::Fingerprint,
    },
    platform::{self, Platform},
    report,
    runtime::{self, ALL_SECTIONS},
    seal,
    spool::{CheckReport, FrameRow, Inspector},
    status::{Status, rfc3339},
    uplink::address::Address,
};

/// The variable that names the state folder.
const STATE_VARIABLE: &str = "BBT_AGENT_STATE";
/// A token is a line of text; a larger file is another file.
const TOKEN_MAX_BYTES: u64 = 4096;

const HELP: &str = "\
bbt-agent: collects what this device is and how it stands, keeps it, reports it to the county

  bbt-agent enroll --controller HOST:PORT (--token T | --token-file F|-) --ca-sha256 HEX
                              makes this device known; the line is printed by `bbt-controller token create`
  bbt-agent run               collects and reports until it is stopped
  bbt-agent collect           one pass, printed; nothing is sent, no enrolment needed
  bbt-agent privacy           every field that can be sent, with its purpose, and what is never collected
  bbt-agent status            how the agent stands
  bbt-agent doctor            what is wrong, and what to do; exit code 1 if reports do not get through
  bbt-agent seal              makes this disk ready to be copied: removes key, certificate and what waits to be sent
  bbt-agent spool list        what waits to be sent
  bbt-agent spool check       reads everything that waits and says whether it is whole

  --state DIR      state folder (BBT_AGENT_STATE; default /var/lib/bbt-agent, on Windows %ProgramData%\\bbt)
  --config FILE    settings (default /etc/bbt/agent.toml, on Windows %ProgramData%\\bbt\\agent.toml; may be missing)
  --json           collect, privacy, status, doctor, spool: one JSON document
  --help, --version

Exit codes: 0 done, 1 failed, 2 called wrongly.
";

const COMMANDS: &[&str] = &["enroll", "run", "collect", "privacy", "status", "doctor", "seal", "spool"];
const SPOOL_COMMANDS: &[&str] = &["list", "check"];
const FLAGS: &[&str] = &[
    "--state",
    "--config",
    "--json",
    "--help",
    "--version",
    "--controller",
    "--token",
    "--token-file",
    "--ca-sha256",
];

/// Why a command did not do what it should; the text is one sentence.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Exit code 2.
    CalledWrongly(String),
    /// Exit code 1.
    Failed(String),
}

impl Failure {
    /// The process ends with this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::CalledWrongly(_) => 2,
            Failure::Failed(_) => 1,
        }
    }

    /// What is printed.
    pub fn sentence(&self) -> &str {
        match self {
            Failure::CalledWrongly(sentence) | Failure::Failed(sentence) => sentence,
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Failed(error.to_string())
    }
}

/// What was typed, before it is checked as a whole.
#[derive(Debug, Default, PartialEq, Eq)]
struct Typed {
    words: Vec<String>,
    flags: Vec<&'static str>,
    state: Option<PathBuf>,
    config: Option<PathBuf>,
    controller: Option<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    ca_sha256: Option<String>,
}

/// Does what the arguments (without the program's name) say.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let typed = parse(arguments)?;
    if typed.flags.contains(&"--help") || typed.words.is_empty() && typed.flags.contains(&"--version") {
        let text =
            if typed.flags.contains(&"--help") { HELP.to_owned() } else { format!("bbt-agent {VERSION}\n") };
        print!("{text}");
        return Ok(());
    }
    let words: Vec<&str> = typed.words.iter().map(String::as_str).collect();
    let allowed: &[&str] = match words.as_slice() {
        ["enroll"] => &["--controller", "--token", "--token-file", "--ca-sha256"],
        ["run" | "seal"] => &[],
        ["collect" | "privacy" | "status" | "doctor"] | ["spool", "list" | "check"] => &["--json"],
        [] => return Err(wrong("no command was given; `bbt-agent --help` lists them")),
        ["spool"] => return Err(wrong("`spool` needs `list` or `check`")),
        ["spool", word] => return Err(unknown_command(word, SPOOL_COMMANDS)),
        [word] => return Err(unknown_command(word, COMMANDS)),
        [command, .., word] if COMMANDS.contains(command) => {
            return Err(wrong(&format!("`{command}` does not take `{word}`; see `bbt-agent --help`")));
        }
        [word, ..] => return Err(unknown_command(word, COMMANDS)),
    };
    if let Some(flag) =
        typed.flags.iter().find(|flag| !["--state", "--config"].contains(flag) && !allowed.contains(flag))
    {
        return Err(wrong(&format!("`{}` does not take {flag}; see `bbt-agent --help`", words.join(" "))));
    }
    let config = Config::load(typed.config.as_deref());
    let state = Folder::at(&state_path(&typed));
    let json = typed.flags.contains(&"--json");
    if words == ["doctor"] {
        return doctor(&state, config, json);
    }
    let config = config?;
    match words.as_slice() {
        ["enroll"] => enroll(&typed, &config, &state),
        ["run"] => {
            start_log(&config);
            block_on(runtime::run(&state, &config, platform::native(config.roots.clone())))?;
            Ok(())
        }
        ["seal"] => seal_disk(&state),
        ["collect"] => collect(&config, &state, json),
        ["privacy"] => {
            privacy(json);
            Ok(())
        }
        ["status"] => status(&state, json),
        ["spool", "list"] => spool_list(&state, json),
        _ => spool_check(&state, json),
    }
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Typed, Failure> {
    let mut typed = Typed::default();
    let mut parser = Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| wrong(&error.to_string()))? {
        let flag = match argument {
            Arg::Value(word) => {
                typed.words.push(word.to_string_lossy().into_owned());
                continue;
            }
            Arg::Short('h') => "--help".to_owned(),
            Arg::Short('V') => "--version".to_owned(),
            Arg::Short(letter) => format!("-{letter}"),
            Arg::Long(name) => format!("--{name}"),
        };
        let Some(known) = FLAGS.iter().find(|known| **known == flag) else {
            let nearest = nearest(&flag, FLAGS.iter().copied()).unwrap_or_default();
            return Err(wrong(&format!("`{flag}` is not a flag; did you mean {nearest}?")));
        };
        typed.flags.push(known);
        let mut value = || parser.value().map_err(|_| wrong(&format!("{known} needs a value")));
        let text = |value: OsString| value.string().map_err(|error| wrong(&error.to_string()));
        match *known {
            "--state" => typed.state = Some(value()?.into()),
            "--config" => typed.config = Some(value()?.into()),
            "--controller" => typed.controller = Some(text(value()?)?),
            "--token" => typed.token = Some(text(value()?)?),
            "--token-file" => typed.token_file = Some(value()?.into()),
            "--ca-sha256" => typed.ca_sha256 = Some(text(value()?)?),
            _ => (),
        }
    }
    Ok(typed)
}

fn wrong(sentence: &str) -> Failure {
    Failure::CalledWrongly(sentence.to_owned())
}

fn unknown_command(word: &str, known: &[&str]) -> Failure {
    let nearest = nearest(word, known.iter().copied()).unwrap_or_default();
    wrong(&format!("`{word}` is not a command; did you mean `{nearest}`?"))
}

fn state_path(typed: &Typed) -> PathBuf {
    let named = typed.state.clone().or_else(|| std::env::var_os(STATE_VARIABLE).map(PathBuf::from));
    named.unwrap_or_else(folder::default_state)
}

fn enroll(typed: &Typed, config: &Config, state: &Folder) -> Result<(), Failure> {
    let needed = |value: &Option<String>, flag: &str| {
        value.clone().ok_or_else(|| {
            wrong(&format!("enroll needs {flag}; `bbt-controller token create` prints the whole line"))
        })
    };
    let controller: Address =
        needed(&typed.controller, "--controller")?.parse().map_err(|error| wrong(&format!("{error}")))?;
    let root: Fingerprint =
        needed(&typed.ca_sha256, "--ca-sha256")?.parse().map_err(|error| wrong(&format!("{error}")))?;
    let token = token(typed)?;
    start_log(config);
    let platform = platform::native(config.roots.clone());
    let device = block_on(async {
        let sections = collectors(&platform, Some(&controller)).run(ALL_SECTIONS).await;
        let order = EnrolOrder {
            controller,
            token,
            root,
            evidence: report::evidence(&sections),
            agent_version: VERSION,
            host_name: platform.host_name().unwrap_or_default(),
        };
        let waiting = |wait: std::time::Duration, reason: &str| {
            eprintln!(
                "{}Somebody of the county has to say in the console which device it is; asking again in {} s. When this is cut off, the same command goes on.",
                match reason {
                    "known" => "The county knows this PC. ",
                    "likely" => "The county knows a PC that is much like this one. ",
                    _ => "",
                },
                wait.as_secs()
            );
        };
        enrol(state, platform.clone(), order, waiting).await
    })?;
    println!("Enrolled as {} for {}.", device.device_id, device.school_name);
    Ok(())
}

fn seal_disk(state: &Folder) -> Result<(), Failure> {
    let removed = seal::seal(state)?;
    for path in &removed {
        println!("removed {}", path.display());
    }
    println!(
        "{} holds nothing of this PC {}: the disk may be copied. Each copy enrols by itself with `bbt-agent enroll`; keep the token on a stick, not on the disk.",
        state.root().display(),
        if removed.is_empty() { "(there was nothing)" } else { "any more" },
    );
    Ok(())
}

fn token(typed: &Typed) -> Result<String, Failure> {
    let text = match (&typed.token, &typed.token_file) {
        (Some(token), None) => token.clone(),
        (None, Some(path)) => read_token(path).map_err(|error| {
            Failure::Failed(format!("cannot read the token from {}: {error}", path.display()))
        })?,
        _ => return Err(wrong("enroll needs one of --token and --token-file")),
    };
    let token = text.trim();
    if token.is_empty() {
        return Err(wrong("the token is empty; `bbt-controller token create` makes one"));
    }
    Ok(token.to_owned())
}

fn read_token(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().take(TOKEN_MAX_BYTES).read_to_string(&mut text)?;
    } else {
        fs::File::open(path)?.take(TOKEN_MAX_BYTES).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn collect(config: &Config, state: &Folder, json: bool) -> Result<(), Failure> {
    let platform = platform::native(config.roots.clone());
    let controller = crate::identity::keystore::load(state)
        .ok()
        .and_then(|identity| identity.agent_addresses.into_iter().next());
    let sections = block_on(async {
        Ok::<_, Failure>(collectors(&platform, controller.as_ref()).run(ALL_SECTIONS).await)
    })?;
    let session = Session::look(platform.as_ref());
    if json {
        println!("{:#}", report::to_json(&sections, &session));
    } else {
        print!("{}", report::to_text(&sections, &session));
    }
    Ok(())
}

fn collectors(platform: &Arc<dyn Platform>, controller: Option<&Address>) -> Runner {
    Runner::new(platform.clone(), collect::all(controller.map(Address::to_string), VERSION))
}

fn privacy(json: bool) {
    if json {
        println!("{:#}", report::privacy_json());
    } else {
        print!("{}", report::privacy_text());
    }
}

fn status(state: &Folder, json: bool) -> Result<(), Failure> {
    state.probe()?;
    let status = Status::gather(state);
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{}", status.to_text());
    }
    Ok(())
}

/// Works without a configuration, which may be what is wrong.
fn doctor(state: &Folder, config: Result<Config, ConfigError>, json: bool) -> Result<(), Failure> {
    let roots = config.as_ref().map_or_else(|_| Config::default().roots, |config| config.roots.clone());
    let platform = platform::native(roots);
    let diagnosis = block_on(async { Ok::<_, Failure>(doctor::examine(state, config, platform).await) })?;
    if json {
        println!("{}", serde_json::to_string_pretty(&diagnosis)?);
    } else {
        print!("{}", diagnosis.to_text());
    }
    match diagnosis.count(Verdict::Bad) {
        0 => Ok(()),
        count => Err(Failure::Failed(format!("{count} of these keep reports from the county"))),
    }
}

fn spool_list(state: &Folder, json: bool) -> Result<(), Failure> {
    state.probe()?;
    let frames = Inspector::open(&state.spool())?.list()?;
    if json {
        let items: Vec<_> = frames
            .iter()
            .map(|frame| {
                json!({
                    "run_id": run_id(frame),
                    "seq": frame.seq,
                    "class": frame.class.name(),
                    "kind": kind(frame),
                    "made_at": rfc3339(frame.wall_micros),
                    "size_bytes": frame.size_bytes,
                    "decided": frame.decided,
                    "decided_at": frame.decided_micros.map(rfc3339),
                })
            })
            .collect();
        println!("{:#}", json!({ "items": items, "next": null }));
        return Ok(());
    }
    println!("{:<8} {:<8} {:>8} {:>8} {:<20} decided", "class", "kind", "number", "bytes", "made");
    for frame in &frames {
        let decided = match frame.decided_micros {
            Some(micros) => rfc3339(micros),
            None if frame.decided => "yes, when is not known".to_owned(),
            None => "no".to_owned(),
        };
        println!(
            "{:<8} {:<8} {:>8} {:>8} {:<20} {decided}",
            frame.class.name(),
            kind(frame),
            frame.seq,
            frame.size_bytes,
            rfc3339(frame.wall_micros),
        );
    }
    Ok(())
}

fn run_id(frame: &FrameRow) -> String {
    uuid::Uuid::from_bytes(frame.run_id).simple().to_string()
}

fn kind(frame: &FrameRow) -> &'static str {
    use bbt_proto::report::v1::Kind;
    match Kind::try_from(frame.kind) {
        Ok(Kind::State) => "state",
        Ok(Kind::Samples) => "samples",
        Ok(Kind::Gap) => "gap",
        Ok(Kind::Usage) => "usage",
        Ok(Kind::Unspecified) | Err(_) => "unknown",
    }
}

fn spool_check(state: &Folder, json: bool) -> Result<(), Failure> {
    state.probe()?;
    let report = Inspector::open(&state.spool())?.check()?;
    let CheckReport { path, backlog_frames, backlog_bytes, kept_frames, dropped_untold, findings, set_aside } =
        &report;
    if json {
        println!(
            "{:#}",
            json!({
                "path": path,
                "ok": findings.is_empty(),
                "backlog_frames": backlog_frames,
                "backlog_bytes": backlog_bytes,
                "kept_frames": kept_frames,
                "dropped_untold": dropped_untold,
                "findings": findings,
                "set_aside": set_aside,
            })
        );
    } else {
        println!(
            "{}: {backlog_frames} reports wait ({backlog_bytes} bytes), {kept_frames} are kept",
            path.display()
        );
        for file in set_aside {
            println!("set aside earlier: {}", file.display());
        }
        for finding in findings {
            println!("finding: {finding}");
        }
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "the spool {} is not whole ({} findings); restart the agent, which sets it aside and begins a new one",
        path.display(),
        findings.len()
    )))
}

/// One thread for everything, and for a moment up to two more that look up names; collectors bring their own.
fn block_on<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Failure>
where
    Failure: From<E>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(work);
    // A collector that hangs in the kernel must not keep the process.
    runtime.shutdown_background();
    result.map_err(Failure::from)
}

fn start_log(config: &Config) {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    // Libraries below warnings speak of themselves, not of the device.
    let filter = Targets::new()
        .with_default(config.log_level.min(tracing::level_filters::LevelFilter::WARN))
        .with_target("bbt_agent", config.log_level);
    // A second start in one process (tests) keeps the first log.
    tracing_subscriber::registry().with(layer).with(filter).try_init().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &[&str]) -> Failure {
        main(arguments.iter().map(OsString::from)).unwrap_err()
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_nearest_right_one() {
        assert_eq!(call(&["stauts"]), wrong("`stauts` is not a command; did you mean `status`?"));
        assert_eq!(call(&["spool", "chekc"]), wrong("`chekc` is not a command; did you mean `check`?"));
        assert_eq!(call(&["run", "--stat", "x"]), wrong("`--stat` is not a flag; did you mean --state?"));
    }

    #[test]
    fn a_flag_of_another_command_is_refused() {
        assert_eq!(call(&["run", "--json"]), wrong("`run` does not take --json; see `bbt-agent --help`"));
        assert_eq!(call(&["status", "now"]).exit_code(), 2);
    }

    #[test]
    fn enrolment_asks_for_what_is_missing() {
        assert!(call(&["enroll"]).sentence().starts_with("enroll needs --controller"));
        let line = ["enroll", "--controller", "county.example:7444", "--ca-sha256", &"0".repeat(64)];
        assert!(call(&line).sentence().contains("one of --token and --token-file"));
        let pin = ["enroll", "--controller", "county.example:7444", "--ca-sha256", "00", "--token", "t"];
        assert!(call(&pin).sentence().contains("64 hex digits"));
    }
}
