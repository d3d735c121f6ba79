//! A backup every night into the folder of `[backup]`, of which the newest are kept.
//!
//! What lies there says what is due: without a file of this night, one is made. One that fails is trouble until one
//! succeeds; so is a folder whose newest backup is two days old, whatever kept it from being renewed.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bbt_domain::{access::Actor, civil::county_time, time::UtcMicros};
use bbt_store::StoreError;

use super::Task;
use crate::{
    backup::Backups,
    config::{Backup as Settings, DataFolder},
    context::Context,
    pki::authority::Authority,
    trouble::{Kind, Trouble},
};

/// Schools and people sleep: from two to five on the county's clock.
const NIGHT_HOURS: std::ops::Range<i8> = 2..5;
/// A backup of this night is younger than this.
const A_NIGHT: Duration = Duration::from_secs(12 * 3_600);
/// Two nights were missed.
const OLD: Duration = Duration::from_secs(48 * 3_600);
/// Files are named `county-2026-11-24T18-00-00Z.backup`, so that names sort by time; no other is touched.
const PREFIX: &str = "county-";
const ENDING: &str = ".backup";

/// Makes them.
pub struct NightlyBackup {
    context: Arc<Context>,
    authority: Arc<ArcSwap<Authority>>,
    data: DataFolder,
    backups: Arc<Backups>,
    settings: Settings,
    /// From when on there could have been one.
    since: UtcMicros,
}

impl NightlyBackup {
    /// As `settings` say.
    pub fn new(
        context: Arc<Context>,
        authority: Arc<ArcSwap<Authority>>,
        data: DataFolder,
        backups: Arc<Backups>,
        settings: Settings,
    ) -> Self {
        let since = context.now();
        Self { context, authority, data, backups, settings, since }
    }

    /// Makes one if it is due, and keeps as many as shall be kept.
    async fn tend(&self, now: UtcMicros) -> Result<(), String> {
        let folder = &self.settings.folder;
        let unusable = |error: io::Error| format!("{} cannot be used: {error}", folder.display());
        let newest = all(folder).map_err(unusable)?.last().copied();
        let troubles = &self.context.troubles;
        if !NIGHT_HOURS.contains(&county_time(now).hour()) || newest.is_some_and(|at| now.since(at) < A_NIGHT)
        {
            if now.since(newest.unwrap_or(self.since)) >= OLD {
                troubles.raise(Trouble::BackupOld { last: newest }, now);
            }
            return Ok(());
        }
        let (authority, actor) = (self.authority.load_full(), Actor::System("nightly_backup"));
        let made =
            self.backups.make_noted(&self.context, authority, &self.data, actor, folder.join(name(now)));
        let made = made.await.map_err(|error| error.to_string())?;
        tracing::info!(file = %made["file"], bytes = %made["size_bytes"], "the nightly backup was made");
        troubles.clear(Kind::BackupFailed);
        troubles.clear(Kind::BackupOld);
        forget_old(folder, self.settings.keep.into()).map_err(unusable)
    }
}

impl Task for NightlyBackup {
    const NAME: &'static str = "nightly_backup";
    /// What failed is tried again within the night.
    const EVERY: Duration = Duration::from_secs(10 * 60);

    async fn run(&self) -> Result<Option<Duration>, StoreError> {
        if self.settings.is_wanted() {
            let now = self.context.now();
            if let Err(reason) = self.tend(now).await {
                self.context.troubles.raise(Trouble::BackupFailed { reason }, now);
            }
        }
        Ok(None)
    }
}

fn name(at: UtcMicros) -> String {
    format!("{PREFIX}{}{ENDING}", UtcMicros::from_secs(at.as_secs()).to_string().replace(':', "-"))
}

/// When the backup called `name` was made; `None` for every other file.
fn made_at(name: &str) -> Option<UtcMicros> {
    let stamp = name.strip_prefix(PREFIX)?.strip_suffix(ENDING)?;
    let (day, time) = stamp.split_once('T')?;
    format!("{day}T{}", time.replace('-', ":")).parse().ok()
}

/// The backups in `folder`, the oldest first.
fn all(folder: &Path) -> io::Result<Vec<UtcMicros>> {
    let mut times = Vec::new();
    for entry in fs::read_dir(folder)? {
        times.extend(entry?.file_name().to_str().and_then(made_at));
    }
    times.sort();
    Ok(times)
}

fn forget_old(folder: &Path, keep: usize) -> io::Result<()> {
    let times = all(folder)?;
    let surplus = times.len().saturating_sub(keep);
    times.into_iter().take(surplus).try_for_each(|at| fs::remove_file(folder.join(name(at))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{ManualClock, SharedClock},
        county::{self, NewCounty},
    };

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn each_night_makes_one_and_what_keeps_it_from_being_made_is_told() {
        let home = tempfile::tempdir().unwrap();
        let (data, folder) = (DataFolder::new(home.path().join("data")), home.path().join("backups"));
        // 2:30 at night in the county.
        let clock = Arc::new(ManualClock::at("2026-09-18T18:30:00Z".parse().unwrap()));
        let shared: SharedClock = clock.clone();
        let new = NewCounty {
            name: "county".into(),
            names: vec!["127.0.0.1".into()],
            password: "chalk-and-blackboard-1".into(),
            root_key: home.path().join("root.key"),
        };
        county::create(&data, new, &shared).await.unwrap();
        let county = county::open(&data, shared).await.unwrap();
        let settings = Settings { folder: folder.clone(), keep: 2 };
        let context = Arc::clone(&county.context);
        let task = NightlyBackup::new(context, Arc::clone(&county.authority), data, Arc::default(), settings);
        let kinds =
            || county.context.troubles.all().iter().map(|noted| noted.trouble.kind()).collect::<Vec<_>>();

        task.run().await.unwrap();
        assert_eq!(kinds(), [Kind::BackupFailed], "there is no such folder");
        fs::create_dir(&folder).unwrap();
        task.run().await.unwrap();
        clock.advance(Duration::from_secs(3_600));
        task.run().await.unwrap();
        assert_eq!((all(&folder).unwrap().len(), kinds()), (1, vec![]), "one a night");
        for _ in 0..3 {
            clock.advance(DAY);
            task.run().await.unwrap();
        }
        assert_eq!(all(&folder).unwrap().len(), 2, "two are kept");
        // By day, two nights without a controller later.
        clock.advance(DAY * 2 + DAY / 3);
        task.run().await.unwrap();
        assert_eq!(kinds(), [Kind::BackupOld]);
    }

    #[test]
    fn the_newest_are_kept_and_no_other_file_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        for day in 1..=9 {
            let at: UtcMicros = format!("2026-09-0{day}T18:00:00Z").parse().unwrap();
            fs::write(folder.path().join(name(at)), b"").unwrap();
        }
        for other in ["county.db", "county-spring.backup", "county-2026-09-01T18-00-00Z.backup.unfinished"] {
            fs::write(folder.path().join(other), b"").unwrap();
        }
        forget_old(folder.path(), 7).unwrap();
        let kept = all(folder.path()).unwrap();
        assert_eq!((kept.len(), kept[0]), (7, "2026-09-03T18:00:00Z".parse().unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 7 + 3);
    }
}
