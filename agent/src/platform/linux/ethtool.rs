//! The one question that has no file: an interface's burnt-in address (`ETHTOOL_GPERMADDR`).

use std::io;

use rustix::{
    io::Errno,
    ioctl::{self, Opcode},
    net::{AddressFamily, SocketType},
};

const SIOCETHTOOL: Opcode = 0x8946;
const ETHTOOL_GPERMADDR: u32 = 0x20;
/// `IFNAMSIZ`, with the closing zero byte.
const NAME_BYTES: usize = 16;
/// `MAX_ADDR_LEN`: the kernel never writes more.
const ADDRESS_BYTES: usize = 32;
/// Of an Ethernet address.
const MAC_BYTES: u32 = 6;

/// `struct ethtool_perm_addr`.
#[repr(C)]
struct PermanentAddress {
    command: u32,
    size: u32,
    data: [u8; ADDRESS_BYTES],
}

/// `struct ifreq`: a name and a union, of which the kernel reads the pointer. The rest is at least as long as
/// the longest member on every architecture.
#[repr(C)]
struct Request {
    name: [u8; NAME_BYTES],
    data: *mut PermanentAddress,
    rest: [usize; 3],
}

/// `None` where the driver does not tell one, or the interface is no Ethernet.
pub(super) fn permanent_mac(interface: &str) -> io::Result<Option<[u8; 6]>> {
    if interface.len() >= NAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface name has at most 15 bytes"));
    }
    let mut name = [0; NAME_BYTES];
    name[..interface.len()].copy_from_slice(interface.as_bytes());
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let mut address =
        PermanentAddress { command: ETHTOOL_GPERMADDR, size: MAC_BYTES, data: [0; ADDRESS_BYTES] };
    let mut request = Request { name, data: &raw mut address, rest: [0; 3] };
    // SAFETY: SIOCETHTOOL reads an `ifreq` whose pointer leads to the command's structure. Both live on this
    // stack until the call returns, and `data` has room for the longest address the kernel knows.
    #[expect(unsafe_code, reason = "an ioctl whose argument is a pointer within a structure")]
    let asked = unsafe { ioctl::ioctl(&socket, ioctl::Updater::<SIOCETHTOOL, Request>::new(&mut request)) };
    match asked {
        Ok(()) if address.size == MAC_BYTES => {
            let mut mac = [0; MAC_BYTES as usize];
            mac.copy_from_slice(&address.data[..MAC_BYTES as usize]);
            Ok((mac != [0; 6]).then_some(mac))
        }
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
