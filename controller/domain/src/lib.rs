//! Pure decisions of the county.
