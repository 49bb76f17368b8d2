//! One signed request to an AWS service, asked again where that may help.
//!
//! Signing is `aws-sigv4`, the connection is the smithy HTTP client; credentials, endpoints and proxies are found where the aws
//! command finds them. Nothing secret is logged or quoted: a reply that repeats what was signed is cut.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::date_time::Format;
use aws_types::service_config::ServiceConfigKey;
use tokio::time::Instant;

use super::refusal::Fault;
use crate::ebs::{Aws, Refusal};
use crate::error::{Error, ErrorKind, Result};

/// How long a connection may take to come about.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take.
pub(super) const ANSWER: Duration = Duration::from_secs(60);
/// How much of an answer is read: a page of a thousand images has three MiB.
const MAX_REPLY: usize = 16 << 20;
/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(8);
/// Credentials that end so soon are renewed.
const RENEW: Duration = Duration::from_secs(120);
/// A signature is good for five minutes; a clock further off than this is set right.
const SKEW: i64 = 240;

/// A service of AWS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Name {
    Ec2,
    Sts,
    Ssm,
}

impl Name {
    /// What it is called in endpoints, signatures and IAM's actions.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Sts => "sts",
            Self::Ssm => "ssm",
        }
    }

    /// The environment's variable of its endpoint, and its name in a profile's services.
    fn endpoint_keys(self) -> (&'static str, &'static str) {
        match self {
            Self::Ec2 => ("AWS_ENDPOINT_URL", "EC2"),
            Self::Sts => ("AWS_ENDPOINT_URL", "STS"),
            Self::Ssm => ("AWS_ENDPOINT_URL", "SSM"),
        }
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) service: Name,
    pub(super) operation: String,
    pub(super) content_type: &'static str,
    /// `X-Amz-Target`, of services that speak JSON.
    pub(super) target: Option<String>,
    pub(super) body: String,
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: u16,
    body: Vec<u8>,
    request_id: Option<String>,
    date: Option<String>,
}

/// Where AWS is, and who asks.
#[derive(Debug)]
pub(super) struct Line {
    config: SdkConfig,
    connector: SharedHttpConnector,
    credentials: Mutex<Option<Credentials>>,
    /// Seconds by which this machine's clock is behind.
    skew: AtomicI64,
    /// Whether somebody asked to stop.
    stop: Arc<AtomicBool>,
}

