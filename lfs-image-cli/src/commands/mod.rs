//! One file for each command.

pub(crate) mod completions;
pub(crate) mod input;
pub(crate) mod inspect;
pub(crate) mod raw;
