//! Questions to Windows, each a safe function around one or two calls that have been there since Windows 7.

use std::{
    ffi::OsStr,
    fs, io,
    os::windows::ffi::OsStrExt,
    path::Path,
    ptr::{null, null_mut},
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{ERROR_ALREADY_EXISTS, ERROR_SUCCESS, FILETIME, LocalFree},
    Security::{
        Authorization::{ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1},
        SECURITY_ATTRIBUTES,
    },
    Storage::FileSystem::{CreateDirectoryW, GetDiskFreeSpaceExW},
    System::{
        Registry::{
            HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WRITE, REG_BINARY, REG_OPTION_VOLATILE,
            RRF_RT_REG_BINARY, RegCloseKey, RegCreateKeyExW, RegGetValueW, RegSetValueExW,
        },
        SystemInformation::{
            ComputerNamePhysicalDnsHostname, GetComputerNameExW, GetTickCount64, GlobalMemoryStatusEx,
            MEMORYSTATUSEX,
        },
        Threading::GetSystemTimes,
    },
};

use super::super::Space;

/// A host name has at most 63 characters; names from directories may be longer.
const NAME_CHARS: usize = 256;
/// Lives until the system goes down: its value is made once per start.
const BOOT_KEY: &str = r"SOFTWARE\bbt-agent-boot";
const BOOT_VALUE: &str = "Id";
/// The system, administrators and whoever made it; nothing is inherited from the folder above.
const PRIVATE: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)";

/// Since the system started, sleep included, in steps of some 15 ms.
pub(super) fn uptime() -> Duration {
    // SAFETY: it takes and changes nothing.
    #[expect(unsafe_code, reason = "a call of the system without arguments")]
    let millis = unsafe { GetTickCount64() };
    Duration::from_millis(millis)
}

/// In steps of 100 ns, of all processors together.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessorTimes {
    pub(super) idle: u64,
    /// Idle included.
    pub(super) all: u64,
}

pub(super) fn processor_times() -> io::Result<ProcessorTimes> {
    let [mut idle, mut kernel, mut user] = [FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 }; 3];
    // SAFETY: three places on this stack, each written as a whole before the call returns.
    #[expect(unsafe_code, reason = "a call of the system that writes through pointers")]
    let done = unsafe { GetSystemTimes(&raw mut idle, &raw mut kernel, &raw mut user) };
    checked(done)?;
    let ticks = |time: FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    // The time in the kernel counts idling in.
    Ok(ProcessorTimes { idle: ticks(idle), all: ticks(kernel).saturating_add(ticks(user)) })
}

pub(super) fn memory_used_bytes() -> io::Result<u64> {
    let mut status = MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..Default::default() };
    // SAFETY: the structure lives on this stack and says its own size, as it must.
    #[expect(unsafe_code, reason = "a call of the system that writes through a pointer")]
    let done = unsafe { GlobalMemoryStatusEx(&raw mut status) };
    checked(done)?;
    Ok(status.ullTotalPhys.saturating_sub(status.ullAvailPhys))
}

/// Of the disk that this folder is on.
pub(super) fn space(folder: &Path) -> io::Result<Space> {
    let folder = wide(folder.as_os_str());
    let (mut free_bytes, mut size_bytes) = (0, 0);
    // SAFETY: the name ends with a zero, and the two numbers live on this stack; the third is not asked for.
    #[expect(unsafe_code, reason = "a call of the system that writes through pointers")]
    let done =
        unsafe { GetDiskFreeSpaceExW(folder.as_ptr(), &raw mut free_bytes, &raw mut size_bytes, null_mut()) };
    checked(done)?;
    Ok(Space { size_bytes, free_bytes })
}

pub(super) fn host_name() -> io::Result<String> {
    let mut name = [0u16; NAME_CHARS];
    let mut length = NAME_CHARS as u32;
    // SAFETY: the buffer lives on this stack and has the length that is told.
    #[expect(unsafe_code, reason = "a call of the system that writes into a buffer")]
    let done =
        unsafe { GetComputerNameExW(ComputerNamePhysicalDnsHostname, name.as_mut_ptr(), &raw mut length) };
    checked(done)?;
    Ok(String::from_utf16_lossy(name.get(..length as usize).unwrap_or_default()))
}