impl Line {
    pub(super) fn new(aws: &Aws, stop: Arc<AtomicBool>) -> Self {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).build();
        let (config, connector) = (aws.config().clone(), aws.connector(&settings));
        Self { config, connector, credentials: Mutex::default(), skew: AtomicI64::new(0), stop }
    }

    /// An error once somebody asked to stop.
    pub(super) fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        Ok(())
    }

    /// Sends a request until it is answered, refused for good, or `patience` is over; `urgent` ones are sent even after
    /// somebody asked to stop. The answer's body.
    pub(super) async fn send(
        &self,
        region: &str,
        request: &Request,
        patience: Duration,
        urgent: bool,
    ) -> Result<Vec<u8>, Fault> {
        let attempt = async || self.attempt(region, request).await;
        self.insist(&request.operation, region, patience, urgent, attempt).await
    }

    /// Attempts the same again as long as that may help.
    pub(super) async fn insist<T>(
        &self,
        operation: &str,
        region: &str,
        patience: Duration,
        urgent: bool,
        attempt: impl AsyncFn() -> Result<T, Again>,
    ) -> Result<T, Fault> {
        let started = Instant::now();
        let mut attempts = 0;
        loop {
            let outcome = tokio::select! {
                outcome = attempt() => outcome,
                error = self.stopped(), if !urgent => return Err(error.into()),
            };
            let fault = match outcome {
                Ok(answer) => return Ok(answer),
                Err(Again::No(fault)) => return Err(fault),
                Err(Again::Yes(fault)) => fault,
            };
            let pause = pause(attempts);
            attempts += 1;
            if started.elapsed() + pause > patience {
                return Err(fault);
            }
            tracing::debug!(operation, region, attempts, ?pause, fault = describe(&fault), "again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                error = self.stopped(), if !urgent => return Err(error.into()),
            }
        }
    }

    /// Returns once somebody asked to stop.
    async fn stopped(&self) -> Error {
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn attempt(&self, region: &str, request: &Request) -> Result<Vec<u8>, Again> {
        let credentials = self.credentials().await.map_err(|e| Again::No(e.into()))?;
        let endpoint = self.endpoint(request.service, region);
        let signed = self.sign(&endpoint, region, request, &credentials).map_err(|e| Again::No(e.into()))?;
        let reply = match tokio::time::timeout(ANSWER, self.exchange(signed)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(why)) => {
                return Err(Again::Yes(unreachable(request.service, &request.operation, &endpoint, why)));
            }
            Err(_) => {
                return Err(Again::Yes(unreachable(
                    request.service,
                    &request.operation,
                    &endpoint,
                    silent(),
                )));
            }
        };
        tracing::debug!(
            operation = request.operation,
            region,
            status = reply.status,
            request = reply.request_id,
            "answered"
        );
        if (200..300).contains(&reply.status) {
            return Ok(reply.body);
        }
        let refusal = super::reply::refusal(request, region, reply.status, &reply.body, reply.request_id);
        Err(self.refused(refusal, reply.date.as_deref(), &credentials))
    }

    /// What a refusal means; `date` is the service's time of it.
    pub(super) fn refused(
        &self,
        mut refusal: Refusal,
        date: Option<&str>,
        credentials: &Credentials,
    ) -> Again {
        refusal.message = discreet(&refusal.message, credentials);
        let again = (refusal.is_unauthenticated() && self.corrects_clock(date)) || refusal.is_transient();
        let fault = Fault::Refused(Box::new(refusal));
        if again { Again::Yes(fault) } else { Again::No(fault) }
    }

    async fn exchange(&self, request: http::Request<SdkBody>) -> Result<Reply, String> {
        let request = request.try_into().map_err(|e| format!("{e}"))?;
        let response = self.connector.call(request).await.map_err(|e| causes(&e))?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).map(str::to_owned);
        let request_id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id"));
        let date = header("date");
        let mut stream = ByteStream::new(response.into_body());
        let mut body = Vec::new();
        while let Some(piece) = stream.next().await {
            body.extend_from_slice(&piece.map_err(|e| causes(&e))?);
            if body.len() > MAX_REPLY {
                return Err(format!("the answer has more than {MAX_REPLY} bytes"));
            }
        }
        Ok(Reply { status, body, request_id, date })
    }

    fn sign(
        &self,
        endpoint: &str,
        region: &str,
        request: &Request,
        credentials: &Credentials,
    ) -> Result<http::Request<SdkBody>> {
        let failed = |what: &str, e: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(ErrorKind::Remote, format!("{what} for {}", request.operation)).with_source(e)
        };
        let mut headers = vec![("content-type", request.content_type)];
        if let Some(target) = &request.target {
            headers.push(("x-amz-target", target));
        }
        let identity = credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(request.service.id())
            .time(self.now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| failed("can't sign a request", e.into()))?
            .into();
        let signable = SignableRequest::new(
            "POST",
            endpoint,
            headers.iter().copied(),
            SignableBody::Bytes(request.body.as_bytes()),
        )
        .map_err(|e| failed("can't sign a request", e.into()))?;
        let (instructions, _) =
            sign(signable, &params).map_err(|e| failed("can't sign a request", e.into()))?.into_parts();
        let mut builder = http::Request::post(endpoint)
            .header("user-agent", concat!("lfs-image/", env!("CARGO_PKG_VERSION")))
            .header("content-length", request.body.len());
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        let mut signed = builder
            .body(SdkBody::from(request.body.clone()))
            .map_err(|e| failed(&format!("can't make a request of {endpoint}"), e.into()))?;
        instructions.apply_to_request_http1x(&mut signed);
        Ok(signed)
    }

    #[allow(clippy::disallowed_methods, reason = "a signature carries the time")]
    pub(super) fn now(&self) -> SystemTime {
        let (now, skew) = (SystemTime::now(), self.skew.load(Ordering::Relaxed));
        let by = Duration::from_secs(skew.unsigned_abs());
        let set = if skew >= 0 { now.checked_add(by) } else { now.checked_sub(by) };
        set.unwrap_or(now)
    }

    /// Takes over the service's time if it explains why a signature wasn't accepted.
    fn corrects_clock(&self, date: Option<&str>) -> bool {
        let Some(theirs) = date.and_then(|d| aws_smithy_types::DateTime::from_str(d, Format::HttpDate).ok())
        else {
            return false;
        };
        let off = theirs.secs().saturating_sub(aws_smithy_types::DateTime::from(self.now()).secs());
        if off.abs() < SKEW {
            return false;
        }
        tracing::debug!(seconds = off, "the clock is off");
        self.skew.fetch_add(off, Ordering::Relaxed);
        true
    }

    pub(super) async fn credentials(&self) -> Result<Credentials> {
        let now = self.now();
        let fresh = |c: &Credentials| c.expiry().is_none_or(|end| end > now + RENEW);
        if let Some(known) = &*self.credentials.lock().unwrap_or_else(PoisonError::into_inner)
            && fresh(known)
        {
            return Ok(known.clone());
        }
        let provider = self.config.credentials_provider().ok_or_else(no_credentials)?;
        let found = provider.provide_credentials().await.map_err(|e| {
            let cause = Error::new(ErrorKind::Remote, causes(&e));
            no_credentials().with_source(cause)
        })?;
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }

    /// Where a service is in a region.
    pub(super) fn endpoint(&self, service: Name, region: &str) -> String {
        let (env, id) = service.endpoint_keys();
        let own = || {
            let key =
                ServiceConfigKey::builder().service_id(id).env(env).profile("endpoint_url").build().ok()?;
            self.config.service_config()?.load_config(key)
        };
        // What the configuration says of one service goes before what it says of all; an option goes before both.
        let all = || self.config.endpoint_url().map(str::to_owned);
        let url = if self.config.get_origin("endpoint_url").is_client_config() {
            all()
        } else {
            own().or_else(all)
        };
        let url = url.unwrap_or_else(|| {
            let fips = self.config.use_fips() == Some(true);
            let dual = self.config.use_dual_stack() == Some(true);
            format!(
                "https://{}{}.{region}.{}",
                service.id(),
                if fips { "-fips" } else { "" },
                domain(region, dual)
            )
        });
        format!("{}/", url.trim_end_matches('/'))
    }
}

