//! `init`.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use bbt_domain::text::clean_name;
use clap::Args;

use super::Failure;
use crate::{
    clock::{SharedClock, SystemClock},
    config::DataFolder,
    county::{self, NewCounty},
    names::own_names,
    pki::{authority, hex, issue::is_host_name, tokens},
};

/// Shortest password taken for the first account.
const PASSWORD_CHARS: usize = 8;
/// Longest: beyond it nobody types it, and hashing it is work for an attacker's benefit.
const PASSWORD_CHARS_MOST: usize = 128;

/// Make a county: keys, store, configuration and the account "admin".
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Name of the county, as people say it.
    #[arg(long, value_name = "NAME")]
    county: String,
    /// Host name or address by which devices and people reach this machine; may be repeated.
    #[arg(long = "name", value_name = "HOST|IP")]
    names: Vec<String>,
    /// File with the password of "admin" ("-" is standard input); without it one is made and printed once.
    #[arg(long, value_name = "F")]
    admin_password_file: Option<PathBuf>,
    /// Write the root's key here instead of into the data folder: it is only needed to replace the issuing key.
    #[arg(long, value_name = "FILE")]
    root_key_out: Option<PathBuf>,
}

impl Init {
    pub(super) async fn run(self, folder: &DataFolder) -> Result<(), Failure> {
        let name = clean_name(&self.county).ok_or_else(|| {
            Failure(format!(
                "--county {:?} is not a name: it needs at least one visible character",
                self.county
            ))
        })?;
        let names = if self.names.is_empty() { own_names() } else { self.names };
        for name in &names {
            if name.parse::<std::net::IpAddr>().is_err() && !is_host_name(name) {
                return Err(Failure(format!(
                    "--name {name:?} is neither a host name nor an address: write it without scheme and port"
                )));
            }
        }
        if let Some(path) = self.root_key_out.as_ref().filter(|path| path.exists()) {
            return Err(Failure(format!(
                "--root-key-out {} exists already: name a new file, so that no key is overwritten",
                path.display()
            )));
        }
        let (password, made) = match &self.admin_password_file {
            Some(path) => (read_password(path)?, false),
            None => (tokens::generate()?, true),
        };
        let root_key = self.root_key_out.unwrap_or_else(|| authority::default_root_key(&folder.pki()));
        let new = NewCounty {
            name: name.clone(),
            names: names.clone(),
            password: password.clone(),
            root_key: root_key.clone(),
        };
        let clock: SharedClock = Arc::new(SystemClock);
        let authority = county::create(folder, new, &clock).await?;

        println!("{name}: made in {}", folder.path().display());
        println!("  names in certificates   {}", names.join(", "));
        println!("  SHA-256 of the root     {}", hex(&authority.root_sha256()));
        println!(
            "  key of the root         {} (keep a copy elsewhere, then remove it here)",
            root_key.display()
        );
        if made {
            println!("  account                 {} with password {password} (shown only now)", county::ADMIN);
        } else {
            println!("  account                 {}", county::ADMIN);
        }
        println!("Next: bbt-controller serve --data {}", folder.path().display());
        Ok(())
    }
}

fn read_password(path: &Path) -> Result<String, Failure> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|error| {
        Failure(format!("--admin-password-file {} cannot be read: {error}", path.display()))
    })?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    let chars = password.chars().count();
    if !(PASSWORD_CHARS..=PASSWORD_CHARS_MOST).contains(&chars) {
        return Err(Failure(format!(
            "the password in {} has {chars} characters: take {PASSWORD_CHARS} to {PASSWORD_CHARS_MOST}",
            path.display()
        )));
    }
    Ok(password)
}
