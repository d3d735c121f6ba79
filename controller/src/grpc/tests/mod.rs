//! Certificates by all three ways, asked of the services themselves: a county on a clock set by hand, and PCs that
//! make their own keys. The wire and the handshake are the integration tests'.

mod doubt;
mod reattachment;
mod renewal;
mod requests;
mod stage;
