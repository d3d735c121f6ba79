//! Brings an operation to whoever has the store: the running controller, or this process.

use std::sync::Arc;

use bbt_domain::access::Actor;
use serde_json::{Value as Json, json};

use super::Failure;
use crate::{
    app::public_address_or_first,
    clock::SystemClock,
    config::DataFolder,
    control::{self, Answer},
    county,
    desk::Desk,
    operation::{Operation, Operations, Page},
    tasks::Nudge,
};

/// Does one operation and gives its answer.
pub(super) async fn ask(folder: &DataFolder, operation: Operation) -> Result<Json, Failure> {
    let socket = folder.socket();
    let asked = control::ask(&socket, &operation).await.map_err(|error| {
        Failure(format!("the running controller cannot be asked through {}: {error}", socket.display()))
    })?;
    match asked {
        Some(Answer::Ok(value)) => Ok(value),
        Some(Answer::Error(sentence)) => Err(Failure(sentence)),
        None => Ok(here(folder).await?.run(&Actor::Local, operation).await?),
    }
}

/// Every item of a list, page by page.
pub(super) async fn ask_all(
    folder: &DataFolder,
    operation: impl Fn(Option<String>) -> Operation,
) -> Result<Vec<Json>, Failure> {
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let page: Page = serde_json::from_value(ask(folder, operation(after.take())).await?)?;
        items.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(items),
        }
    }
}

/// Operations of this process, which holds the data folder's lock while they live.
pub(super) async fn here(folder: &DataFolder) -> Result<Operations, Failure> {
    let county = county::open(folder, Arc::new(SystemClock)).await?;
    let public = &county.config.public;
    let listen = &county.config.listen;
    let enrollment = public_address_or_first(&public.enrollment, &public.names, listen.enrollment);
    let console = public_address_or_first(&public.console, &public.names, listen.console);
    let lock = county.lock;
    Ok(Operations {
        context: county.context,
        authority: county.authority,
        denylist: county.denylist,
        sealing: county.sealing,
        webhooks: county.config.webhooks,
        desk: Desk::new(&console),
        booked: Nudge::default(),
        folder: folder.clone(),
        backups: Arc::default(),
        pki: county.pki,
        guard: county.guard,
        exchange: Nudge::default(),
        enrollment,
        live: Box::new(move || {
            let _held = &lock;
            json!(null)
        }),
    })
}
