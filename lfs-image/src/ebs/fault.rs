//! What went wrong with a request, and what that means for the transfer.
//!
//! | class | what | then |
//! |---|---|---|
//! | `Throttled` | too many requests for the account or the snapshot | fewer at a time, again after a while |
//! | `Passing` | the service's own trouble, the network's, an answer that doesn't come | again after a while |
//! | `NotFound` | a snapshot that the service doesn't know (yet) | again for two minutes after its start |
//! | `Final` | everything else | the end, at once |
//!
//! Source: the service model `ebs/2019-11-02`; "Quotas for EBS direct APIs" in the Amazon EBS User Guide.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ebs::Error as Service;
use aws_sdk_ebs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ebs::operation::RequestId as _;
use aws_sdk_ebs::types::{
    AccessDeniedExceptionReason, RequestThrottledExceptionReason, ResourceNotFoundExceptionReason,
    ValidationExceptionReason,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::discreet::discreet;
use super::refusal::Refusal;
use crate::error::{Error, ErrorKind};

/// What a failed request means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    Throttled,
    Passing,
    NotFound,
    Final,
}

/// A failed request.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) class: Class,
    /// Whether the same transfer may succeed later, when somebody has done something about it.
    pub(super) curable: bool,
    /// What happened, as a clause.
    pub(super) message: String,
    /// What the service said, or who came between.
    pub(super) said: Option<Said>,
}

/// Why a request failed, in somebody else's words.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// The service's.
    Refusal(Box<Refusal>),
    /// Anybody else's.
    Words(String),
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refusal(refusal) => refusal.fmt(f),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// A call of the EBS direct APIs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Call {
    StartSnapshot,
    PutSnapshotBlock,
    CompleteSnapshot,
    ListSnapshotBlocks,
    GetSnapshotBlock,
}

impl Call {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::StartSnapshot => "StartSnapshot",
            Self::PutSnapshotBlock => "PutSnapshotBlock",
            Self::CompleteSnapshot => "CompleteSnapshot",
            Self::ListSnapshotBlocks => "ListSnapshotBlocks",
            Self::GetSnapshotBlock => "GetSnapshotBlock",
        }
    }

    /// The quota of the account.
    fn account_quota(self) -> &'static str {
        match self {
            Self::StartSnapshot => "L-AFEBDF7A",
            Self::PutSnapshotBlock => "L-AFAE1BE8",
            Self::CompleteSnapshot => "L-1D4D9345",
            Self::ListSnapshotBlocks => "L-18E976AB",
            Self::GetSnapshotBlock => "L-C125AE42",
        }
    }

    /// The quota of one snapshot, where there is one.
    fn snapshot_quota(self) -> &'static str {
        match self {
            Self::PutSnapshotBlock => "L-1774F84A",
            Self::GetSnapshotBlock => "L-028ACFB9",
            other => other.account_quota(),
        }
    }
}

/// The quota of pending snapshots.
const PENDING_QUOTA: &str = "L-94D7AB7D";

