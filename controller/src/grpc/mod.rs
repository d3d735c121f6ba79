//! x
/// y
pub const MESSAGE_BYTES: usize = 256 << 10;
