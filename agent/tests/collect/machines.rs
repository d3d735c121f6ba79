//! The collectors on trees of machines that are not here.

use std::{io, net::TcpListener, time::Duration};

use bbt_agent::{
    collect::{self, Section, usage::Session},
    platform::{Method, Platform, Seat, Space, fake::FakePlatform},
    report,
};
use bbt_proto::{
    enrollment::v1::EvidenceKind,
    report::v1::{self as wire, Problem},
};

use crate::tree::Tree;

fn sections(platform: &dyn Platform) -> Vec<Section> {
    collect_with(platform, None)
}

fn collect_with(platform: &dyn Platform, controller: Option<String>) -> Vec<Section> {
    collect::all(controller, "0.1.0").iter().map(|collector| collector.collect(platform)).collect()
}

macro_rules! section {
    ($sections:expr, $kind:ident) => {
        $sections
            .iter()
            .find_map(|section| match section {
                Section::$kind(found) => Some(found.clone()),
                _ => None,
            })
            .unwrap()
    };
}

fn code<'a>(problems: &'a [Problem], item: &str) -> Option<&'a str> {
    problems.iter().find(|problem| problem.item == item).map(|problem| problem.code.as_str())
}

fn text(fact: &Option<String>) -> &str {
    fact.as_deref().unwrap_or("unknown")
}

#[test]
fn a_desktop_tells_its_hardware_with_the_strings_its_maker_forgot() {
    let tree = Tree::unpack("intel-desktop");
    let hardware = section!(sections(&tree.platform()), Hardware);
    let (system, board) = (hardware.system.unwrap(), hardware.board.unwrap());
    assert_eq!(text(&system.vendor), "Default string", "shown as it is");
    assert_eq!((text(&board.vendor), text(&board.name)), ("OPS-TECH", "H110-OPS"));
    assert_eq!(text(&hardware.system_uuid), "03000200-0400-0500-0006-000700080009");
    assert_eq!(hardware.chassis_type, Some(3));
    assert_eq!(text(&hardware.firmware.unwrap().date), "04/30/2015");
    let [processor] = hardware.processors.as_slice() else { panic!("{:?}", hardware.processors) };
    assert_eq!(text(&processor.model), "Intel(R) Core(TM) i3-6100 CPU @ 3.70GHz");
    assert_eq!((processor.sockets, processor.cores, processor.threads), (Some(1), Some(2), Some(4)));
    assert_eq!(processor.max_khz, Some(3_700_000));
    let memory = hardware.memory.unwrap();
    assert_eq!(memory.total_bytes, Some(3_934_532 << 10));
    assert_eq!(memory.swap_bytes, Some(2_097_148 << 10));
    let [module] = memory.modules.as_slice() else { panic!("{:?}", memory.modules) };
    assert_eq!((text(&module.slot), text(&module.kind)), ("ChannelA-DIMM0", "DDR4"));
    assert_eq!((module.size_bytes, module.speed_mts), (Some(4 << 30), Some(2133)));
    assert_eq!((text(&module.part_number), text(&module.serial)), ("KVR21S15S8/4", "2E1B3A44"));
    assert_eq!(hardware.problems, []);
}

#[test]
fn without_the_kernels_copy_the_firmware_table_tells_the_same() {
    let tree = Tree::unpack("intel-desktop");
    let whole = section!(sections(&tree.platform()), Hardware);
    tree.remove("sys/class/dmi");
    assert_eq!(section!(sections(&tree.platform()), Hardware), whole);
}

#[test]
fn what_may_not_be_read_is_unknown_because() {
    let tree = Tree::unpack("intel-desktop");
    tree.make_unreadable("sys/class/dmi/id/board_serial");
    tree.make_unreadable("sys/class/dmi/id/product_uuid");
    tree.remove("sys/firmware");
    let hardware = section!(sections(&tree.platform()), Hardware);
    let board = hardware.board.unwrap();
    assert_eq!((board.serial, text(&board.name)), (None, "H110-OPS"), "its neighbours are told");
    assert_eq!(hardware.system_uuid, None);
    assert_eq!(code(&hardware.problems, "board.serial"), Some("unreadable"));
    assert_eq!(code(&hardware.problems, "system_uuid"), Some("unreadable"));
    assert_eq!(code(&hardware.problems, "memory.modules"), Some("not_offered"));
    let message = &hardware.problems.iter().find(|problem| problem.item == "board.serial").unwrap().message;
    assert!(message.contains("board_serial failed: "), "{message}");
}

