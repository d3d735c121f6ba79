//! The list of sets as a file: the same filters, written while it is read, so that a large county needs no
//! more memory than a small one.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bbt_domain::{access::Actor, civil::county_time, ids::SetId, time::UtcMicros};
use bbt_store::{
    Store, StoreError, Tx,
    sets::{SetFilter, SetLine, set_list},
};
use http::{HeaderValue, header};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Badge, Filters, fault_words, shown};
use crate::web::{
    Site,
    csv::{self, Cell},
    failure::Failure,
    language::Language,
    visit::Visit,
};

/// Sets read at once.
const PAGE: usize = 200;
/// Pages written ahead of the reader: a slow line holds two pages in memory, and no transaction.
const AHEAD: usize = 2;
/// Keys of the heads.
const COLUMNS: [&str; 10] = [
    "column-school",
    "fact-school-code",
    "column-room",
    "column-code",
    "column-state",
    "column-faults",
    "fact-processor",
    "column-memory-gib",
    "column-device",
    "column-last-report",
];

/// The answer to `?format=csv`.
pub(super) fn file(site: &Site, visit: &Visit, filters: &Filters) -> Result<Response, Failure> {
    let now = site.context.now();
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (store, actor) = (site.context.store.clone(), visit.actor.clone());
    tokio::spawn(write(store, actor, filters.of_store(), visit.language, now, sender));
    let name = format!("attachment; filename=\"sets-{}.csv\"", county_time(now).strftime("%Y-%m-%d"));
    let name = HeaderValue::try_from(name).map_err(|_| Failure::Bug("a file name that is not plain text"))?;
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static(csv::KIND)), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// Page after page, until the end or until nobody reads any more. A page that cannot be read cuts the answer
/// off, which a browser shows as a failed download: half a list never looks like a whole one.
async fn write(
    store: Store,
    actor: Actor,
    filter: SetFilter,
    language: Language,
    now: UtcMicros,
    sender: mpsc::Sender<Result<String, StoreError>>,
) {
    let head = COLUMNS.map(|key| language.text(key));
    let head = csv::line(head.iter().map(|word| Cell::Text(word)));
    let mut chunk = Ok(format!("{}{head}", csv::MARK));
    let mut after: Option<SetId> = None;
    loop {
        let failed = chunk.is_err();
        if sender.send(chunk).await.is_err() || failed {
            return;
        }
        let (actor, filter) = (actor.clone(), filter.clone());
        let read = move |tx: &mut Tx<'_>| set_list(tx, &actor, &filter, after, PAGE, now);
        chunk = match store.read(read).await {
            Ok(lines) if lines.is_empty() => return,
            Ok(lines) => {
                after = lines.last().map(|line| line.id);
                Ok(lines.iter().map(|line| written(language, line)).collect())
            }
            Err(error) => Err(error),
        };
    }
}

fn written(language: Language, line: &SetLine) -> String {
    let device = line.main_device();
    let state = Badge::of_set(line.state, language).word;
    let room = line.place.as_ref().map(|place| shown(&place.room_name)).unwrap_or_default();
    let faults = fault_words(language, line).join("; ");
    let told = |fact: Option<&String>| fact.map(|text| shown(text)).unwrap_or_default();
    let processor = told(device.and_then(|device| device.processor.as_ref()));
    let host = told(device.and_then(|device| device.host_name.as_ref()));
    let memory = device.and_then(|device| device.memory_bytes).map(gibibytes).unwrap_or_default();
    let last = device.and_then(|device| device.last_report_at);
    let last = last.map(|at| county_time(at).strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default();
    csv::line([
        Cell::Text(&line.school_name),
        Cell::Text(line.school_code.as_str()),
        Cell::Text(&room),
        Cell::Text(line.code.as_str()),
        Cell::Text(&state),
        Cell::Text(&faults),
        Cell::Text(&processor),
        Cell::Plain(&memory),
        Cell::Text(&host),
        Cell::Plain(&last),
    ])
}

/// To one place, as a number to be added up.
fn gibibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1_u32 << 30))
}
