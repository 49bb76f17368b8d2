//! Why a call comes to nothing: a service refuses, or nobody could ask it.

use crate::ebs::Refusal;
use crate::error::{Error, ErrorKind};

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The service answered so.
    Refused(Box<Refusal>),
    /// Anything else.
    Failed(Error),
}

impl Fault {
    /// The service's code, if it was the service.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.code,
            Self::Failed(_) => "",
        }
    }

    /// Whether it is a matter of permissions.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_denied())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Failed(error) => error,
            Fault::Refused(refusal) => {
                let (action, region) = (refusal.action(), &refusal.region);
                let what = if refusal.is_denied() {
                    format!("{action} is denied in {region}")
                } else if refusal.is_unauthenticated() {
                    format!("the credentials are refused by {action} in {region}")
                } else {
                    format!("{action} failed in {region}")
                };
                Self::new(ErrorKind::Remote, what).with_source(*refusal)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_refusal_names_action_region_and_request() {
        let error = Error::from(Fault::Refused(Box::new(Refusal::example("UnauthorizedOperation", 403))));
        assert_eq!(error.kind(), ErrorKind::Remote);
        assert_eq!(error.to_string(), "ec2:RegisterImage is denied in eu-west-1");
        let source = error.source().unwrap();
        assert_eq!(source.to_string(), "UnauthorizedOperation: No. (HTTP 403, request 59dbff89)");
        let hint = source.downcast_ref::<Refusal>().unwrap().hint().unwrap();
        assert!(hint.contains("ec2:RegisterImage") && hint.contains("service control policy"), "{hint}");
    }
}
