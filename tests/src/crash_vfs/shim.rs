//! Between SQLite and its own way to files: the default VFS of this process, which lets everything through and
//! notes what changes a recorded folder.
//!
//! It is a copy of the system's VFS in which `xOpen` and `xDelete` are ours. A recorded file stays the system's
//! file; only its table of methods is replaced by a copy in which those that change, sync or close are ours.
#![expect(unsafe_code, reason = "SQLite's VFS is an interface in C; nothing safe wraps it")]

use std::{
    collections::HashMap,
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr,
    sync::{Mutex, OnceLock},
};

use anyhow::{Context, Result, ensure};
use rusqlite::ffi;

use super::{Act, SharedLog, begin, locked, recorded};

const NAME: &CStr = c"recorded";

/// A table of methods that is never freed, by its address: tables of the system are static, ours are leaked.
type Methods = &'static ffi::sqlite3_io_methods;

/// The system's VFS.
struct System(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite calls a registered VFS from any thread itself; we only read it.
unsafe impl Send for System {}
// SAFETY: as above.
unsafe impl Sync for System {}

static SYSTEM: OnceLock<System> = OnceLock::new();
/// Our table for each of the system's; a handful, however many files are opened.
static TABLES: Mutex<Vec<(usize, Methods)>> = Mutex::new(Vec::new());
/// The recorded files that are open, by the addresses of their handles.
static OPEN: Mutex<Option<HashMap<usize, Open>>> = Mutex::new(None);

#[derive(Clone)]
struct Open {
    log: SharedLog,
    name: String,
    system: Methods,
}

/// Makes ours the default. The first call does it; opened before, a database is not seen.
pub(super) fn install() -> Result<()> {
    static INSTALLED: OnceLock<c_int> = OnceLock::new();
    let code = *INSTALLED.get_or_init(|| {
        // SAFETY: NULL asks for the default VFS, which lives as long as the process.
        let system = unsafe {
            ffi::sqlite3_initialize();
            ffi::sqlite3_vfs_find(ptr::null())
        };
        let system = SYSTEM.get_or_init(|| System(system)).0;
        // SAFETY: checked not to be null by `as_ref`; a VFS is plain data and may be copied.
        let Some(copied) = (unsafe { system.as_ref() }).copied() else { return ffi::SQLITE_ERROR };
        let ours = ffi::sqlite3_vfs {
            pNext: ptr::null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            xDelete: Some(delete),
            ..copied
        };
        // SAFETY: what is registered must live for ever, and a leaked box does.
        unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1) }
    });
    ensure!(code == ffi::SQLITE_OK, "SQLite does not take another VFS: code {code}");
    SYSTEM.get().context("SQLite has no VFS").map(drop)
}

fn system() -> *mut ffi::sqlite3_vfs {
    SYSTEM.get().map_or(ptr::null_mut(), |system| system.0)
}

/// The recorded file behind a handle; every handle with our methods is one.
fn opened(file: *mut ffi::sqlite3_file) -> Option<Open> {
    locked(&OPEN).as_ref()?.get(&(file as usize)).cloned()
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let vfs = system();
    // SAFETY: the arguments are SQLite's own, passed on to the VFS that they are meant for.
    let code = unsafe {
        match (*vfs).xOpen {
            Some(open) => open(vfs, path, file, flags, out_flags),
            None => return ffi::SQLITE_CANTOPEN,
        }
    };
    if code == ffi::SQLITE_OK && !path.is_null() {
        // SAFETY: after a successful open the handle is filled and its methods, if any, are static.
        unsafe { watch(path, file) };
    }
    code
}

/// Puts our methods into a handle of a recorded file.
unsafe fn watch(path: *const c_char, file: *mut ffi::sqlite3_file) {
    // SAFETY: SQLite gives names as C strings.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
    let Some((log, name)) = recorded(path) else { return };
    // SAFETY: the caller opened the handle.
    let Some(system) = (unsafe { (*file).pMethods.as_ref() }) else { return };
    begin(&log, path, &name);
    locked(&OPEN).get_or_insert_default().insert(file as usize, Open { log, name, system });
    // SAFETY: the handle is ours to set until SQLite gets it, and the table lives for ever.
    unsafe { (*file).pMethods = table(system) };
}

fn table(system: Methods) -> Methods {
    let address = ptr::from_ref(system) as usize;
    let mut tables = locked(&TABLES);
    if let Some((_, ours)) = tables.iter().find(|(known, _)| *known == address) {
        return ours;
    }
    let ours: Methods = Box::leak(Box::new(ffi::sqlite3_io_methods {
        xClose: Some(close),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xSync: Some(sync),
        ..*system
    }));
    tables.push((address, ours));
    ours
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, path: *const c_char, sync_folder: c_int) -> c_int {
    let vfs = system();
    // SAFETY: as in `open`.
    let code = unsafe {
        match (*vfs).xDelete {
            Some(delete) => delete(vfs, path, sync_folder),
            None => return ffi::SQLITE_IOERR_DELETE,
        }
    };
    // SAFETY: SQLite gives names as C strings.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
    if code == ffi::SQLITE_OK
        && let Some((log, name)) = recorded(path)
    {
        locked(&log).note(&name, Act::Delete { durable: sync_folder != 0 });
    }
    code
}

/// Runs a method of the system on a recorded file, and notes the act when it succeeded.
fn noted(
    file: *mut ffi::sqlite3_file,
    act: impl FnOnce() -> Act,
    run: impl FnOnce(Methods) -> Option<c_int>,
) -> c_int {
    let Some(open) = opened(file) else { return ffi::SQLITE_IOERR };
    let code = run(open.system).unwrap_or(ffi::SQLITE_IOERR);
    if code == ffi::SQLITE_OK {
        locked(&open.log).note(&open.name, act());
    }
    code
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite gives `length` readable bytes, which stay there during the call.
    let content = || unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length as usize) }.to_vec();
    // SAFETY: SQLite's own arguments, for a handle that the system opened.
    noted(
        file,
        || Act::Write(offset as u64, content()),
        |system| unsafe { Some(system.xWrite?(file, bytes, length, offset)) },
    )
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: ffi::sqlite3_int64) -> c_int {
    // SAFETY: as in `write`.
    noted(file, || Act::Truncate(length as u64), |system| unsafe { Some(system.xTruncate?(file, length)) })
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: as in `write`.
    noted(file, || Act::Sync, |system| unsafe { Some(system.xSync?(file, flags)) })
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let open = locked(&OPEN).as_mut().and_then(|open| open.remove(&(file as usize)));
    let Some(close) = open.and_then(|open| open.system.xClose) else { return ffi::SQLITE_IOERR };
    // SAFETY: as in `write`.
    unsafe { close(file) }
}
