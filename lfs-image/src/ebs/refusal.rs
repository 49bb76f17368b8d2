//! What a service says instead of doing what it was asked for, and what a person can do about it.

use std::error::Error as _;
use std::fmt;

use crate::error::Error;

/// A service's refusal.
///
/// It is among the sources of the [`Error`] that comes of it.
///
/// # Examples
///
/// ```
/// use lfs_image::ebs::Refusal;
///
/// /// The IAM action that is missing, if that is why.
/// fn missing(error: &lfs_image::Error) -> Option<String> {
///     Refusal::of(error).filter(|refusal| refusal.is_denied()).map(Refusal::action)
/// }
/// # let error = lfs_image::Error::new(lfs_image::ErrorKind::Io, "another cause");
/// # assert_eq!(missing(&error), None);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The service as IAM has it: `ebs`, `ec2`, `sts`, `ssm`.
    pub service: &'static str,
    /// The call: `RegisterImage`.
    pub operation: String,
    /// Where it was made.
    pub region: String,
    /// Why, as a code: `InvalidAMIName.Duplicate`.
    pub code: String,
    /// Why, in the service's words.
    pub message: String,
    /// The status of the HTTP reply.
    pub status: u16,
    /// What AWS's support asks for.
    pub request_id: Option<String>,
}

impl Refusal {
    /// The refusal that an error comes of, if it comes of one.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref() {
                return Some(refusal);
            }
            cause = error.source();
        }
        None
    }

    /// The IAM action that the call takes: `ec2:RegisterImage`.
    #[must_use]
    pub fn action(&self) -> String {
        format!("{}:{}", self.service, self.operation)
    }

    /// Whether it is a matter of permissions, not of who is asking.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(
            self.code.as_str(),
            "UnauthorizedOperation"
                | "AccessDenied"
                | "AccessDeniedException"
                | "Client.UnauthorizedOperation"
        )
    }

    /// Whether the service doesn't take the credentials at all.
    #[must_use]
    pub fn is_unauthenticated(&self) -> bool {
        matches!(
            self.code.as_str(),
            "AuthFailure"
                | "InvalidClientTokenId"
                | "UnrecognizedClientException"
                | "ExpiredToken"
                | "ExpiredTokenException"
                | "RequestExpired"
                | "SignatureDoesNotMatch"
                | "InvalidSignatureException"
                | "IncompleteSignature"
                | "MissingAuthenticationToken"
                | "MissingAuthenticationTokenException"
        )
    }

    /// Whether it may be asked again.
    #[cfg(feature = "ami")]
    pub(crate) fn is_transient(&self) -> bool {
        self.is_throttled()
            || self.status >= 500
            || matches!(
                self.code.as_str(),
                "InternalError" | "InternalFailure" | "Unavailable" | "ServiceUnavailable"
            )
    }

    /// Whether it was asked too often.
    pub(crate) fn is_throttled(&self) -> bool {
        self.status == 429
            || matches!(
                self.code.as_str(),
                "RequestLimitExceeded"
                    | "Throttling"
                    | "ThrottlingException"
                    | "RequestThrottled"
                    | "TooManyUpdates"
            )
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self.code.as_str() {
            // The error says it all.
            _ if self.is_denied() && self.service == "ebs" => return None,
            _ if self.is_denied() => format!(
                "it takes the IAM action {}; where a policy allows it already, a service control policy of the \
                 organization, a permissions boundary or a session policy may deny it",
                self.action()
            ),
            "ExpiredToken" | "ExpiredTokenException" => {
                "the credentials have expired: get new ones (`aws sso login`, or whatever they come from)".to_owned()
            }
            "RequestExpired" => "this machine's clock or the credentials may be out of date".to_owned(),
            "AuthFailure" | "OptInRequired" => {
                format!("the credentials may be wrong, or {} not enabled for the account", self.region)
            }
            _ if self.is_unauthenticated() => {
                "the credentials are wrong: `aws sts get-caller-identity` tries them, too".to_owned()
            }
            "SnapshotLimitExceeded" | "ConcurrentSnapshotLimitExceeded" | "ResourceLimitExceeded" => {
                "a quota of the account is reached: 20 copies of snapshots at a time into a region, 100 pending snapshots \
                 (L-94D7AB7D), 50,000 images (L-B665C33B), 5 public ones (L-0E3CBAB9), 1000 that they are shared with \
                 (L-70015FFA)"
                    .to_owned()
            }
            "InvalidAMIName.Duplicate" => "choose another name, or deregister the image that has it".to_owned(),
            "ParameterLimitExceeded" => "the account has all the parameters that it may (10,000 in a Region)".to_owned(),
            _ if self.is_throttled() => {
                format!("{} is called too often in this account: try again later", self.operation)
            }
            _ => return None,
        };
        Some(hint)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        write!(f, " (HTTP {}", self.status)?;
        if let Some(id) = &self.request_id {
            write!(f, ", request {id}")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
impl Refusal {
    /// One of RegisterImage's, to try things with.
    pub(crate) fn example(code: &str, status: u16) -> Self {
        Self {
            service: "ec2",
            operation: "RegisterImage".to_owned(),
            region: "eu-west-1".to_owned(),
            code: code.to_owned(),
            message: "No.".to_owned(),
            status,
            request_id: Some("59dbff89".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn it_is_found_below_what_was_being_done() {
        let error = Error::new(ErrorKind::Remote, "no")
            .with_source(Refusal::example("AuthFailure", 401))
            .context("push");
        assert_eq!(Refusal::of(&error), Some(&Refusal::example("AuthFailure", 401)));
        assert_eq!(Refusal::of(&Error::new(ErrorKind::Remote, "no").with_source("words")), None);
    }

    #[test]
    fn codes_have_classes() {
        assert!(Refusal::example("RequestLimitExceeded", 503).is_throttled());
        assert!(Refusal::example("Throttling", 400).is_throttled());
        assert!(!Refusal::example("AuthFailure", 401).is_denied());
        assert!(Refusal::example("AuthFailure", 401).hint().unwrap().contains("eu-west-1"));
        assert_eq!(Refusal::example("InvalidParameterValue", 400).hint(), None);
    }

    #[cfg(feature = "ami")]
    #[test]
    fn what_may_be_asked_again() {
        assert!(Refusal::example("RequestLimitExceeded", 503).is_transient());
        assert!(Refusal::example("Whatever", 500).is_transient());
        assert!(!Refusal::example("InvalidParameterValue", 400).is_transient());
    }
}
