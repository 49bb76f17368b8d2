//! The connection to AWS: configuration, runtime, HTTP.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
#[cfg(feature = "ami")]
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::engine::{Engine, bug};
use super::fault::Stop;
use super::watch::Watch;
use super::wire::{self, Wire};
use crate::error::{Error, ErrorKind, Result};

/// How long a connection may take to come about, on a line that is full of blocks.
const CONNECT: Duration = Duration::from_secs(15);

/// No deadlines but this one, for a connection to come about.
pub(crate) fn patient(connect: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(connect)
        .disable_read_timeout()
        .disable_operation_timeout()
        .disable_operation_attempt_timeout()
        .build()
}

/// How often a watch is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Where the account is, and who asks. The default is what the `aws` command would use.
///
/// # Examples
///
/// ```
/// use lfs_image::ebs::{Aws, Connect};
///
/// let connect = Connect::new().region("eu-central-1").endpoint_url("http://localhost:4566");
/// let aws = Aws::connect(&connect)?;
/// assert_eq!(aws.region(), "eu-central-1");
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Connect {
    profile: Option<String>,
    region: Option<String>,
    endpoint_url: Option<String>,
    ca_bundle: Option<PathBuf>,
}

impl Connect {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The profile of the `aws` command's configuration.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// The region, such as `eu-central-1`.
    #[must_use]
    pub fn region(mut self, name: impl Into<String>) -> Self {
        self.region = Some(name.into());
        self
    }

    /// Where the services are, in place of AWS's own addresses: one URL for all.
    #[must_use]
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint_url = Some(url.into());
        self
    }

    /// A file of certificates (PEM) to trust, in place of those that the machine trusts.
    #[must_use]
    pub fn ca_bundle(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_bundle = Some(file.into());
        self
    }
}

/// A connection to AWS. Profile, region and credentials are found as the `aws` command finds them: in its files, in the
/// environment, from a login, from the instance that this runs on. So are proxies, and whom to trust (`AWS_CA_BUNDLE`).
///
/// [`Connect`] and [`Upload`](super::Upload) have examples.
#[derive(Debug)]
pub struct Aws {
    runtime: Runtime,
    #[cfg_attr(not(feature = "ami"), expect(dead_code, reason = "kept for EC2's client"))]
    wire: Wire,
    config: SdkConfig,
    region: String,
    ebs: aws_sdk_ebs::Client,
}

impl Aws {
    /// Finds the configuration. Credentials are looked for when they are first needed.
    ///
    /// # Errors
    ///
    /// When no region is configured, a file of certificates can't be used, or no thread can be started.
    pub fn connect(connect: &Connect) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("aws")
            .enable_all()
            .build()
            .map_err(|e| Error::io("start threads for requests", e))?;
        let bundle = match &connect.ca_bundle {
            Some(file) => Some(file.clone()),
            None => runtime.block_on(wire::configured_bundle(connect.profile.as_deref())),
        };
        let wire = Wire::new(bundle.as_deref())?;
        let mut loader =
            aws_config::defaults(aws_config::BehaviorVersion::latest()).http_client(wire.clone());
        if let Some(name) = &connect.profile {
            loader = loader.profile_name(name);
        }
        if let Some(name) = &connect.region {
            loader = loader.region(aws_config::Region::new(name.clone()));
        }
        if let Some(url) = &connect.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let config = runtime.block_on(loader.load());
        let region = config.region().map(ToString::to_string).ok_or_else(|| {
            Error::new(
                ErrorKind::Input,
                "no AWS region is configured: neither an option, AWS_REGION, nor the profile names one",
            )
        })?;
        // Retries, deadlines and their relation to each other are the engine's.
        let ebs = aws_sdk_ebs::config::Builder::from(&config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(patient(CONNECT))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Ok(Self { runtime, wire, config, region, ebs: aws_sdk_ebs::Client::from_conf(ebs) })
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// What makes requests, with these timeouts.
    #[cfg(feature = "ami")]
    pub(crate) fn connector(&self, settings: &HttpConnectorSettings) -> SharedHttpConnector {
        self.wire.connector(settings)
    }

    /// What the services' clients are made of.
    pub(crate) fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// The client of the EBS direct APIs.
    pub(super) fn ebs(&self) -> &aws_sdk_ebs::Client {
        &self.ebs
    }

    /// Starts work on the runtime's threads.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(work)
    }

    /// Waits for a request, on the thread of the caller, which must not be one of the runtime's.
    pub(crate) fn block_on<T>(&self, request: impl Future<Output = T>) -> T {
        self.runtime.block_on(request)
    }

    /// Waits for part of a transfer, with a look at the watch now and then.
    pub(super) fn wait<T>(
        &self,
        engine: &Engine,
        watch: &mut dyn Watch,
        part: impl Future<Output = T>,
    ) -> Result<T, Stop> {
        let mut part = std::pin::pin!(part);
        loop {
            if let Ok(value) = self.block_on(async { tokio::time::timeout(LOOK, &mut part).await }) {
                return Ok(value);
            }
            watch.at(&engine.transfer()).map_err(Stop::curable)?;
        }
    }

    /// Waits for a task, which doesn't outlive that.
    pub(super) fn wait_for_task(
        &self,
        engine: &Engine,
        watch: &mut dyn Watch,
        mut task: Aborting<Result<(), Stop>>,
    ) -> Result<(), Stop> {
        self.wait(engine, watch, &mut task.0)?.unwrap_or_else(|error| Err(bug(&error)))
    }
}

/// A task that ends when nobody waits for it any more.
pub(super) struct Aborting<T>(pub(super) JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
