//! Bytes: what every format room stands on. Knows no format.

pub(crate) mod blob;
pub(crate) mod crc;
pub(crate) mod guid;
pub(crate) mod num;
pub(crate) mod out;
pub(crate) mod relay;
pub(crate) mod seed;
pub(crate) mod sink;
pub(crate) mod store;
pub(crate) mod time;
