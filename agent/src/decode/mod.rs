//! Formats that devices and kernels write, read without an operating system. Every parser takes text or bytes
//! as they come, never panics and never reads without end: what it cannot read is left out.

pub mod cpuinfo;
pub mod diskstats;
pub mod icmp;
pub mod logind;
pub mod meminfo;
pub mod mountinfo;
pub mod os_release;
pub mod route;
pub mod smbios;
pub mod text;
pub mod udev;
