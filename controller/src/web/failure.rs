//! What a page could not do, and the page that says so: what happened, and what to do next.

use askama::Template;
use axum::response::{IntoResponse, Response};
use bbt_store::StoreError;
use http::{HeaderValue, StatusCode, header};

use super::{Site, format, shell::Shell, visit::Visit};
use crate::{password::PasswordError, standing::StandError};

/// Why there is no such page. The same for what does not exist and for what this person may not see.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// There is none, or it is not theirs to see.
    NotFound,
    /// There is no such ticket, or it is not theirs to see.
    NoTicket,
    /// Their role does not have this.
    Forbidden,
    /// Another site sent the form.
    ForeignForm,
    /// The form's token is not this browser's: it lay open too long, or cookies are switched off.
    FormTooOld,
    /// Too large, cut off, or not a form.
    FormUnreadable,
    /// Somebody else was faster, or it is not time yet: how it stands does not allow it. The sentence is for the
    /// log.
    Changed(String),
    /// Cannot be done now; the reason is for the log.
    Later(String),
    /// The store's disk is full.
    DiskFull,
    /// Ought not to happen; the reason is for the log.
    Broken(String),
    /// A promise of the program itself is broken.
    Bug(&'static str),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { .. } => Self::NotFound,
            StoreError::Forbidden { .. } => Self::Forbidden,
            StoreError::Invalid(sentence) => Self::Changed(sentence),
            StoreError::DiskFull => Self::DiskFull,
            temporary if temporary.is_temporary() => Self::Later(temporary.to_string()),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Later(error.to_string()),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<StandError> for Failure {
    fn from(error: StandError) -> Self {
        match error {
            StandError::Store(error) => error.into(),
            StandError::Log(reason) => Self::Broken(reason),
        }
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        Self::Broken(format!("a page could not be rendered: {error}"))
    }
}

/// The gate takes the failure out again and puts the page in, in the language of the visit.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoTicket => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::ForeignForm | Self::FormTooOld => StatusCode::FORBIDDEN,
            Self::FormUnreadable => StatusCode::BAD_REQUEST,
            Self::Changed(_) => StatusCode::CONFLICT,
            Self::Later(_) | Self::DiskFull => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken(_) | Self::Bug(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Keys of what happened and of what to do.
    const fn messages(&self) -> (&'static str, &'static str) {
        match self {
            Self::NotFound => ("failure-not-found", "failure-not-found-do"),
            Self::NoTicket => ("failure-no-ticket", "failure-no-ticket-do"),
            Self::Forbidden => ("failure-forbidden", "failure-forbidden-do"),
            Self::ForeignForm => ("failure-foreign-form", "failure-foreign-form-do"),
            Self::FormTooOld => ("failure-form-too-old", "failure-form-too-old-do"),
            Self::FormUnreadable => ("failure-form-unreadable", "failure-form-unreadable-do"),
            Self::Changed(_) => ("failure-changed", "failure-changed-do"),
            Self::Later(_) => ("failure-later", "failure-later-do"),
            Self::DiskFull => ("failure-disk-full", "failure-disk-full-do"),
            Self::Broken(_) | Self::Bug(_) => ("failure-broken", "failure-broken-do"),
        }
    }

    /// The page, and a line in the log where somebody has to look into it.
    pub(super) fn page(&self, site: &Site, visit: &Visit) -> Response {
        let reference = match self {
            Self::Broken(reason) | Self::Later(reason) => Some(log(site, visit, reason)),
            Self::Bug(reason) => Some(log(site, visit, reason)),
            Self::Changed(sentence) => {
                tracing::info!(path = visit.here, "a form came too late or too early: {sentence}");
                None
            }
            _ => None,
        };
        let (happened, next) = self.messages();
        let page = FailurePage {
            shell: Shell::new(site, visit, ""),
            status: self.status().as_u16(),
            happened,
            next,
            reference,
        };
        let mut response = match page.render() {
            Ok(text) => (self.status(), format::html(text)).into_response(),
            Err(_) => self.status().into_response(),
        };
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// Logs it under a reference that the page shows too.
fn log(site: &Site, visit: &Visit, reason: &str) -> String {
    let reference: String = site.context.new_id()[10..].iter().map(|byte| format!("{byte:02x}")).collect();
    tracing::error!(reference, path = visit.here, "a console page failed: {reason}");
    reference
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage {
    shell: Shell,
    status: u16,
    happened: &'static str,
    next: &'static str,
    reference: Option<String>,
}
