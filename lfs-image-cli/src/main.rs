//! The `lfs-image` command.

fn main() {}