impl Fault {
    /// A fault of the way there or back, which may pass.
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self { class: Class::Passing, curable: true, message: message.into(), said: None }
    }

    /// An answer that no service should give.
    pub(super) fn senseless(call: Call, what: impl std::fmt::Display) -> Self {
        let message = format!("{}: the answer makes no sense: {what}", call.name());
        Self { class: Class::Final, curable: false, message, said: None }
    }

    /// What a failed call means; `region` is for the message.
    pub(super) fn of<E>(call: Call, region: &str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + Into<Service> + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let name = call.name();
        match error {
            SdkError::ServiceError(context) => {
                Self::of_service(call, region, status.unwrap_or(0), context.into_err())
            }
            SdkError::TimeoutError(_) => Self::passing(format!("{name}: no connection in time")),
            SdkError::DispatchFailure(failure) => {
                let Some(error) = failure.as_connector_error() else {
                    return Self::passing(format!("{name}: the connection failed"));
                };
                let said = Said::Words(causes(error));
                if has::<CredentialsError>(error) {
                    let message = "no AWS credentials could be loaded".to_owned();
                    Self { class: Class::Final, curable: true, message, said: Some(said) }
                } else if error.is_user() {
                    Self::on_our_side(name, said)
                } else {
                    Self { said: Some(said), ..Self::passing(format!("{name}: the connection failed")) }
                }
            }
            SdkError::ResponseError(context) => Self {
                said: Some(Said::Words(causes(&SdkError::<E, _>::ResponseError(context)))),
                ..Self::passing(format!("{name}: the answer makes no sense"))
            },
            other => Self::on_our_side(name, Said::Words(causes(&other))),
        }
    }

    /// Nothing was sent.
    fn on_our_side(name: &str, said: Said) -> Self {
        let message = format!("{name} could not be sent");
        Self { class: Class::Final, curable: true, message, said: Some(said) }
    }

    fn of_service<E>(call: Call, region: &str, status: u16, error: E) -> Self
    where
        E: ProvideErrorMetadata + Into<Service>,
    {
        let name = call.name();
        let code = error.code().unwrap_or("no error code").to_owned();
        let said = Some(Said::Refusal(Box::new(Refusal {
            service: "ebs",
            operation: name.to_owned(),
            region: region.to_owned(),
            code: code.clone(),
            message: error.message().map(discreet).unwrap_or_default(),
            status,
            request_id: error.meta().request_id().map(str::to_owned),
        })));
        let fault = |class, curable, message: String| Self { class, curable, message, said: said.clone() };
        let throttled = |quota: &str| {
            fault(
                Class::Throttled,
                true,
                format!("{name} is throttled (quota {quota} of service `ebs` in {region})"),
            )
        };
        let error = error.into();
        match (&error, code.as_str()) {
            (Service::RequestThrottledException(e), _) => match e.reason() {
                Some(RequestThrottledExceptionReason::AccountThrottled) => throttled(call.account_quota()),
                _ => throttled(call.snapshot_quota()),
            },
            (_, "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "SlowDown") => {
                throttled(call.account_quota())
            }
            (Service::ConcurrentLimitExceededException(_), _) => fault(
                Class::Passing,
                true,
                format!(
                    "too many snapshots are pending in {region} (quota {PENDING_QUOTA} of service `ebs`)"
                ),
            ),
            (Service::ResourceNotFoundException(e), _)
                if e.reason() == Some(&ResourceNotFoundExceptionReason::SnapshotNotFound) =>
            {
                fault(Class::NotFound, false, format!("{name}: there is no such snapshot in {region}"))
            }
            (Service::AccessDeniedException(e), _)
                if *e.reason() == AccessDeniedExceptionReason::DependencyAccessDenied =>
            {
                fault(
                    Class::Final,
                    true,
                    format!(
                        "{name} was denied the use of the KMS key: its policy, or the caller's, must allow kms:DescribeKey, \
                         kms:GenerateDataKeyWithoutPlaintext, kms:Decrypt, kms:ReEncrypt* and kms:CreateGrant"
                    ),
                )
            }
            (Service::ServiceQuotaExceededException(_), _) => fault(
                Class::Final,
                true,
                format!("{name} exceeds a quota of the account in {region} ({})", call.account_quota()),
            ),
            (Service::ValidationException(e), _) => match e.reason() {
                Some(
                    ValidationExceptionReason::WriteRequestTimeout
                    | ValidationExceptionReason::ConflictingBlockUpdate,
                ) => fault(Class::Passing, true, format!("{name}: the service wasn't ready")),
                Some(reason) => {
                    fault(Class::Final, false, format!("{name} was refused as invalid ({})", reason.as_str()))
                }
                None => fault(Class::Final, false, format!("{name} was refused as invalid")),
            },
            (Service::ConflictException(_), _) => fault(
                Class::Final,
                false,
                format!("{name} conflicts with an earlier request of the same client token"),
            ),
            (
                _,
                "ExpiredToken"
                | "ExpiredTokenException"
                | "RequestExpired"
                | "InvalidClientTokenId"
                | "UnrecognizedClientException"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch"
                | "IncompleteSignature"
                | "MissingAuthenticationToken"
                | "MissingAuthenticationTokenException",
            ) => fault(
                Class::Final,
                true,
                format!("the AWS credentials are not valid, or not any more ({name})"),
            ),
            (Service::AccessDeniedException(_), _) => denied(name, region, said),
            _ if status == 403 => denied(name, region, said),
            _ if status >= 500 || status == 429 || status == 408 || code == "RequestTimeout" => {
                if status == 429 || status == 503 {
                    throttled(call.account_quota())
                } else {
                    fault(Class::Passing, true, format!("{name}: the service failed (status {status})"))
                }
            }
            _ => fault(Class::Final, false, format!("{name} failed (status {status})")),
        }
    }

    /// As an error.
    pub(super) fn into_error(self) -> Error {
        let error = Error::new(ErrorKind::Remote, self.message);
        match self.said {
            Some(Said::Refusal(refusal)) => error.with_source(*refusal),
            Some(Said::Words(words)) => error.with_source(words),
            None => error,
        }
    }
}

