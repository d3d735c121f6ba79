//! A PC with a restore card: whatever it wrote is gone at the next start, and the image is there again.
//!
//! The agent's state folder becomes the lower layer of an overlay whose upper layer lies in memory and is thrown
//! away at each start. Mounting needs root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use bbt_agent::{folder::Folder, identity::keystore};
use tempfile::TempDir;

use crate::{agent::Agent, program};

/// A frozen agent. Dropping it ends it and leaves nothing mounted.
#[derive(Debug)]
pub struct FrozenPc {
    /// Dropped first, so that nobody uses what is unmounted.
    agent: Option<Agent>,
    state: PathBuf,
    folder: TempDir,
    starts: u32,
}

impl FrozenPc {
    /// Makes an image of the agent, which does not run, as it is now.
    pub fn freeze(agent: Agent) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bbt-card-").tempdir().context("making a folder")?;
        let state = agent.state();
        let pc = Self { agent: Some(agent), state, folder, starts: 0 };
        fs::rename(&pc.state, pc.image()).context("making an image of the state folder")?;
        for path in [&pc.state, &pc.memory()] {
            fs::create_dir(path).with_context(|| format!("making {}", path.display()))?;
        }
        Ok(pc)
    }

    /// The power goes, and comes back: the agent starts on the image, in another start of the system.
    pub fn start(&mut self) -> Result<()> {
        self.cut_power()?;
        let memory = self.memory();
        mount(&["-t", "tmpfs", "tmpfs"], &memory).context("a restore card needs root for its mounts")?;
        let (upper, work) = (memory.join("upper"), memory.join("work"));
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        let [lower, upper, work] = [self.image(), upper, work].map(|path| path.display().to_string());
        let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        mount(&["-t", "overlay", "overlay", "-o", &layers], &self.state)?;
        self.starts += 1;
        let proc = self.proc_of_this_start()?.display().to_string();
        let agent = self.agent.as_mut().context("the agent is there until the PC is dropped")?;
        agent.set_environment("BBT_AGENT__ROOTS__PROC", &proc);
        agent.run()
    }

    /// Everything stops at once, and what was written is gone.
    pub fn cut_power(&mut self) -> Result<()> {
        if let Some(agent) = &mut self.agent {
            agent.kill()?;
        }
        for path in [&self.state, &self.memory()] {
            if is_mounted(path)? {
                program::succeed(Command::new("umount").arg(path), b"")?;
            }
        }
        Ok(())
    }

    /// The agent of the running PC.
    pub fn agent(&mut self) -> Result<&mut Agent> {
        self.agent.as_mut().context("the agent is there until the PC is dropped")
    }

    /// The id under which it was enrolled.
    pub fn device_id(&self) -> Result<[u8; 16]> {
        Ok(keystore::load(&Folder::at(&self.image()))?.device_id.into_bytes())
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn memory(&self) -> PathBuf {
        self.folder.path().join("memory")
    }

    /// Of `/proc` the agent gets the id of this start alone: the rest is this machine's, which does not start anew.
    fn proc_of_this_start(&self) -> Result<PathBuf> {
        let proc = self.folder.path().join(format!("proc-{}", self.starts));
        let random = proc.join("sys/kernel/random");
        fs::create_dir_all(&random)?;
        fs::write(random.join("boot_id"), uuid::Uuid::new_v4().to_string())?;
        Ok(proc)
    }
}

impl Drop for FrozenPc {
    fn drop(&mut self) {
        self.agent.take();
        for path in [&self.state, &self.memory()] {
            if is_mounted(path).unwrap_or(false) {
                // Lazily: whoever still looks at it does not keep it.
                drop(Command::new("umount").arg("-l").arg(path).status());
            }
        }
        drop(fs::remove_dir_all(&self.state));
    }
}

fn mount(words: &[&str], at: &Path) -> Result<()> {
    program::succeed(Command::new("mount").args(words).arg(at), b"").map(drop)
}

fn is_mounted(path: &Path) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading what is mounted")?;
    let path = path.display().to_string();
    Ok(mounts.lines().any(|line| line.split(' ').nth(1) == Some(&path)))
}
