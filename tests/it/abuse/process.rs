//! What the controller's process holds, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};
use bbt_tests::county::County;

/// Memory of its own, in bytes.
pub(super) fn memory(county: &County) -> Result<u64> {
    let status = fs::read_to_string(folder(county)?.join("status")).context("reading its status")?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = kilobytes.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kilobytes.context("the kernel tells RssAnon")? << 10)
}

/// Open descriptors.
pub(super) fn descriptors(county: &County) -> Result<usize> {
    Ok(fs::read_dir(folder(county)?.join("fd")).context("listing its descriptors")?.count())
}

fn folder(county: &County) -> Result<std::path::PathBuf> {
    let id = county.id().context("the controller runs")?;
    Ok(format!("/proc/{id}").into())
}
