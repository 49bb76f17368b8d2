//! Answers, and the three ways in which services say no.

use std::fmt::Display;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::sigv4::Unsigned;
use crate::xml::Xml;

/// Which API a request belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Service {
    Ebs,
    Ec2,
    Sts,
    Ssm,
}

impl Service {
    /// The name in a credential scope.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ebs => "ebs",
            Self::Ec2 => "ec2",
            Self::Sts => "sts",
            Self::Ssm => "ssm",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Ebs, Self::Ec2, Self::Sts, Self::Ssm].into_iter().find(|service| service.name() == name)
    }
}

/// A complete answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// The error's code.
    pub(crate) code: Option<String>,
}

impl Reply {
    /// JSON.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// What was asked for in words.
    pub(crate) fn new(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type", kind.into())], body: body.into(), code: None }
    }

    /// With one more header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// A refusal, in no service's form yet.
#[derive(Clone, Debug)]
pub(crate) struct Fail {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    /// EBS has reasons within its errors.
    pub(crate) reason: Option<String>,
}

impl Fail {
    pub(crate) fn new(status: u16, code: &str, message: impl Display) -> Self {
        Self { status, code: code.into(), message: message.to_string(), reason: None }
    }

    /// An error of EBS with a reason.
    pub(crate) fn reason(status: u16, code: &str, reason: &str, message: impl Display) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(status, code, message) }
    }

    /// EBS: ValidationException.
    pub(crate) fn validation(reason: &str, message: impl Display) -> Self {
        Self::reason(400, "ValidationException", reason, message)
    }

    /// EBS: ResourceNotFoundException.
    pub(crate) fn no_snapshot(id: &str) -> Self {
        let message = format!("The snapshot '{id}' does not exist.");
        Self::reason(404, "ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", message)
    }

    /// What a service says to a signature that it doesn't take.
    pub(crate) fn unsigned(service: Service, why: Unsigned) -> Self {
        const SIGNATURE: &str = "The request signature we calculated does not match the signature you provided. Check \
            your AWS Secret Access Key and signing method. Consult the service documentation for details.";
        if service == Service::Ec2 {
            return match why {
                Unsigned::Stale | Unsigned::Malformed => {
                    Self::new(400, "RequestExpired", "Request has expired.")
                }
                _ => Self::new(
                    401,
                    "AuthFailure",
                    "AWS was not able to validate the provided access credentials",
                ),
            };
        }
        let (status, sts) = (if service == Service::Ssm { 400 } else { 403 }, service == Service::Sts);
        let (code, of_sts, message) = match why {
            Unsigned::Missing => (
                "MissingAuthenticationTokenException",
                "MissingAuthenticationToken",
                "Missing Authentication Token",
            ),
            Unsigned::Malformed => (
                "IncompleteSignatureException",
                "IncompleteSignature",
                "Authorization header requires 'Credential', 'SignedHeaders', 'Signature' and a valid 'X-Amz-Date'.",
            ),
            Unsigned::UnknownKey | Unsigned::BadToken => (
                "UnrecognizedClientException",
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            ),
            Unsigned::WrongSignature => ("InvalidSignatureException", "SignatureDoesNotMatch", SIGNATURE),
            Unsigned::Stale => (
                "InvalidSignatureException",
                "SignatureDoesNotMatch",
                "Signature expired: it is not current.",
            ),
            Unsigned::WrongScope => (
                "InvalidSignatureException",
                "SignatureDoesNotMatch",
                "Credential should be scoped to correct service.",
            ),
        };
        Self::new(status, if sts { of_sts } else { code }, message)
    }

    /// What a service says when IAM denies an action.
    pub(crate) fn denied(service: Service, caller: &str, action: &str, resource: &str) -> Self {
        let message = format!(
            "User: {caller} is not authorized to perform: {action} on resource: {resource} because no identity-based \
             policy allows the {action} action"
        );
        match service {
            Service::Ebs => Self::new(
                403,
                "AccessDeniedException:http://internal.amazon.com/coral/com.amazon.coral.service/",
                message,
            ),
            Service::Ec2 => {
                let message = format!("You are not authorized to perform this operation. {message}");
                Self::new(403, "UnauthorizedOperation", message)
            }
            Service::Sts => Self::new(403, "AccessDenied", message),
            Service::Ssm => Self::new(400, "AccessDeniedException", message),
        }
    }

    /// The code without its name space.
    pub(crate) fn short_code(&self) -> &str {
        self.code.split(':').next().unwrap_or(&self.code)
    }

    /// In the service's form.
    pub(crate) fn into_reply(self, service: Service, request_id: &str) -> Reply {
        let short = self.short_code().to_owned();
        let mut reply = match service {
            Service::Ebs => {
                let mut body = json!({"Message": self.message});
                if let Some(reason) = &self.reason {
                    body["Reason"] = json!(reason);
                }
                Reply::json(self.status, &body).with("x-amzn-ErrorType", &self.code)
            }
            Service::Ssm => {
                let body = json!({"__type": self.code, "message": self.message});
                Reply::new(self.status, "application/x-amz-json-1.1", body.to_string())
            }
            Service::Ec2 => {
                let mut xml = Xml::default();
                xml.element("Response", |xml| {
                    xml.element("Errors", |xml| {
                        xml.element("Error", |xml| {
                            xml.text("Code", &self.code).text("Message", &self.message);
                        });
                    });
                    xml.text("RequestID", request_id);
                });
                let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", xml.into_string());
                Reply::new(self.status, "text/xml;charset=UTF-8", body)
            }
            Service::Sts => {
                let mut xml = Xml::default();
                xml.element("Error", |xml| {
                    xml.text("Type", "Sender").text("Code", &self.code).text("Message", &self.message);
                });
                xml.text("RequestId", request_id);
                let space = "https://sts.amazonaws.com/doc/2011-06-15/";
                let body = format!("<ErrorResponse xmlns=\"{space}\">{}</ErrorResponse>", xml.into_string());
                Reply::new(self.status, "text/xml", body)
            }
        };
        reply.code = Some(short);
        reply
    }
}
