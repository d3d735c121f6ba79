//! Two machines and a bad cable: a pair of network namespaces of a test's own, with packets lost between them.
//!
//! This needs root, `ip` and `nft` (Debian's `iproute2` and `nftables`). Loss is nft's random drop at each end of the
//! cable: the kernel that tests run on need not know netem.

use std::{
    net::Ipv4Addr,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};

use crate::{agent::Agent, county::County, program};

/// The cable's end in each namespace.
const INTERFACE: &str = "cable";

/// A cable and the two namespaces at its ends. They go when it is dropped.
#[derive(Debug)]
pub struct LossyNet {
    device: Namespace,
    controller: Namespace,
}

#[derive(Debug)]
struct Namespace {
    name: String,
    address: Ipv4Addr,
}

impl LossyNet {
    /// A good cable.
    pub fn lay() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("bbt-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let namespace = |end: &str, last| {
            let namespace =
                Namespace { name: format!("{name}-{end}"), address: Ipv4Addr::new(10, 77, 0, last) };
            run(&["ip", "netns", "add", &namespace.name])
                .context("network namespaces need root and the package `iproute2`")?;
            anyhow::Ok(namespace)
        };
        let net = Self { device: namespace("device", 2)?, controller: namespace("controller", 1)? };
        let (device, controller) = (&net.device.name, &net.controller.name);
        run(&[
            "ip", "link", "add", INTERFACE, "netns", device, "type", "veth", "peer", "name", INTERFACE,
            "netns", controller,
        ])?;
        for Namespace { name, address } in [&net.device, &net.controller] {
            run(&["ip", "-n", name, "address", "add", &format!("{address}/24"), "dev", INTERFACE])?;
            run(&["ip", "-n", name, "link", "set", INTERFACE, "up"])?;
            run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
        }
        Ok(net)
    }

    /// From now on each packet is lost with this chance, on either way.
    pub fn lose_percent(&self, percent: u32) -> Result<()> {
        for Namespace { name, .. } in [&self.device, &self.controller] {
            // One transaction, so that no packet passes between two rules.
            let mut rules = "table inet loss\ndelete table inet loss\n".to_owned();
            if percent > 0 {
                rules += &format!(
                    "table inet loss {{\n chain input {{\n  type filter hook input priority 0;\n  \
                     iifname \"{INTERFACE}\" numgen random mod 100 <= {} drop\n }}\n}}\n",
                    percent - 1
                );
            }
            let mut nft = Command::new("ip");
            nft.args(["netns", "exec", name, "nft", "-f", "-"]);
            program::succeed(&mut nft, rules.as_bytes())
                .context("losing packets needs the package `nftables`")?;
        }
        Ok(())
    }

    /// The controller's address, as devices see it.
    fn controller_address(&self) -> Ipv4Addr {
        self.controller.address
    }

    /// A county that serves at the controller's end.
    pub fn county(&self) -> Result<County> {
        let mut county = County::init_at(self.controller_address())?;
        county.set_wrapper(self.controller.wrapper());
        county.serve()?;
        Ok(county)
    }

    /// An agent at the device's end that `county` knows.
    pub fn agent_of(&self, county: &County) -> Result<Agent> {
        let mut agent = Agent::new()?;
        agent.set_wrapper(self.device.wrapper());
        agent.enrolled(county)
    }
}

impl Namespace {
    /// `ip` becomes the program, so its process id is the program's.
    fn wrapper(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable goes with either end.
        drop(run(&["ip", "netns", "del", &self.name]));
    }
}

fn run(words: &[&str]) -> Result<()> {
    program::succeed(Command::new(words[0]).args(&words[1..]), b"").map(drop)
}
