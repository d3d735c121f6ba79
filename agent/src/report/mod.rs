//! Sections become what is sent and what is shown: state frames that tell only what changed, frames of
//! samples, evidence of identity, the printed forms, and the list of all that can be sent.

mod describe;
mod evidence;
mod fields;
pub mod samples;
mod state;

pub use describe::{to_json, to_text};
pub use evidence::evidence;
pub use fields::{privacy_json, privacy_text};
pub use state::StateTracker;
