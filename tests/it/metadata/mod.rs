//! What the workspace may be built from, checked over `cargo metadata`: licences, duplicate versions,
//! sources, the arrows between the crates, the number of packages.
//!
//! The whole lock file is looked at, packages for other systems and for tests included, so the answer does
//! not depend on where it is asked. That needs every package on this machine: `cargo fetch --locked`.

mod spdx;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    sync::LazyLock,
};

use bbt_tests::repository;
use serde_json::Value;

/// Licences that anybody may combine with ours and ship, whatever the package.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages that stand in the lock file in two versions, and why that cannot be helped today. An entry goes
/// when the duplicate goes.
const DUPLICATES: &[(&str, &str)] = &[
    ("base64", "pem, under rcgen, is one step ahead of tonic"),
    ("bit-vec", "yasna, under rcgen, is behind proptest; it stands in the lock file and is not built"),
    ("fallible-iterator", "postgres is behind rusqlite"),
    ("foldhash", "comes with the two hashbrown"),
    ("getrandom", "ring is behind password-hash and uuid"),
    ("hashbrown", "petgraph, only used to generate code, is behind indexmap and rusqlite"),
    ("prettyplease", "tonic-build is behind prost-build; both are only used to generate code"),
    ("syn", "derive macros are moving from 2 to 3; only used while compiling"),
    ("unicode-width", "miette, under protox, is behind; only used to generate code"),
    ("wasi", "whoami, under postgres, is ahead of ring; both stand in the lock file and are not built"),
    ("windows-sys", "ring is behind everything else"),
];

/// Packages in the lock file. A newcomer has to trust, download and compile each; to go beyond is a decision
/// to be made on purpose, by changing this number.
const PACKAGES_AT_MOST: usize = 340;

/// Which of our crates may name which in their manifest: the arrows of ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("bbt-proto", &[]),
    ("bbt-domain", &[]),
    ("bbt-store", &["bbt-domain"]),
    ("bbt-agent", &["bbt-proto"]),
    ("bbt-controller", &["bbt-proto", "bbt-domain", "bbt-store"]),
    ("bbt-tests", &["bbt-proto", "bbt-domain", "bbt-store", "bbt-agent", "bbt-controller"]),
];

/// What the pure decisions are made of, and for what. Whoever adds to it has to be sure that no runtime, no
/// driver and no clock comes in, which is what keeps the promise at the head of bbt-domain.
const DOMAIN_DEPENDENCIES: &[(&str, &str)] = &[
    ("jiff", "calendar arithmetic"),
    ("ring", "digests for the chain of audit lines; its random source is not used"),
    ("serde", "facts as JSON"),
    ("thiserror", "errors"),
    ("unicode-normalization", "hostile text made safe"),
    ("uuid", "ids, read and written"),
];

/// Features of those that would bring a clock or a random source with them.
const FEATURES_FOREIGN_TO_DOMAIN: &[(&str, &[&str])] =
    &[("jiff", &["std", "default"]), ("uuid", &["v1", "v4", "v6", "v7", "default"])];

/// Packages that are a runtime, a driver or a wire, and may not come into bbt-domain by a detour either.
const FOREIGN_TO_DOMAIN: &[&str] = &[
    "axum",
    "h2",
    "hyper",
    "libsqlite3-sys",
    "mio",
    "postgres",
    "prost",
    "rusqlite",
    "rustls",
    "socket2",
    "tokio",
    "tonic",
];

#[test]
fn every_package_has_a_licence_that_we_may_ship() {
    let mut refused = Vec::new();
    for package in &WORKSPACE.packages {
        let Some(text) = &package.licence else {
            refused.push(format!("{}: names no licence", package.id()));
            continue;
        };
        match spdx::Expression::parse(text) {
            Ok(expression) if expression.is_satisfied_by(&|name| LICENCES.contains(&name)) => {}
            Ok(_) => refused.push(format!("{}: {text}", package.id())),
            Err(error) => refused.push(format!("{}: {error}", package.id())),
        }
    }
    assert!(refused.is_empty(), "not among the licences accepted in this file:\n{}", refused.join("\n"));
}

#[test]
fn two_versions_of_a_package_are_listed_with_a_reason() {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &WORKSPACE.packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let found: BTreeSet<&str> = versions.iter().filter(|(_, v)| v.len() > 1).map(|(name, _)| *name).collect();
    let listed: BTreeSet<&str> = DUPLICATES.iter().map(|(name, _)| *name).collect();
    let unlisted: Vec<String> =
        found.difference(&listed).map(|name| format!("{name} {:?}", versions[name])).collect();
    assert!(unlisted.is_empty(), "twice in the lock file, without a reason in DUPLICATES: {unlisted:?}");
    let gone: Vec<&&str> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "no longer twice in the lock file, take them out of DUPLICATES: {gone:?}");
}

#[test]
fn every_package_comes_from_the_registry_or_from_this_repository() {
    let root = repository();
    for package in &WORKSPACE.packages {
        match package.source.as_deref() {
            Some(source) => assert!(
                source == "registry+https://github.com/rust-lang/crates.io-index",
                "{} comes from {source}",
                package.id()
            ),
            None => assert!(
                Path::new(&package.manifest).starts_with(root),
                "{} comes from {}, outside of this repository",
                package.id(),
                package.manifest
            ),
        }
    }
}