#[test]
fn a_damaged_firmware_table_is_said_and_what_came_before_is_told() {
    let tree = Tree::unpack("intel-desktop");
    tree.remove("sys/class/dmi");
    tree.write("sys/firmware/dmi/tables/DMI", b"\x00\x18\x00\x00\x01\x00");
    let hardware = section!(sections(&tree.platform()), Hardware);
    assert_eq!(code(&hardware.problems, "memory.modules"), Some("unreadable"));
    assert_eq!(code(&hardware.problems, "firmware.vendor"), Some("not_offered"));
    assert_eq!(hardware.processors.len(), 1);
}

#[test]
fn an_arm_board_is_named_by_its_device_tree_and_has_two_kinds_of_processor() {
    let tree = Tree::unpack("arm64-board");
    let hardware = section!(sections(&tree.platform()), Hardware);
    let board = hardware.board.unwrap();
    assert_eq!((text(&board.name), text(&board.serial)), ("Rockchip RK3399 Board", "c8a9b7f2e0d15643"));
    assert_eq!(code(&hardware.problems, "board.vendor"), Some("not_offered"));
    let kinds: Vec<_> = hardware
        .processors
        .iter()
        .map(|kind| (text(&kind.model), kind.cores, kind.threads, kind.max_khz))
        .collect();
    let expected = [
        ("Cortex-A53", Some(4), Some(4), Some(1_416_000)),
        ("Cortex-A72", Some(2), Some(2), Some(1_800_000)),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(hardware.memory.unwrap().swap_bytes, Some(0), "no swap is known to be none");
}

#[test]
fn a_virtual_machine_without_firmware_says_why_each_name_is_unknown() {
    let tree = Tree::unpack("small-vm");
    let hardware = section!(sections(&tree.platform()), Hardware);
    for item in
        ["system.vendor", "board.serial", "firmware.date", "system_uuid", "chassis_type", "memory.modules"]
    {
        assert_eq!(code(&hardware.problems, item), Some("not_offered"), "{item}");
    }
    assert_eq!(code(&hardware.problems, "processor.max"), Some("not_offered"));
    let processor = &hardware.processors[0];
    let counts = (processor.sockets, processor.cores, processor.threads);
    assert_eq!(counts, (Some(1), Some(2), Some(2)), "from cpuinfo, as there is no topology");
}

#[test]
fn disks_are_told_as_udev_knows_them() {
    let tree = Tree::unpack("intel-desktop");
    let storage = section!(sections(&tree.platform()), Storage);
    let names: Vec<_> = storage.disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["sda", "sdb"], "no loop, no memory disk, no device mapper");
    let [sda, sdb] = storage.disks.as_slice() else { panic!() };
    assert_eq!(text(&sda.model), "KINGSTON SA400S37120G", "the kernel's own is cut at 16 characters");
    assert_eq!((text(&sda.serial), text(&sda.firmware)), ("50026B77834A1F02", "SBFKB1D1"));
    assert_eq!((text(&sda.wwn), text(&sda.transport)), ("0x50026b77834a1f02", "sata"));
    assert_eq!(
        (sda.size_bytes, sda.rotational, sda.removable),
        (Some(234_441_648 * 512), Some(false), Some(false))
    );
    assert_eq!((sda.vendor.as_ref(), code(&storage.problems, "sda.vendor")), (None, Some("not_offered")));
    assert_eq!((text(&sdb.vendor), text(&sdb.model)), ("SanDisk", "Cruzer Blade"));
    assert_eq!(text(&sdb.transport), "usb");
    assert_eq!((sdb.serial.as_ref(), sdb.wwn.as_ref()), (None, None), "a stick is a person's own");
    assert_eq!(code(&storage.problems, "sdb.serial"), Some("not_offered"));
}

#[test]
fn without_udev_the_kernel_alone_tells_the_disk() {
    let tree = Tree::unpack("intel-desktop");
    tree.remove("run/udev");
    let sda = section!(sections(&tree.platform()), Storage).disks.remove(0);
    assert_eq!(text(&sda.model), "KINGSTON SA400S3");
    assert_eq!((text(&sda.serial), text(&sda.wwn)), ("50026B77834A1F02", "0x50026b77834a1f02"));
}

