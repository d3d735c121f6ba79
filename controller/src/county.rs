//! A county's data folder: made by `init`, opened by everything else.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bbt_domain::{
    access::{Actor, Role},
    identity::{Standing, StandingKind, TrustDomain},
    ids::{Incarnation, UserId},
};
use bbt_store::{
    OpenError, Store, StoreError,
    devices::{device_stand, devices_revoked},
    meta::{County, county_create, county_find},
    people::{Person, person_add},
    sets::{devices_without_set, set_adopt},
};

use crate::{
    clock::{SharedClock, guard::GuardedClock},
    config::{Config, ConfigError, DataFolder, FILE},
    context::{Context, new_id},
    files, password,
    pki::{
        self, PkiError,
        authority::{Authority, SharedAuthority},
        revoke::{Denylist, RevocationError},
        rotation::remove_retired_keys,
        sealing::{SealingError, SealingKey},
    },
};

/// Name of the first account.
pub const ADMIN: &str = "admin";

/// Why a county's data cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum CountyError {
    /// `init` was run before.
    #[error(
        "{0} holds a county already: use another folder with --data, or go on with `bbt-controller serve`"
    )]
    Exists(PathBuf),
    /// `init` was not run.
    #[error("{0} holds no county: run `bbt-controller init --county NAME --data {0}` first")]
    Absent(PathBuf),
    /// Another process has it.
    #[error(
        "{0} is in use by another bbt-controller: it is starting or stopping; try again in a few seconds"
    )]
    Locked(PathBuf),
    /// A file or folder.
    #[error("{path} cannot be {done}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// made, read, locked
        done: &'static str,
        /// What the system says.
        reason: io::Error,
    },
    /// Configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Keys.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The key that seals secrets.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// Revocations.
    #[error(transparent)]
    Revocations(#[from] RevocationError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The password could not be hashed.
    #[error("the password of {ADMIN} could not be hashed: {0}")]
    Password(String),
}

/// What `init` is told.
#[derive(Debug)]
pub struct NewCounty {
    /// As people say it.
    pub name: String,
    /// Names in the listeners' certificates and in printed commands.
    pub names: Vec<String>,
    /// Of the first account.
    pub password: String,
    /// Where the root's key goes.
    pub root_key: PathBuf,
}

/// Makes a county: keys, store, first account, and last the configuration, by which the rest is known to be
/// whole. An `init` that was cut short is begun anew.
pub async fn create(
    folder: &DataFolder,
    new: NewCounty,
    clock: &SharedClock,
) -> Result<Arc<Authority>, CountyError> {
    let home = folder.path();
    make_folder(home)?;
    let _lock = Lock::take(folder)?;
    let marker = home.join(FILE);
    if marker.exists() {
        return Err(CountyError::Exists(home.to_owned()));
    }
    for leftover in [
        folder.database(),
        folder.database().with_extension("db-wal"),
        folder.database().with_extension("db-shm"),
    ] {
        match std::fs::remove_file(&leftover) {
            Err(reason) if reason.kind() != io::ErrorKind::NotFound => {
                return Err(CountyError::File { path: leftover, done: "removed", reason });
            }
            _ => {}
        }
    }
    make_folder(&folder.pki())?;
    let now = clock.now();
    let authority = Authority::create(&folder.pki(), &new.root_key, &new.name, now)?;
    Denylist::open(&folder.revocations())?;

    let hash = password::hash(&new.password).map_err(|error| CountyError::Password(error.to_string()))?;
    let county = County {
        name: new.name,
        trust_domain: TrustDomain::from_random(pki::random()?),
        incarnation: Incarnation::from_bytes(pki::random()?),
        created_at: now,
    };
    let admin = Person {
        id: UserId::from_bytes(new_id(now)),
        login: ADMIN.to_owned(),
        role: Role::CountyAdmin,
        password: hash,
        language: String::new(),
    };
    let store = Store::open(&folder.database(), now)?;
    store
        .write(move |tx| {
            county_create(tx, &county)?;
            person_add(tx, &Actor::Local, &admin, now)
        })
        .await?;
    drop(store);

    let names = new.names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "# bbt-controller; every key and its default: bbt-controller check --config-only\n\n\
         [public]\n# In the listeners' certificates and in printed commands.\nnames = [{names}]\n"
    );
    files::write_atomically(&marker, text.as_bytes(), 0o600).map_err(|reason| CountyError::File {
        path: marker,
        done: "written",
        reason,
    })?;
    Ok(Arc::new(authority))
}

