//! `/proc/cpuinfo` of every architecture a classroom PC has: x86 (Intel, AMD, Hygon, Zhaoxin), ARM (Phytium,
//! Kunpeng, boards), LoongArch, MIPS (older Loongson), RISC-V. The keys differ, and so does their case.

use std::collections::HashMap;

use super::text;

/// More processors than any machine this runs on has; what follows is not read.
const MAX_CPUS: usize = 4_096;

/// One logical processor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// The kernel's number of it.
    pub index: u32,
    /// As the processor or its maker's code says.
    pub vendor: Option<String>,
    /// The name people know it by.
    pub model: Option<String>,
    /// Physical package, where the file tells.
    pub package: Option<i64>,
    /// Core within its package, where the file tells.
    pub core: Option<i64>,
}

/// All processors of the file.
#[must_use]
pub fn parse(file: &str) -> Vec<Cpu> {
    let mut shared = Block::default();
    let mut cpus: Vec<(u32, Block)> = Vec::new();
    // A block belongs to a processor once it has its number; old ARM kernels write blocks for the whole machine
    // before and after.
    let mut current: Option<u32> = None;
    let mut block = Block::default();
    let mut close = |current: &mut Option<u32>, block: &mut Block| match current.take() {
        Some(index) if cpus.len() < MAX_CPUS => cpus.push((index, std::mem::take(block))),
        _ => shared.fill_from(&std::mem::take(block)),
    };
    for line in file.lines() {
        let Some((key, value)) = line.split_once(':') else {
            if line.trim().is_empty() {
                close(&mut current, &mut block);
            }
            continue;
        };
        let key = key.trim().to_ascii_lowercase();
        if let ("processor", Ok(index)) = (key.as_str(), value.trim().parse()) {
            if current.is_some() {
                close(&mut current, &mut block);
            }
            current = Some(index);
        } else {
            block.insert(key, value);
        }
    }
    close(&mut current, &mut block);
    cpus.into_iter().map(|(index, block)| cpu(index, block, &shared)).collect()
}

fn cpu(index: u32, mut block: Block, shared: &Block) -> Cpu {
    block.fill_from(shared);
    let coded = block.number("cpu implementer").map(|maker| (maker, block.number("cpu part")));
    let arm_maker = coded.and_then(|(maker, _)| arm_maker(maker));
    let arm_model = coded.and_then(|(maker, part)| arm_part(maker, part?));
    let loongson = block.text("cpu family").filter(|family| family.starts_with("Loongson"));
    Cpu {
        index,
        vendor: (block.text("vendor_id").or_else(|| block.text("mvendorid")))
            .or_else(|| arm_maker.map(str::to_owned))
            .or_else(|| loongson.map(|_| "Loongson".to_owned())),
        model: (block.text("model name").or_else(|| arm_model.map(str::to_owned)))
            .or_else(|| block.text("cpu model"))
            .or_else(|| block.text("uarch"))
            .or_else(|| block.text("processor"))
            .or_else(|| block.text("cpu")),
        package: block.integer("physical id").or_else(|| block.integer("package")),
        core: block.integer("core id").or_else(|| block.integer("core")),
    }
}

/// Keys in lower case.
#[derive(Debug, Default)]
struct Block(HashMap<String, String>);

impl Block {
    fn insert(&mut self, key: String, value: &str) {
        if let Some(value) = text::clean(value) {
            self.0.insert(key, value);
        }
    }

    fn fill_from(&mut self, other: &Self) {
        for (key, value) in &other.0 {
            self.0.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).cloned()
    }

    fn integer(&self, key: &str) -> Option<i64> {
        self.0.get(key)?.parse().ok()
    }

    /// As ARM kernels write codes: `0x41`.
    fn number(&self, key: &str) -> Option<u32> {
        let value = self.0.get(key)?;
        match value.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        }
    }
}

/// ARM's list of implementers, as far as PCs and boards go.
fn arm_maker(code: u32) -> Option<&'static str> {
    Some(match code {
        0x41 => "ARM",
        0x42 => "Broadcom",
        0x48 => "HiSilicon",
        0x51 => "Qualcomm",
        0x61 => "Apple",
        0x70 => "Phytium",
        0xc0 => "Ampere",
        _ => return None,
    })
}

