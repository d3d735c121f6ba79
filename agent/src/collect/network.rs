//! Network cards: every interface but the loopback, each marked physical or virtual.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bbt_proto::report::v1 as wire;

use super::{
    Collector, Section,
    source::{self, Problems, Unknown},
};
use crate::platform::Platform;

pub(super) const NAME: &str = "network";
/// Some drivers ask their card for the speed.
const DEADLINE: Duration = Duration::from_secs(10);
/// A classroom PC has a handful; a report of more would not fit its frame.
const MAX_INTERFACES: usize = 64;
const LOOPBACK: &str = "lo";
/// `addr_assign_type` of an address that came with the card.
const ASSIGNED_BY_MAKER: u8 = 0;
/// What drivers write for "speed unknown" as a number without a sign.
const NO_SPEED: i64 = 0xffff_ffff;

pub(super) struct Network;

impl Collector for Network {
    fn name(&self) -> &'static str {
        NAME
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn collect(&self, platform: &dyn Platform) -> Section {
        let folder = platform.roots().sys.join("class/net");
        let mut problems = Problems::default();
        let mut names = problems.keep("interfaces", source::names(&folder)).unwrap_or_default();
        // Among the interfaces lie files of the bonding driver.
        names.retain(|name| name != LOOPBACK && folder.join(name).is_dir());
        if names.len() > MAX_INTERFACES {
            let message =
                format!("{} interfaces are there; the first {MAX_INTERFACES} are told.", names.len());
            problems.note("interfaces", Unknown::too_many(message));
            names.truncate(MAX_INTERFACES);
        }
        let interfaces = names
            .into_iter()
            .map(|name| Source { folder: folder.join(&name), name, platform }.interface(&mut problems))
            .collect();
        Section::Network(wire::Network { interfaces, problems: problems.into_list() })
    }

    fn failed(&self, problem: wire::Problem) -> Section {
        Section::Network(wire::Network { problems: vec![problem], interfaces: Vec::new() })
    }
}

/// Where the facts of one interface are.
struct Source<'a> {
    name: String,
    folder: PathBuf,
    platform: &'a dyn Platform,
}

impl Source<'_> {
    fn interface(self, problems: &mut Problems) -> wire::Interface {
        let item = |fact: &str| format!("{}.{fact}", self.name);
        let file = |name: &str| self.folder.join(name);
        let physical = file("device").exists();
        let mac = source::attribute(&file("address")).map(|mac| mac.to_ascii_lowercase());
        let mut interface = wire::Interface {
            name: self.name.clone(),
            physical,
            state: problems.keep(item("state"), source::attribute(&file("operstate"))),
            mtu: problems.keep(item("mtu"), source::number(&file("mtu"))),
            ..wire::Interface::default()
        };
        if physical {
            interface.permanent_mac =
                problems.keep(item("permanent_mac"), self.permanent_mac(mac.as_deref()));
            interface.mac = problems.keep(item("mac"), mac);
            interface.bus = problems.keep(item("bus"), source::link_name(&file("device/subsystem")));
            interface.driver = problems.keep(item("driver"), source::link_name(&file("device/driver")));
            interface.speed_mbps = problems.keep(item("speed"), speed_mbps(&file("speed")));
        } else {
            // A virtual one need not have an address or a speed; that is no gap in what is known.
            interface.mac = mac.ok();
            interface.speed_mbps = speed_mbps(&file("speed")).ok();
        }
        interface
    }

    /// From the driver; else the address in use, where the kernel says that it came with the card.
    fn permanent_mac<E>(&self, mac: Result<&str, E>) -> Result<String, Unknown>
    where
        E: Sized,
    {
        let asked = self.platform.permanent_mac(&self.name);
        if let Ok(Some([a, b, c, d, e, f])) = asked {
            return Ok(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"));
        }
        let assigned: Result<u8, Unknown> = source::number(&self.folder.join("addr_assign_type"));
        match (assigned, mac) {
            (Ok(ASSIGNED_BY_MAKER), Ok(mac)) => Ok(mac.to_owned()),
            _ => Err(match asked {
                Err(error) => Unknown::from_io(format_args!("Asking the driver of {}", self.name), &error),
                Ok(_) => Unknown::not_offered(format!(
                    "The driver of {} tells no burnt-in address, and the one in use was set by software.",
                    self.name
                )),
            }),
        }
    }
}

/// The kernel refuses to answer, or gives -1, while there is no link or the card has no speed of its own.
fn speed_mbps(file: &Path) -> Result<u32, Unknown> {
    let speed: i64 = source::number(file)?;
    let known = (speed > 0 && speed != NO_SPEED).then(|| u32::try_from(speed).ok()).flatten();
    known.ok_or_else(|| Unknown::not_offered(format!("{} says that the speed is unknown.", file.display())))
}