/// An opened county.
pub struct OpenCounty {
    /// Its configuration under the environment.
    pub config: Config,
    /// Store, clock, county.
    pub context: Arc<Context>,
    /// Root and issuing key.
    pub authority: SharedAuthority,
    /// The folder of keys and certificates.
    pub pki: PathBuf,
    /// The clock of `context`, for whoever keeps its mark and accepts the system's.
    pub guard: Arc<GuardedClock>,
    /// Who may not connect.
    pub denylist: Arc<Denylist>,
    /// Seals secrets at rest.
    pub sealing: Arc<SealingKey>,
    /// Held while the county is open.
    pub lock: Lock,
}

/// Opens a county for this process alone. Revocations are replayed before anything else can happen.
pub async fn open(folder: &DataFolder, clock: SharedClock) -> Result<OpenCounty, CountyError> {
    let home = folder.path();
    // A folder that cannot be entered is not an absent one.
    match std::fs::metadata(home.join(FILE)) {
        Ok(_) => {}
        Err(reason) if reason.kind() == io::ErrorKind::NotFound => {
            return Err(CountyError::Absent(home.to_owned()));
        }
        Err(reason) => return Err(CountyError::File { path: home.join(FILE), done: "read", reason }),
    }
    let config = Config::load(home)?;
    let lock = Lock::take(folder)?;
    remove_retired_keys(&folder.pki())?;
    let authority = Authority::load(&folder.pki())?;
    let mark = folder.clock_mark();
    let guard = GuardedClock::open(&mark, clock, authority.since()).map_err(|reason| CountyError::File {
        path: mark,
        done: "read",
        reason,
    })?;
    let guard = Arc::new(guard);
    let clock: SharedClock = guard.clone();
    let authority = Arc::new(ArcSwap::from_pointee(authority));
    let denylist = Arc::new(Denylist::open(&folder.revocations())?);
    let store = Store::open(&folder.database(), clock.now())?;
    let county = store.read(county_find).await?.ok_or_else(|| CountyError::Absent(home.to_owned()))?;
    let rules = Arc::new(ArcSwap::from_pointee(config.rules()));
    let context = Arc::new(Context { store, clock, county, rules, troubles: Arc::default() });
    replay_revocations(&context, &denylist).await?;
    adopt_devices(&context).await?;
    let sealing = Arc::new(SealingKey::open_or_create(&folder.pki())?);
    Ok(OpenCounty { config, context, authority, pki: folder.pki(), guard, denylist, sealing, lock })
}

/// Makes the store agree with the revocation log, which is right: it is written first and never rewound.
async fn replay_revocations(context: &Context, denylist: &Denylist) -> Result<(), StoreError> {
    let now = context.now();
    let denied = denylist.all();
    context
        .store
        .write(move |tx| {
            let actor = Actor::System("revocations");
            let kept = devices_revoked(tx, &actor)?;
            let why = "as the revocation log has it";
            for device in denied.iter().filter(|device| !kept.contains(device)) {
                match device_stand(tx, &actor, *device, Standing::Revoked, StandingKind::Plain, why, now) {
                    // Enrolled after the backup that this store came from: the list alone keeps it out.
                    Ok(_) | Err(StoreError::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            for device in kept.iter().filter(|device| !denied.contains(device)) {
                device_stand(tx, &actor, *device, Standing::Active, StandingKind::Plain, why, now)?;
            }
            Ok(())
        })
        .await
}

/// Gives each device of an earlier version, which knew no sets, a set of its own.
async fn adopt_devices(context: &Context) -> Result<(), CountyError> {
    let actor = Actor::System("upgrade");
    let devices = context.store.read(move |tx| devices_without_set(tx, &Actor::System("upgrade"))).await?;
    for device in devices {
        let (new, now, actor) = (context.new_set()?, context.now(), actor.clone());
        context.store.write(move |tx| set_adopt(tx, &actor, device, &new, now)).await?;
    }
    Ok(())
}

/// The data folder's lock; given back when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it, or says who has it.
    pub fn take(folder: &DataFolder) -> Result<Self, CountyError> {
        make_folder(&folder.run())?;
        let path = folder.lock();
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|reason| CountyError::File { path: path.clone(), done: "opened", reason })?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(CountyError::Locked(folder.path().to_owned())),
            Err(error) => Err(CountyError::File { path, done: "locked", reason: error.into() }),
        }
    }
}

fn make_folder(path: &Path) -> Result<(), CountyError> {
    files::private_folder(path).map_err(|reason| CountyError::File {
        path: path.to_owned(),
        done: "made",
        reason,
    })
}