/// The id of this start of the system: what an earlier run of the agent put into a key of the registry that does
/// not outlive the start, else `fresh`, put there. Writing needs an administrator.
pub(super) fn boot_id(fresh: [u8; 16]) -> io::Result<[u8; 16]> {
    let key = BootKey::open()?;
    match key.read() {
        Some(id) => Ok(id),
        None => key.write(&fresh).map(|()| fresh),
    }
}

struct BootKey(HKEY);

impl BootKey {
    fn open() -> io::Result<BootKey> {
        let path = wide(OsStr::new(BOOT_KEY));
        let mut key: HKEY = null_mut();
        // SAFETY: the path ends with a zero, the handle is written on success; class, security and disposition
        // may be left out.
        #[expect(unsafe_code, reason = "a call of the system that writes a handle through a pointer")]
        let code = unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                null(),
                REG_OPTION_VOLATILE,
                KEY_READ | KEY_WRITE,
                null(),
                &raw mut key,
                null_mut(),
            )
        };
        registry(code).map(|()| BootKey(key))
    }

    fn read(&self) -> Option<[u8; 16]> {
        let name = wide(OsStr::new(BOOT_VALUE));
        let mut id = [0u8; 16];
        let mut length = id.len() as u32;
        // SAFETY: the name ends with a zero, and the buffer on this stack has the length that is told; a longer
        // value is refused.
        #[expect(unsafe_code, reason = "a call of the system that writes into a buffer")]
        let code = unsafe {
            RegGetValueW(
                self.0,
                null(),
                name.as_ptr(),
                RRF_RT_REG_BINARY,
                null_mut(),
                id.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        (code == ERROR_SUCCESS && length as usize == id.len()).then_some(id)
    }

    fn write(&self, id: &[u8; 16]) -> io::Result<()> {
        let name = wide(OsStr::new(BOOT_VALUE));
        // SAFETY: name and value live until the call returns; the value has the length that is told.
        #[expect(unsafe_code, reason = "a call of the system that reads from a buffer")]
        let code =
            unsafe { RegSetValueExW(self.0, name.as_ptr(), 0, REG_BINARY, id.as_ptr(), id.len() as u32) };
        registry(code)
    }
}

impl Drop for BootKey {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by `open` and is closed once.
        #[expect(unsafe_code, reason = "a handle of the system is given back")]
        unsafe {
            RegCloseKey(self.0);
        }
    }
}

/// Makes a folder, and those above it, that only the system, administrators and its maker may enter. One that is
/// there stays as it is.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    let (sddl, path) = (wide(OsStr::new(PRIVATE)), wide(path.as_os_str()));
    let mut descriptor = null_mut();
    // SAFETY: the text ends with a zero; on success the system allocates the descriptor, which is freed below.
    #[expect(unsafe_code, reason = "a call of the system that writes a pointer through a pointer")]
    let done = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            sddl.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            null_mut(),
        )
    };
    checked(done)?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor,
        bInheritHandle: 0,
    };
    // SAFETY: the path ends with a zero, and the attributes point to the descriptor made above.
    #[expect(unsafe_code, reason = "a call of the system that reads through pointers")]
    let made = checked(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) });
    // SAFETY: the descriptor was allocated by the system for us, is freed once and not used after.
    #[expect(unsafe_code, reason = "memory of the system is given back")]
    unsafe {
        LocalFree(descriptor);
    }
    match made {
        // Another program was faster.
        Err(error) if error.raw_os_error() == Some(ERROR_ALREADY_EXISTS as i32) => Ok(()),
        other => other,
    }
}

fn checked(done: windows_sys::core::BOOL) -> io::Result<()> {
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn registry(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(code as i32)) }
}

/// With the closing zero that the system expects.
fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}