#[test]
fn our_crates_name_each_other_only_along_the_arrows() {
    let members: BTreeSet<&str> = WORKSPACE.members().map(|package| package.name.as_str()).collect();
    let drawn: BTreeSet<&str> = ARROWS.iter().map(|(from, _)| *from).collect();
    assert_eq!(members, drawn, "every crate of the workspace has its line in ARROWS");
    for (from, allowed) in ARROWS {
        for dependency in &WORKSPACE.member(from).dependencies {
            let to = dependency.name.as_str();
            assert!(!members.contains(to) || allowed.contains(&to), "{from} must not depend on {to}");
        }
    }
}

#[test]
fn the_domain_has_no_runtime_no_driver_and_no_clock() {
    let direct: Vec<&str> = WORKSPACE.member("bbt-domain").normal_dependencies().collect();
    for name in &direct {
        let listed = DOMAIN_DEPENDENCIES.iter().any(|(listed, _)| listed == name);
        assert!(listed, "bbt-domain must not depend on {name}, or DOMAIN_DEPENDENCIES says for what");
    }
    for (name, foreign) in FEATURES_FOREIGN_TO_DOMAIN {
        for dependency in WORKSPACE.member("bbt-domain").dependencies.iter().filter(|d| d.name == *name) {
            let found = dependency.features.iter().find(|feature| foreign.contains(&feature.as_str()));
            assert_eq!(found, None, "bbt-domain must do without this feature of {name}");
        }
    }
    let reached = WORKSPACE.reached_from("bbt-domain");
    for name in FOREIGN_TO_DOMAIN {
        assert!(!reached.contains(*name), "bbt-domain reaches {name} through one of {direct:?}");
    }
}

#[test]
fn only_the_store_speaks_sql_on_the_side_of_the_county() {
    for name in ["bbt-controller", "bbt-domain", "bbt-proto"] {
        let driver = WORKSPACE
            .member(name)
            .normal_dependencies()
            .find(|dependency| dependency.contains("sqlite") || dependency.contains("postgres"));
        assert_eq!(driver, None, "{name} must reach the database through bbt-store");
    }
}

#[test]
fn the_lock_file_stays_within_its_limit() {
    let count = WORKSPACE.packages.len();
    assert!(
        count <= PACKAGES_AT_MOST,
        "{count} packages in Cargo.lock, {PACKAGES_AT_MOST} are allowed: is the new dependency worth it?"
    );
}

static WORKSPACE: LazyLock<Workspace> = LazyLock::new(Workspace::read);

struct Workspace {
    packages: Vec<Package>,
    /// Ids of the packages that each package uses at run time, by id.
    edges: BTreeMap<String, Vec<String>>,
}

struct Package {
    identity: String,
    name: String,
    version: String,
    licence: Option<String>,
    source: Option<String>,
    manifest: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    kind: Option<String>,
    features: Vec<String>,
}

impl Workspace {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .current_dir(repository())
            .output()
            .unwrap_or_else(|error| panic!("starting `{} metadata`: {error}", env!("CARGO")));
        assert!(
            output.status.success(),
            "`cargo metadata --locked --offline` failed; `cargo fetch --locked` brings what is missing:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
        let packages = list(&metadata["packages"]).map(Package::of).collect();
        let edges = list(&metadata["resolve"]["nodes"])
            .map(|node| (text(&node["id"]), list(&node["deps"]).filter(at_run_time).map(to).collect()))
            .collect();
        Self { packages, edges }
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.source.is_none())
    }

    fn member(&self, name: &str) -> &Package {
        self.members()
            .find(|package| package.name == name)
            .unwrap_or_else(|| panic!("{name} is a crate of the workspace"))
    }

    /// Names of everything that `member` uses at run time, directly or not.
    fn reached_from(&self, member: &str) -> BTreeSet<String> {
        let mut open = vec![self.member(member).identity.clone()];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id.clone()) {
                open.extend(self.edges[&id].iter().cloned());
            }
        }
        self.packages.iter().filter(|p| seen.contains(&p.identity)).map(|p| p.name.clone()).collect()
    }
}

impl Package {
    fn of(value: &Value) -> Self {
        Self {
            identity: text(&value["id"]),
            name: text(&value["name"]),
            version: text(&value["version"]),
            licence: value["license"].as_str().map(str::to_owned),
            source: value["source"].as_str().map(str::to_owned),
            manifest: text(&value["manifest_path"]),
            dependencies: list(&value["dependencies"]).map(Dependency::of).collect(),
        }
    }

    fn id(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Without those that only its tests or its build script use.
    fn normal_dependencies(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().filter(|d| d.kind.is_none()).map(|d| d.name.as_str())
    }
}

impl Dependency {
    fn of(value: &Value) -> Self {
        let named = list(&value["features"]).map(text);
        let default = (value["uses_default_features"] == true).then(|| "default".to_owned());
        Self {
            name: text(&value["name"]),
            kind: value["kind"].as_str().map(str::to_owned),
            features: named.chain(default).collect(),
        }
    }
}

fn at_run_time(dependency: &&Value) -> bool {
    list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null())
}

fn to(dependency: &Value) -> String {
    text(&dependency["pkg"])
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("cargo metadata gives a list here").iter()
}

fn text(value: &Value) -> String {
    value.as_str().expect("cargo metadata gives a text here").to_owned()
}
