//! Sections become what is sent and what is shown: state frames that tell only what changed, frames of
//! samples, evidence of identity, and the printed forms.

mod describe;
mod evidence;
pub mod samples;
mod state;

pub use describe::{to_json, to_text};
pub use evidence::evidence;
pub use state::StateTracker;
