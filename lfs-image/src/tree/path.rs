//! Paths of archive entries: bytes between slashes.
