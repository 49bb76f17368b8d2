//! From a tree to a disk: how large, what goes where, and the one loop that writes it.
//!
//! ```text
//! spec     what is asked for
//! layout   sizes to partitions
//! plan     the disk as a value: table, partitions, filesystem     (no content was read so far)
//! write    front to back, into a sink
//! disk     what is on an image that is there
//! firmware what starts it
//! ```

mod boot;
mod describe;
mod disk;
mod firmware;
mod layout;
mod plan;
mod spec;
mod write;

pub use crate::ext4::{Free, InodeCount, Journal};
pub use crate::raw::guid::Uuid;
pub use describe::{Filesystem, Region};
pub use disk::{Disk, DiskPartition};
pub use firmware::Firmware;
pub use layout::{Partition, Role};
pub use plan::Image;
pub use spec::{Boot, GrubConfig, ImageSpec, PartitionTable};
