//! HTTP and the TLS under it: through the proxies that the environment names, trusting whom the machine trusts, or a file
//! says, as with the `aws` command.
//!
//! The SDK's own client knows neither.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::profile;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::os_shim_internal::{Env, Fs};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::error::{Error, Result};

/// No bundle of certificates is larger: all of the world's have a quarter of a MiB.
const MAX_BUNDLE: u64 = 16 << 20;

/// Connections to services, which all clients share.
#[derive(Clone, Debug)]
pub(crate) struct Wire(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tls: TlsContext,
    /// Each has its own connections, so the same settings get the same one.
    connectors: Mutex<Vec<(Timeouts, SharedHttpConnector)>>,
}

/// To connect, and to read.
type Timeouts = (Option<Duration>, Option<Duration>);

impl Wire {
    /// Connections that trust the certificates in a file alone, or those that the machine trusts.
    pub(super) fn new(bundle: Option<&Path>) -> Result<Self> {
        let tls = bundle.map_or_else(|| Ok(TlsContext::default()), trusting)?;
        Ok(Self(Arc::new(Inner { tls, connectors: Mutex::default() })))
    }

    /// What makes requests.
    pub(crate) fn connector(&self, settings: &HttpConnectorSettings) -> SharedHttpConnector {
        let timeouts = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = self.0.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, connector)) = connectors.iter().find(|(of, _)| *of == timeouts) {
            return connector.clone();
        }
        let mut builder =
            Connector::builder().connector_settings(settings.clone()).proxy_config(ProxyConfig::from_env());
        builder.set_sleep_impl(aws_smithy_async::rt::sleep::default_async_sleep());
        let connector =
            builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(self.0.tls.clone()).build();
        let connector = SharedHttpConnector::new(connector);
        connectors.push((timeouts, connector.clone()));
        connector
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.connector(settings)
    }
}

/// The file of certificates that the environment (`AWS_CA_BUNDLE`) or the profile (`ca_bundle`) names.
pub(super) async fn configured_bundle(profile: Option<&str>) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let profile = profile.map(|name| name.to_owned().into());
    // What is wrong with the files is told where the rest of them is read.
    let profile = profile::load(&Fs::real(), &Env::real(), &Default::default(), profile).await.ok()?;
    profile.get("ca_bundle").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Trust in the certificates in a file and in no others.
fn trusting(path: &Path) -> Result<TlsContext> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BUNDLE).read_to_end(&mut pem))
        .map_err(|e| Error::io(format!("read the certificates in {}", path.display()), e))?;
    let mut usable = RootCertStore::empty();
    let mut store = TrustStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| {
            Error::input(format!("the certificates in {} can't be read", path.display())).with_source(e)
        })?;
        // Bundles have some that are no authorities any more. The connector would panic at them.
        if usable.add(certificate.clone()).is_ok() {
            store.add_pem_certificate(encoded(&certificate));
        }
    }
    if usable.is_empty() {
        let what = format!("there is no certificate of an authority in {}", path.display());
        return Err(Error::input(what));
    }
    TlsContext::builder()
        .with_trust_store(store)
        .build()
        .map_err(|e| Error::input(format!("the certificates in {}", path.display())).with_source(e))
}

/// A certificate as PEM.
fn encoded(certificate: &CertificateDer<'_>) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_bundle_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.pem");
        let refused = || Wire::new(Some(&path)).unwrap_err().to_string();
        assert!(refused().starts_with("read the certificates in "), "{}", refused());
        let section =
            |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        for (text, says) in [
            (String::new(), "no certificate of an authority"),
            ("nothing of the kind".to_owned(), "no certificate of an authority"),
            (section("bm90aGluZw=="), "no certificate of an authority"),
            (section("?"), "can't be read"),
        ] {
            std::fs::write(&path, &text).unwrap();
            assert!(refused().contains(says), "{text}: {}", refused());
        }
    }
}