/// Whether to try again.
#[derive(Debug)]
pub(super) enum Again {
    Yes(Fault),
    No(Fault),
}

/// The domain of a region's services: partitions have their own.
fn domain(region: &str, dual_stack: bool) -> &'static str {
    const DOMAINS: [(&str, &str, &str); 6] = [
        ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
        ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
        ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
        ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
        ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ];
    let (_, plain, dual) = DOMAINS.into_iter().find(|(prefix, ..)| region.starts_with(prefix)).unwrap_or((
        "",
        "amazonaws.com",
        "api.aws",
    ));
    if dual_stack { dual } else { plain }
}

fn no_credentials() -> Error {
    Error::new(
        ErrorKind::Remote,
        "no AWS credentials: they are looked for where the aws command looks for them",
    )
}

/// Why there is no answer.
pub(super) fn silent() -> String {
    format!("no answer in {} seconds", ANSWER.as_secs())
}

pub(super) fn unreachable(service: Name, operation: &str, endpoint: &str, why: String) -> Fault {
    let what = format!("no answer to {}:{operation} from {endpoint}", service.id());
    Fault::Failed(Error::new(ErrorKind::Remote, what).with_source(Error::new(ErrorKind::Remote, why)))
}

fn describe(fault: &Fault) -> String {
    match fault {
        Fault::Refused(refusal) => refusal.to_string(),
        Fault::Failed(error) => causes(error),
    }
}

/// An error and what caused it, in a line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// A service's words without what is nobody's business: some repeat the request that was signed.
fn discreet(message: &str, credentials: &Credentials) -> String {
    let mut said = message.split("The Canonical String").next().unwrap_or_default().trim().to_owned();
    // A page long, and readable only by another call.
    if let Some((before, _)) = said.split_once("Encoded authorization failure message") {
        said = before.trim().to_owned();
    }
    let secrets = [
        Some(credentials.secret_access_key()),
        credentials.session_token(),
        Some(credentials.access_key_id()),
    ];
    for secret in secrets.into_iter().flatten().filter(|secret| !secret.is_empty()) {
        said = said.replace(secret, "…");
    }
    said
}

/// How long to wait before the next attempt: twice as long each time, and not as long as others wait.
fn pause(attempt: u32) -> Duration {
    let longest = Duration::from_millis(250).saturating_mul(1 << attempt.min(10)).min(MAX_PAUSE);
    let random = std::hash::RandomState::new().build_hasher().finish() % 1000;
    longest / 2 + (longest / 2).mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 1000.0)
}
