//! `lfs-image raw` and what comes of it.