/// Why a transfer stops.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) error: Error,
    /// Whether going on later makes sense.
    pub(super) curable: bool,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self { curable: fault.curable, error: fault.into_error() }
    }
}

impl Stop {
    /// One that the same transfer may get over when it is run again.
    pub(super) fn curable(error: Error) -> Self {
        Self { error, curable: true }
    }

    /// One that it never gets over.
    pub(super) fn for_good(error: Error) -> Self {
        Self { error, curable: false }
    }
}

fn denied(name: &str, region: &str, said: Option<Said>) -> Fault {
    let message = format!(
        "access denied: the caller needs the IAM action ebs:{name} on arn:aws:ec2:{region}::snapshot/*, and no policy of the \
         organisation may forbid it"
    );
    Fault { class: Class::Final, curable: true, message, said }
}

/// Whether an error is, or comes from, one of this type.
fn has<E: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error's causes, innermost last, without those that only repeat.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_sdk_ebs::error::ErrorMetadata;
    use aws_sdk_ebs::operation::put_snapshot_block::PutSnapshotBlockError;
    use aws_sdk_ebs::types::error::{
        RequestThrottledException, ResourceNotFoundException, ValidationException,
    };

    use super::*;

    fn service(status: u16, error: PutSnapshotBlockError) -> Fault {
        Fault::of_service(Call::PutSnapshotBlock, "eu-north-1", status, error)
    }

    fn code(status: u16, code: &str) -> Fault {
        service(
            status,
            PutSnapshotBlockError::generic(ErrorMetadata::builder().code(code).message("no").build()),
        )
    }

    #[test]
    fn classes() {
        for (status, text, class, says) in [
            (
                403,
                "AccessDeniedException",
                Class::Final,
                "ebs:PutSnapshotBlock on arn:aws:ec2:eu-north-1::snapshot/*",
            ),
            (403, "ExpiredTokenException", Class::Final, "credentials"),
            (400, "ThrottlingException", Class::Throttled, "L-AFAE1BE8"),
            (503, "ServiceUnavailable", Class::Throttled, "L-AFAE1BE8"),
            (500, "InternalServerException", Class::Passing, "status 500"),
            (404, "UnknownOperationException", Class::Final, "status 404"),
        ] {
            let fault = code(status, text);
            assert_eq!(fault.class, class, "{text}");
            assert!(fault.message.contains(says), "{}", fault.message);
            assert_eq!(fault.said.as_ref().unwrap().to_string(), format!("{text}: no (HTTP {status})"));
            let error = fault.into_error();
            assert_eq!(Refusal::of(&error).unwrap().action(), "ebs:PutSnapshotBlock");
        }
    }

    #[test]
    fn reasons() {
        let throttled = RequestThrottledException::builder()
            .reason(RequestThrottledExceptionReason::ResourceLevelThrottle);
        let fault = service(400, PutSnapshotBlockError::RequestThrottledException(throttled.build()));
        assert!(fault.class == Class::Throttled && fault.message.contains("L-1774F84A"), "{}", fault.message);
        let missing =
            ResourceNotFoundException::builder().reason(ResourceNotFoundExceptionReason::SnapshotNotFound);
        let fault = service(404, PutSnapshotBlockError::ResourceNotFoundException(missing.build()));
        assert_eq!(fault.class, Class::NotFound);
        for (reason, class) in [
            (ValidationExceptionReason::InvalidBlock, Class::Final),
            (ValidationExceptionReason::ConflictingBlockUpdate, Class::Passing),
        ] {
            let invalid = ValidationException::builder().reason(reason).build();
            let fault = service(400, PutSnapshotBlockError::ValidationException(invalid));
            assert_eq!(fault.class, class);
        }
    }
}
