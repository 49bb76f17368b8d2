//! What a tree becomes on its disk: names, network, access, the services of the first boot.
//!
//! Given to [`ImageSpec::host`](crate::ImageSpec::host); what it changes is listed by [`Image::edits`](crate::Image::edits) before
//! anything is written.

pub use crate::configure::{Fstab, HostSpec, OwnFile, Target};
