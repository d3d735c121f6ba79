//! This machine as the collectors see it, beside the tools that people trust.

use std::{collections::BTreeSet, fs, net::TcpListener, process::Command, sync::Arc, time::Duration};

use bbt_agent::{
    collect::{self, Runner, Section, load::Sampler},
    platform::{Platform, Roots, native},
    report::samples,
};
use bbt_proto::report::v1 as wire;
use serde_json::Value;

fn platform() -> Arc<dyn Platform> {
    native(Roots::system())
}

fn section(name: &str) -> Section {
    let collectors = collect::all(None, "0.1.0");
    let collector = collectors.iter().find(|collector| collector.name() == name).unwrap();
    collector.collect(platform().as_ref())
}

/// What `program` prints as JSON; `package` is where Debian has it.
fn json(program: &str, arguments: &[&str], package: &str) -> Value {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| {
        panic!("Running {program} failed: {error}; install the Debian package {package}.")
    });
    assert!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The value of a field of `lscpu`, however deep it is nested.
fn lscpu_field<'a>(fields: &'a Value, name: &str) -> Option<&'a str> {
    fields.as_array()?.iter().find_map(|field| {
        let found = (field["field"] == name).then(|| field["data"].as_str()).flatten();
        found.or_else(|| lscpu_field(&field["children"], name))
    })
}

#[test]
fn processors_agree_with_lscpu() {
    let Section::Hardware(hardware) = section("hardware") else { panic!() };
    let fields = json("lscpu", &["-J"], "util-linux");
    let table = json("lscpu", &["-J", "-e=CPU,CORE,SOCKET"], "util-linux");
    let rows = table["cpus"].as_array().unwrap();
    let distinct =
        |column: &str| rows.iter().map(|row| row[column].to_string()).collect::<BTreeSet<_>>().len();
    let [processor] = hardware.processors.as_slice() else { panic!("{:?}", hardware.processors) };
    assert_eq!(processor.model.as_deref(), lscpu_field(&fields["lscpu"], "Model name:"));
    assert_eq!(processor.vendor.as_deref(), lscpu_field(&fields["lscpu"], "Vendor ID:"));
    assert_eq!(processor.threads.map(|count| count as usize), Some(rows.len()));
    assert_eq!(processor.cores.map(|count| count as usize), Some(distinct("core")));
    assert_eq!(processor.sockets.map(|count| count as usize), Some(distinct("socket")));
}

#[test]
fn disks_agree_with_lsblk() {
    let Section::Storage(storage) = section("storage") else { panic!() };
    let columns = "NAME,TYPE,SIZE,RO,RM,ROTA,MODEL,SERIAL,TRAN,WWN";
    let listed = json("lsblk", &["-d", "-b", "-J", "-o", columns], "util-linux");
    let mut expected: Vec<&Value> = listed["blockdevices"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["type"] == "disk")
        .filter(|row| !["zram", "ram"].iter().any(|memory| row["name"].as_str().unwrap().starts_with(memory)))
        .collect();
    expected.sort_by_key(|row| row["name"].as_str());
    let names: Vec<_> = expected.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(storage.disks.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>(), names);
    for (disk, row) in storage.disks.iter().zip(expected) {
        assert_eq!(disk.size_bytes, row["size"].as_u64(), "{row}");
        assert_eq!(disk.read_only, row["ro"].as_bool(), "{row}");
        assert_eq!(disk.removable, row["rm"].as_bool(), "{row}");
        assert_eq!(disk.rotational, row["rota"].as_bool(), "{row}");
        let texts =
            [("model", &disk.model), ("serial", &disk.serial), ("tran", &disk.transport), ("wwn", &disk.wwn)];
        for (column, told) in texts {
            if row["tran"] == "usb" && ["serial", "wwn"].contains(&column) {
                assert_eq!(*told, None, "it may be a person's own: {row}");
            } else if let Some(expected) = row[column].as_str() {
                assert_eq!(told.as_deref(), Some(expected.trim()), "{column} of {row}");
            }
        }
    }
}

#[test]
fn network_cards_agree_with_ip_link() {
    let Section::Network(network) = section("network") else { panic!() };
    let links = json("ip", &["-j", "link"], "iproute2");
    let mut expected: Vec<&Value> =
        links.as_array().unwrap().iter().filter(|link| link["ifname"] != "lo").collect();
    expected.sort_by_key(|link| link["ifname"].as_str());
    let names: Vec<_> = expected.iter().map(|link| link["ifname"].as_str().unwrap()).collect();
    assert_eq!(network.interfaces.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), names);
    for (interface, link) in network.interfaces.iter().zip(expected) {
        assert_eq!(interface.mac.as_deref(), link["address"].as_str(), "{link}");
        assert_eq!(interface.mtu.map(u64::from), link["mtu"].as_u64(), "{link}");
        assert_eq!(interface.state.as_deref().map(str::to_uppercase).as_deref(), link["operstate"].as_str());
        let place = fs::canonicalize(format!("/sys/class/net/{}", interface.name)).unwrap();
        assert_eq!(interface.physical, !place.starts_with("/sys/devices/virtual"), "{place:?}");
        if let Some(permanent) = link["permaddr"].as_str() {
            assert_eq!(interface.permanent_mac.as_deref(), Some(permanent));
        }
    }
}