#[test]
fn memory_cards_and_virtual_disks_are_disks() {
    let arm = section!(sections(&Tree::unpack("arm64-board").platform()), Storage);
    assert_eq!((text(&arm.disks[0].model), text(&arm.disks[0].transport)), ("DF4064", "mmc"));
    assert_eq!(text(&arm.disks[0].serial), "0x1f6c0a2b");
    let vm = section!(sections(&Tree::unpack("small-vm").platform()), Storage);
    assert_eq!(text(&vm.disks[0].transport), "virtio");
    assert_eq!((vm.disks[0].serial.as_ref(), code(&vm.problems, "vda.serial")), (None, Some("not_offered")));
}

#[test]
fn file_systems_are_told_once_with_their_room() {
    let tree = Tree::unpack("intel-desktop");
    let platform = tree.platform();
    platform.set_space("/", Ok(Space { size_bytes: 100, free_bytes: 40 }));
    platform.set_space("/data", Err(io::ErrorKind::PermissionDenied));
    let found = section!(sections(&platform), FileSystems);
    let places: Vec<_> = found.file_systems.iter().map(|one| one.mount_point.as_str()).collect();
    assert_eq!(places, ["/", "/boot/efi", "/data", "/media/LESSON 1"]);
    assert_eq!((found.file_systems[0].size_bytes, found.file_systems[0].free_bytes), (Some(100), Some(40)));
    assert_eq!(found.file_systems[2].free_bytes, None);
    assert_eq!(code(&found.problems, "/data.size"), Some("permission_denied"));
}

#[test]
fn an_overlay_over_a_frozen_root_is_told_beside_what_lies_under_it() {
    let found = section!(sections(&Tree::unpack("arm64-board").platform()), FileSystems);
    let told: Vec<_> =
        found.file_systems.iter().map(|one| (one.mount_point.as_str(), one.read_only)).collect();
    assert_eq!(told, [("/", false), ("/media/root-ro", true)]);
}

#[test]
fn network_cards_are_told_with_bus_and_driver_and_virtual_ones_as_virtual() {
    let found = section!(sections(&Tree::unpack("intel-desktop").platform()), Network);
    let names: Vec<_> = found.interfaces.iter().map(|one| (one.name.as_str(), one.physical)).collect();
    assert_eq!(names, [("docker0", false), ("enp1s0", true)], "no loopback, no plain file");
    let card = &found.interfaces[1];
    assert_eq!((text(&card.bus), text(&card.driver), text(&card.state)), ("pci", "r8169", "up"));
    assert_eq!((card.speed_mbps, card.mtu), (Some(1000), Some(1500)));
    assert_eq!(text(&card.mac), "00:e0:4c:12:34:56");
    assert_eq!(card.permanent_mac, card.mac, "the kernel says that it came with the card");
    assert_eq!(found.problems, []);
}

#[test]
fn an_address_set_by_software_is_not_taken_for_the_burnt_in_one() {
    let tree = Tree::unpack("arm64-board");
    let platform = tree.platform();
    let found = section!(sections(&platform), Network);
    assert_eq!(found.interfaces[0].permanent_mac, None);
    assert_eq!(code(&found.problems, "eth0.permanent_mac"), Some("not_offered"));
    assert_eq!(
        (found.interfaces[0].speed_mbps, code(&found.problems, "eth0.speed")),
        (None, Some("not_offered"))
    );
    assert_eq!(text(&found.interfaces[1].bus), "usb");
    platform.set_permanent_mac("eth0", [0x7a, 1, 2, 3, 4, 5]);
    let found = section!(sections(&platform), Network);
    assert_eq!(text(&found.interfaces[0].permanent_mac), "7a:01:02:03:04:05", "the driver knows it");
}

#[test]
fn the_gateway_is_found_and_asked() {
    let tree = Tree::unpack("intel-desktop");
    let platform = tree.platform();
    platform.set_echo(Ok((Method::Icmp, Duration::from_micros(420))));
    let found = section!(sections(&platform), Reachability);
    let gateway = found.gateway.unwrap();
    assert_eq!(text(&gateway.address), "192.168.0.1");
    assert_eq!((gateway.reachable, gateway.round_trip_micros), (Some(true), Some(420)));
    assert_eq!(text(&gateway.method), "icmp");
    assert_eq!(code(&found.problems, "controller"), Some("not_offered"));
}

