//! The SQL of the controller.