#[test]
fn file_systems_include_the_one_this_test_is_built_on() {
    let Section::FileSystems(found) = section("file_systems") else { panic!() };
    let root = found.file_systems.iter().find(|one| one.mount_point == "/").unwrap();
    assert!(root.size_bytes.is_some_and(|size| size > 0) && root.free_bytes <= root.size_bytes, "{root:?}");
}

#[test]
fn facts_agree_with_sysinfo() {
    let system = sysinfo::System::new_with_specifics(
        sysinfo::RefreshKind::nothing().with_memory(sysinfo::MemoryRefreshKind::everything()),
    )
    .unwrap();
    let Section::Hardware(hardware) = section("hardware") else { panic!() };
    let memory = hardware.memory.unwrap();
    assert_eq!(memory.total_bytes, Some(system.total_memory()));
    assert_eq!(memory.swap_bytes, Some(system.total_swap()));
    let Section::Software(software) = section("software") else { panic!() };
    assert_eq!(software.os_name, sysinfo::System::name().ok());
    assert_eq!(software.kernel, sysinfo::System::kernel_version().ok());
    assert_eq!(software.host_name, sysinfo::System::host_name().ok());
    assert_eq!(software.architecture.as_deref(), Some(sysinfo::System::cpu_arch().as_str()));
}

#[test]
fn network_counters_agree_with_sysinfo() {
    let platform = platform();
    let before = platform.load().network;
    let networks = sysinfo::Networks::new_with_refreshed_list().unwrap();
    let after = platform.load().network;
    assert!(!before.is_empty(), "this machine has no physical network card to compare");
    for ((name, received, sent), (_, received_after, sent_after)) in before.iter().zip(&after) {
        let (_, theirs) = networks.iter().find(|(known, _)| known.to_str() == Some(name)).unwrap();
        assert!((*received..=*received_after).contains(&theirs.total_received()), "{name}");
        assert!((*sent..=*sent_after).contains(&theirs.total_transmitted()), "{name}");
    }
}

#[test]
fn two_readings_of_the_live_load_make_a_sample() {
    let platform = platform();
    let mut sampler = Sampler::new();
    sampler.tick(platform.as_ref());
    // The busy share needs the processor's counters to move between the readings; they count hundredths.
    let start = platform.now().mono_micros;
    while platform.now().mono_micros - start < 300_000 {
        std::hint::spin_loop();
    }
    sampler.tick(platform.as_ref());
    sampler.close_sample(platform.now());
    let decoded = samples::decode(&sampler.take_frame().unwrap()).unwrap();
    let known: BTreeSet<_> = decoded.series.iter().map(|series| series.metric.as_str_name()).collect();
    for metric in [
        wire::Metric::ProcessorBusyPermille,
        wire::Metric::MemoryUsedKib,
        wire::Metric::SwapUsedKib,
        wire::Metric::NetworkReceivedBytesPerSec,
        wire::Metric::DiskReadBytesPerSec,
    ] {
        assert!(known.contains(metric.as_str_name()), "{metric:?} is missing among {known:?}");
    }
    let busy =
        decoded.series.iter().find(|series| series.metric == wire::Metric::ProcessorBusyPermille).unwrap();
    assert!(busy.values[0].is_some_and(|sample| (1..=1000).contains(&sample.max)), "{busy:?}");
}

#[test]
fn both_clocks_run_and_the_boot_keeps_its_id() {
    let platform = platform();
    let (first, second) = (platform.now(), platform.now());
    assert!(second.mono_micros >= first.mono_micros && first.mono_micros > 0);
    assert!(first.wall_micros > 1_700_000_000_000_000, "{first:?}");
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let hex: String = platform.boot().id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, id.trim().replace('-', ""));
    let (mut one, mut other) = ([0; 16], [0; 16]);
    platform.random(&mut one);
    platform.random(&mut other);
    assert_ne!(one, other);
}

#[tokio::test]
async fn a_whole_pass_finds_this_machine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let controller = Some(listener.local_addr().unwrap().to_string());
    let runner = Runner::new(platform(), collect::all(controller, "0.1.0"));
    let names = ["hardware", "storage", "file_systems", "network", "reachability", "software"];
    let found = runner.run(&names).await;
    assert_eq!(found.iter().map(Section::name).collect::<Vec<_>>(), names);
    for section in &found {
        assert!(
            section.problems().iter().all(|problem| !["hung", "panicked"].contains(&problem.code.as_str())),
            "{:?}",
            section.problems()
        );
    }
    let Section::Reachability(reachability) = &found[4] else { panic!() };
    let controller = reachability.controller.as_ref().unwrap();
    assert_eq!(controller.reachable, Some(true));
    assert!(
        controller.round_trip_micros.is_some_and(|micros| Duration::from_micros(micros) > Duration::ZERO)
    );
}