#[test]
fn a_silent_gateway_is_a_fact_and_its_round_trip_unknown() {
    let found = section!(sections(&Tree::unpack("intel-desktop").platform()), Reachability);
    assert_eq!(found.gateway.unwrap().reachable, Some(false));
    assert_eq!(code(&found.problems, "gateway.round_trip"), Some("timed_out"));
}

#[test]
fn a_gateway_known_on_its_link_only_is_named_and_not_judged() {
    let found = section!(sections(&Tree::unpack("arm64-board").platform()), Reachability);
    let gateway = found.gateway.unwrap();
    assert_eq!((text(&gateway.address), gateway.reachable), ("fe80::1", None));
    assert_eq!(code(&found.problems, "gateway.reachable"), Some("not_offered"));
}

#[test]
fn the_controller_is_reached_by_address_or_said_to_refuse() {
    let tree = Tree::unpack("small-vm");
    let platform = tree.platform();
    platform.set_connect(Ok(Duration::from_millis(3)));
    let address = Some("127.0.0.1:7443".to_owned());
    let found = section!(collect_with(&platform, address.clone()), Reachability);
    let controller = found.controller.unwrap();
    assert_eq!((controller.address.as_ref(), controller.round_trip_micros), (address.as_ref(), Some(3_000)));
    platform.set_connect(Err(io::ErrorKind::ConnectionRefused));
    let found = section!(collect_with(&platform, address), Reachability);
    assert_eq!(found.controller.unwrap().reachable, Some(false));
    assert_eq!(code(&found.problems, "controller.round_trip"), Some("unreachable"));
}

#[test]
fn software_is_told_as_the_system_names_itself() {
    let tree = Tree::unpack("arm64-board");
    let platform = tree.platform();
    platform.set_architecture(Ok("aarch64".into()));
    platform.set_host_name(Err(io::ErrorKind::PermissionDenied));
    let software = section!(sections(&platform), Software);
    assert_eq!((text(&software.os_name), text(&software.os_version)), ("Kylin", "v10"));
    assert_eq!((text(&software.kernel), text(&software.architecture)), ("5.4.18-85-generic", "aarch64"));
    assert_eq!((software.host_name, software.agent_version.as_str()), (None, "0.1.0"));
    assert_eq!(code(&software.problems, "host_name"), Some("permission_denied"));
}

#[test]
fn an_empty_tree_gives_every_section_with_reasons_and_no_fact() {
    let folder = tempfile::tempdir().unwrap();
    let platform = FakePlatform::new(bbt_agent::platform::Roots::under(folder.path()), 1);
    let found = sections(&platform);
    assert_eq!(found.len(), 6);
    for section in &found {
        assert!(!section.problems().is_empty(), "{} has no reason", section.name());
    }
    assert_eq!(report::evidence(&found), []);
    assert_eq!(section!(found, Storage).disks, []);
}

#[test]
fn every_unknown_fact_has_its_reason() {
    for machine in ["intel-desktop", "arm64-board", "small-vm"] {
        let tree = Tree::unpack(machine);
        let platform = tree.platform();
        let found = sections(&platform);
        let disks = section!(found, Storage);
        for disk in &disks.disks {
            for (fact, known) in [
                ("vendor", disk.vendor.is_some()),
                ("model", disk.model.is_some()),
                ("serial", disk.serial.is_some()),
                ("firmware", disk.firmware.is_some()),
                ("wwn", disk.wwn.is_some()),
                ("transport", disk.transport.is_some()),
            ] {
                let reason = code(&disks.problems, &format!("{}.{fact}", disk.name));
                assert_eq!(known, reason.is_none(), "{machine} {} {fact}", disk.name);
            }
        }
        let hardware = section!(found, Hardware);
        let board: wire::Product = hardware.board.unwrap();
        for (fact, known) in [
            ("vendor", board.vendor.is_some()),
            ("name", board.name.is_some()),
            ("version", board.version.is_some()),
            ("serial", board.serial.is_some()),
        ] {
            let reason = code(&hardware.problems, &format!("board.{fact}"));
            assert_eq!(known, reason.is_none(), "{machine} board.{fact}");
        }
    }
}

