//! Sections become what is sent and what is shown: state frames that tell only what changed, frames of
//! samples, evidence of identity, and the printed forms.

pub mod samples;