/// Core names by implementer and part number.
fn arm_part(maker: u32, part: u32) -> Option<&'static str> {
    Some(match (maker, part) {
        (0x41, 0xc07) => "Cortex-A7",
        (0x41, 0xc08) => "Cortex-A8",
        (0x41, 0xc09) => "Cortex-A9",
        (0x41, 0xc0f) => "Cortex-A15",
        (0x41, 0xd03) => "Cortex-A53",
        (0x41, 0xd04) => "Cortex-A35",
        (0x41, 0xd05) => "Cortex-A55",
        (0x41, 0xd07) => "Cortex-A57",
        (0x41, 0xd08) => "Cortex-A72",
        (0x41, 0xd09) => "Cortex-A73",
        (0x41, 0xd0a) => "Cortex-A75",
        (0x41, 0xd0b) => "Cortex-A76",
        (0x41, 0xd0c) => "Neoverse-N1",
        (0x41, 0xd0d) => "Cortex-A77",
        (0x41, 0xd40) => "Neoverse-V1",
        (0x41, 0xd41) => "Cortex-A78",
        (0x41, 0xd44) => "Cortex-X1",
        (0x41, 0xd49) => "Neoverse-N2",
        (0x48, 0xd01) => "TaiShan-v110",
        (0x48, 0xd02) => "TaiShan-v120",
        (0x70, 0x303) => "FTC310",
        (0x70, 0x660) => "FTC660",
        (0x70, 0x661) => "FTC661",
        (0x70, 0x662) => "FTC662",
        (0x70, 0x663) => "FTC663",
        (0x70, 0x664) => "FTC664",
        (0x70, 0x862) => "FTC862",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const X86: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 158\nmodel name\t: Intel(R) Core(TM) \
                       i3-8100 CPU @ 3.60GHz\nphysical id\t: 0\ncore id\t\t: 3\n\nprocessor\t: 1\nvendor_id\t: \
                       GenuineIntel\nmodel name\t: Intel(R) Core(TM) i3-8100 CPU @ 3.60GHz\n\n";

    #[test]
    fn x86_names_its_model() {
        let cpus = parse(X86);
        assert_eq!(cpus.len(), 2);
        assert_eq!(cpus[0].model.as_deref(), Some("Intel(R) Core(TM) i3-8100 CPU @ 3.60GHz"));
        assert_eq!((cpus[0].package, cpus[0].core), (Some(0), Some(3)));
        assert_eq!((cpus[1].package, cpus[1].index), (None, 1));
    }

    #[test]
    fn a_padded_zhaoxin_vendor_is_trimmed() {
        let file =
            "processor\t: 0\nvendor_id\t:   Shanghai  \nmodel name\t: ZHAOXIN KaiXian KX-6640MA@2.2+GHz\n";
        assert_eq!(parse(file)[0].vendor.as_deref(), Some("Shanghai"));
    }

    #[test]
    fn loongarch_writes_capitals_and_its_own_keys() {
        let file = "system type\t\t: generic-loongson-machine\n\nprocessor\t\t: 0\npackage\t\t\t: 0\ncore\t\t\t: 1\n\
                    CPU Family\t\t: Loongson-64bit\nModel Name\t\t: Loongson-3A5000-HV\nCPU MHz\t\t\t: 2500.00\n";
        let cpus = parse(file);
        assert_eq!(cpus[0].model.as_deref(), Some("Loongson-3A5000-HV"));
        assert_eq!(cpus[0].vendor.as_deref(), Some("Loongson"));
        assert_eq!((cpus[0].package, cpus[0].core), (Some(0), Some(1)));
    }

    #[test]
    fn phytium_is_known_by_code_and_by_name() {
        let coded = "processor\t: 0\nCPU implementer\t: 0x70\nCPU part\t: 0x663\n";
        assert_eq!(parse(coded)[0].model.as_deref(), Some("FTC663"));
        assert_eq!(parse(coded)[0].vendor.as_deref(), Some("Phytium"));
        let named =
            "processor\t: 0\nmodel name\t: Phytium,D2000/8\nCPU implementer\t: 0x70\nCPU part\t: 0x663\n";
        assert_eq!(parse(named)[0].model.as_deref(), Some("Phytium,D2000/8"));
    }

    #[test]
    fn an_old_arm_kernel_says_the_model_once_for_all() {
        let file = "Processor\t: ARMv7 Processor rev 0 (v7l)\nprocessor\t: 0\nBogoMIPS\t: 1.0\n\nprocessor\t: 1\n\n\
                    CPU implementer\t: 0x41\nCPU part\t: 0xc0f\n\nHardware\t: board\n";
        let cpus = parse(file);
        assert_eq!(cpus.len(), 2);
        assert!(cpus.iter().all(|cpu| cpu.model.as_deref() == Some("Cortex-A15")), "{cpus:?}");
    }

    #[test]
    fn an_unknown_part_is_unknown_and_not_zero() {
        let cpus = parse("processor\t: 0\nCPU implementer\t: 0x99\nCPU part\t: 0x1\n");
        assert_eq!((cpus[0].vendor.as_ref(), cpus[0].model.as_ref()), (None, None));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(file in "([Pp]rocessor|cpu part|x)?\t?:? ?(0x)?[0-9a-f]{0,6}\n{0,2}|.{0,300}") {
            let _ = parse(&file);
        }

        #[test]
        fn a_file_cut_anywhere_gives_no_more_processors(cut in 0..X86.len()) {
            prop_assert!(parse(&X86[..cut]).len() <= 2);
        }
    }
}
