//! Processors: names from `/proc/cpuinfo`, counts from the kernel's topology.

use std::{collections::BTreeSet, path::Path};

use bbt_proto::report::v1::Processor;

use super::source::{self, Problems, Unknown};
use crate::{
    decode::cpuinfo::{self, Cpu},
    platform::Roots,
};

/// One entry per kind of processor: boards with fast and slow cores have two. `socket_names` are what the
/// firmware calls the processors, for kernels that do not tell.
pub(super) fn processors(roots: &Roots, socket_names: &[String], problems: &mut Problems) -> Vec<Processor> {
    let file = roots.proc.join("cpuinfo");
    let Some(text) = problems.keep("processors", source::table(&file)) else { return Vec::new() };
    let cpus = cpuinfo::parse(&text);
    if cpus.is_empty() {
        problems.note("processors", Unknown::unreadable(format!("{} names no processor.", file.display())));
    }
    let mut kinds: Vec<Vec<&Cpu>> = Vec::new();
    for cpu in &cpus {
        let alike = |kind: &&mut Vec<&Cpu>| (&kind[0].vendor, &kind[0].model) == (&cpu.vendor, &cpu.model);
        match kinds.iter_mut().find(alike) {
            Some(kind) => kind.push(cpu),
            None => kinds.push(vec![cpu]),
        }
    }
    let folder = roots.sys.join("devices/system/cpu");
    kinds.iter().map(|kind| processor(kind, &folder, socket_names, problems)).collect()
}

fn processor(cpus: &[&Cpu], folder: &Path, socket_names: &[String], problems: &mut Problems) -> Processor {
    let told = |fact: Option<String>, what: &str| {
        fact.ok_or_else(|| Unknown::not_offered(format!("/proc/cpuinfo tells no {what}.")))
    };
    let first = cpus[0];
    let model = first.model.clone().or_else(|| socket_names.first().cloned());
    let by_package: Option<BTreeSet<_>> = cpus.iter().map(|cpu| cpu.package).collect();
    let by_core: Option<BTreeSet<_>> = cpus.iter().map(|cpu| cpu.package.zip(cpu.core)).collect();
    let sockets = groups(cpus, folder, "core_siblings_list").or_else(|why| by_package.map(count).ok_or(why));
    let cores = groups(cpus, folder, "thread_siblings_list").or_else(|why| by_core.map(count).ok_or(why));
    Processor {
        vendor: problems.keep("processor.vendor", told(first.vendor.clone(), "vendor")),
        model: problems.keep("processor.model", told(model, "model")),
        sockets: problems.keep("processor.sockets", sockets),
        cores: problems.keep("processor.cores", cores),
        threads: u32::try_from(cpus.len()).ok(),
        max_khz: problems.keep("processor.max", max_khz(cpus, folder)),
    }
}

/// How many different groups the processors are in, by a topology attribute that lists the group's members.
fn groups(cpus: &[&Cpu], folder: &Path, attribute: &str) -> Result<u32, Unknown> {
    let members: Result<BTreeSet<String>, Unknown> = cpus
        .iter()
        .map(|cpu| source::attribute(&folder.join(format!("cpu{}/topology/{attribute}", cpu.index))))
        .collect();
    members.map(count)
}

fn count<T>(set: BTreeSet<T>) -> u32 {
    u32::try_from(set.len()).unwrap_or(u32::MAX)
}

/// Of the fastest, as cores of one kind may differ by a step.
fn max_khz(cpus: &[&Cpu], folder: &Path) -> Result<u64, Unknown> {
    let speeds: Result<Vec<u64>, Unknown> = cpus
        .iter()
        .map(|cpu| source::number(&folder.join(format!("cpu{}/cpufreq/cpuinfo_max_freq", cpu.index))))
        .collect();
    let fastest = speeds?.into_iter().max().filter(|khz| *khz > 0);
    fastest.ok_or_else(|| Unknown::not_offered("The kernel gives 0 as highest processor speed."))
}
