//! The last good configuration on disk: one file, replaced as a whole, for the agent alone because secrets are in it.
//!
//! It begins with a SHA-256 over the device's id and what follows, the message as the wire has it. So a damaged file is
//! noticed, and one that came with a cloned disk or an earlier identity is nobody's.

use std::{fs, io, path::PathBuf};

use bbt_proto::report::v1 as wire;
use prost::Message;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use uuid::Uuid;

use crate::folder::{Folder, write_durably};

/// A configuration is some kilobytes; the contract's bound for one message is the most it can be.
const MAX_BYTES: usize = 256 * 1024;

/// What was kept for this device; none if there is nothing, or nothing good.
pub(super) fn load(state: &Folder, device: Uuid) -> Option<wire::Config> {
    let path = path(state);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("cannot read {}: {error}; the county is asked again", path.display());
            return None;
        }
    };
    let config = read(&bytes, device);
    if config.is_none() {
        set_aside(state);
    }
    config
}

/// Keeps a configuration in the place of the one before; returns when it is on disk.
pub(super) fn store(state: &Folder, device: Uuid, config: &wire::Config) -> io::Result<()> {
    let content = config.encode_to_vec();
    write_durably(&path(state), &[sum(device, &content).as_slice(), &content].concat())
}

fn read(bytes: &[u8], device: Uuid) -> Option<wire::Config> {
    let (kept, content) = bytes.split_first_chunk::<SHA256_OUTPUT_LEN>()?;
    let is_good = content.len() <= MAX_BYTES && *kept == sum(device, content);
    is_good.then(|| wire::Config::decode(content).ok()).flatten()
}

fn sum(device: Uuid, content: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = Context::new(&SHA256);
    context.update(device.as_bytes());
    context.update(content);
    let mut sum = [0; SHA256_OUTPUT_LEN];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

/// Under another name, for whoever wants to know what happened; the next one takes its place.
fn set_aside(state: &Folder) {
    let (path, aside) = (path(state), state.configuration().join("damaged"));
    match fs::rename(&path, &aside) {
        Ok(()) => tracing::warn!(
            "the configuration {} is damaged or of another device: it is set aside as {}, and the county is asked again",
            path.display(),
            aside.display()
        ),
        Err(error) => tracing::warn!("{} is damaged and cannot be set aside: {error}", path.display()),
    }
}

pub(super) fn path(state: &Folder) -> PathBuf {
    state.configuration().join("in_force")
}
