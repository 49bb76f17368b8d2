//! The one error type of this crate.
//!
//! An [`Error`] says *what* went wrong and *where* (the archive entry, the offset, the limit); its
//! [`source`](std::error::Error::source) says why. `Display` prints the first and never the second, so a
//! caller that walks the chain prints each cause once.

use std::fmt;

/// What a caller can act on. Details stay in the message, and in the chain of sources.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was given is damaged, contradicts itself, or names something that no image can hold: the archive, the specification. The
    /// same again fails again.
    Input,
    /// It does not fit: a count, a length, a limit of a format or of one's own. Only less would do.
    Capacity,
    /// The disk, filesystem or volume asked for is smaller than what it is to hold: a larger one would do.
    TooSmall,
    /// Reading or writing failed; an [`io::Error`](std::io::Error) among the sources says how.
    Io,
    /// A remote service refused, after all tries that were worth while, or stayed silent.
    Remote,
    /// The caller asked to stop.
    Interrupted,
    /// The caller broke a rule that the documentation states: an id of another tree, content of a store that isn't the one, calls
    /// out of order. The program is to be mended.
    Misuse,
    /// Our bug.
    Internal,
}

/// What went wrong and where; [`source`](std::error::Error::source) says why.
///
/// # Examples
///
/// ```
/// use lfs_image::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::TooSmall, "partition 3 needs 12 sectors more");
/// assert_eq!(error.kind(), ErrorKind::TooSmall);
/// assert_eq!(error.to_string(), "partition 3 needs 12 sectors more");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind. The message is a clause without a capital or a full stop that carries its
    /// evidence: the name, the offset, the limit.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// Damaged or impossible input.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Input, message)
    }

    /// Something does not fit.
    pub(crate) fn capacity(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Capacity, message)
    }

    /// Something would fit a larger disk.
    pub(crate) fn too_small(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TooSmall, message)
    }

    /// A mistake in the program that calls.
    pub(crate) fn misuse(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Misuse, message)
    }

    /// A failed read or write: `what` names the file and the operation.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, what).with_source(source)
    }

    /// A broken invariant of this crate.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Wraps this error in a wider statement of the same kind: what was being done when it happened.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self::new(self.kind(), message).with_source(self)
    }

    /// What a caller can act on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if self.0.kind == ErrorKind::Internal {
            f.write_str(" (this is a bug in lfs-image, please report it)")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn display_leaves_the_cause_to_the_chain() {
        let error = Error::io("read rootfs.tar at byte 512", std::io::Error::other("disk on fire"));
        assert_eq!(error.to_string(), "read rootfs.tar at byte 512");
        assert_eq!(error.source().unwrap().to_string(), "disk on fire");
        let wider = error.context("layer 2");
        assert_eq!(wider.kind(), ErrorKind::Io);
        assert_eq!(wider.to_string(), "layer 2");
        assert_eq!(wider.source().unwrap().to_string(), "read rootfs.tar at byte 512");
    }
}
