//! One exam for every engine.