#[test]
fn evidence_is_what_stays_with_the_board() {
    let tree = Tree::unpack("intel-desktop");
    let evidence = report::evidence(&sections(&tree.platform()));
    let told: Vec<_> = evidence.iter().map(|one| (one.kind(), one.value.as_str(), one.junk)).collect();
    let expected = [
        (EvidenceKind::BoardUuid, "03000200-0400-0500-0006-000700080009", true),
        (EvidenceKind::BoardSerial, "DEFAULT STRING", true),
        (EvidenceKind::DiskSerial, "50026B77834A1F02", false),
        (EvidenceKind::PermanentMac, "00:E0:4C:12:34:56", false),
    ];
    assert_eq!(told, expected, "no stick, no bridge");
}

#[test]
fn printed_forms_name_every_section() {
    let tree = Tree::unpack("intel-desktop");
    let found = sections(&tree.platform());
    let session = Session::look(&tree.platform());
    let value = report::to_json(&found, &session);
    for section in ["hardware", "storage", "file_systems", "network", "reachability", "software", "usage"] {
        assert!(value[section]["problems"].is_array(), "{section}");
    }
    assert_eq!(value["hardware"]["memory"]["modules"][0]["size_bytes"], 4u64 << 30);
    assert_eq!(value["usage"]["problems"][0]["code"], "not_offered");
    let text = report::to_text(&found, &session);
    assert!(text.contains("i3-6100"), "{text}");
    assert!(
        text.contains("session            unknown, because: Asking whether somebody is signed in"),
        "{text}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_native_platform_reads_another_tree_without_mixing_in_this_machine() {
    let tree = Tree::unpack("intel-desktop");
    let platform = bbt_agent::platform::native(tree.roots());
    let load = platform.load();
    assert_eq!(load.network, [("enp1s0".to_owned(), 123_456_789, 9_876_543)]);
    let disks = [("sda".to_owned(), 480_000 * 512, 960_000 * 512), ("sdb".to_owned(), 200 * 512, 100 * 512)];
    assert_eq!(load.disks, disks);
    assert_eq!((load.processor_busy_permille, load.memory_used_bytes), (None, None));
    assert_eq!(platform.host_name().unwrap(), "class-3-2");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let found = collect_with(platform.as_ref(), Some(address.to_string()));
    assert_eq!(section!(found, Reachability).controller.unwrap().reachable, Some(true), "its own controller");
    assert_eq!(section!(found, Reachability).gateway.unwrap().reachable, None, "not this machine's gateway");
    assert_eq!(code(&section!(found, FileSystems).problems, "/.size"), Some("not_offered"));
}

#[cfg(target_os = "linux")]
#[test]
fn nobody_is_at_the_seat_of_a_set_that_shows_its_greeter() {
    let tree = Tree::unpack("intel-desktop");
    let platform = bbt_agent::platform::native(tree.roots());
    let idleness = platform.session().unwrap_err();
    assert_eq!(idleness.kind(), io::ErrorKind::Unsupported, "session 2 is in front: {idleness}");
    assert!(idleness.to_string().contains("another machine's tree"), "loginctl of this machine is not asked");
    tree.remove("run/systemd/sessions/2");
    assert_eq!(platform.session().unwrap(), Seat::Nobody);
}

#[cfg(target_os = "linux")]
#[test]
fn without_logind_nobody_knows_who_is_at_the_seat() {
    let platform = bbt_agent::platform::native(Tree::unpack("small-vm").roots());
    let session = Session::look(platform.as_ref());
    assert_eq!(session.seat, None);
    assert_eq!(code(&session.problems, "session"), Some("not_offered"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_session_file_that_cannot_be_read_is_unknown_and_not_nobody() {
    let tree = Tree::unpack("intel-desktop");
    tree.remove("run/systemd/sessions/2");
    tree.write("run/systemd/sessions/3", b"USER=\xff\n");
    let session = Session::look(bbt_agent::platform::native(tree.roots()).as_ref());
    assert_eq!(session.seat, None);
    assert_eq!(code(&session.problems, "session"), Some("unreadable"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_pipes_beside_the_session_files_are_not_read() {
    let tree = Tree::unpack("intel-desktop");
    tree.remove("run/systemd/sessions/2");
    let pipe = tree.roots().run.join("systemd/sessions/2.ref");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Reading from it would wait for a writer who never comes.
    assert_eq!(bbt_agent::platform::native(tree.roots()).session().unwrap(), Seat::Nobody);
}
