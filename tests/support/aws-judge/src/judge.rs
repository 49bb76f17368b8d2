//! The server as a value: starts, can be asked, stops when dropped.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};

use crate::config::Config;
use crate::control;
use crate::images::{Image, Mapping};
use crate::report::{BlockReport, ImageReport, Report, SnapshotReport};
use crate::server;
use crate::sigv4::hex;
use crate::state::{Block, Phase, Shared, Snapshot};
use crate::tls::Tls;
use crate::volume::{self, View};
use crate::{BLOCK_SIZE, time};

/// A running server.
#[derive(Debug)]
pub struct Judge {
    shared: Arc<Shared>,
    scheme: &'static str,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Judge {
    /// Starts on a port that the kernel chooses.
    ///
    /// # Errors
    /// If there is no port, no thread, or no room for the file with the blocks.
    pub fn start(config: Config) -> io::Result<Self> {
        Self::start_on(config, 0)
    }

    /// Starts on a port of one's own.
    ///
    /// # Errors
    /// Likewise.
    pub fn start_on(config: Config, port: u16) -> io::Result<Self> {
        let slow = config.uplink.is_some();
        let tls = config.tls.as_ref().map(Tls::acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared::new(config)?);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            if slow {
                // Else the kernel takes whole blocks at once, and the client doesn't feel the line.
                socket.set_recv_buffer_size(64 << 10)?;
            }
            socket.set_reuseaddr(true)?;
            socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
            socket.listen(1024)?
        };
        let address = listener.local_addr()?;
        runtime.spawn(server::serve(listener, tls, Arc::clone(&shared)));
        Ok(Self { shared, scheme, address, runtime: Some(runtime) })
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:PORT`, or with `https` where it has a certificate, for all services.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// What a client's process needs in its environment: endpoint, credentials, region, and nothing of the user's.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        let config = self.config();
        let mut env = vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ACCESS_KEY_ID", config.access_key),
            ("AWS_SECRET_ACCESS_KEY", config.secret_key),
            ("AWS_REGION", config.region.clone()),
            ("AWS_DEFAULT_REGION", config.region),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("AWS_CONFIG_FILE", "/dev/null".into()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
            ("NO_PROXY", "127.0.0.1".into()),
            ("no_proxy", "127.0.0.1".into()),
        ];
        env.extend(config.session_token.map(|token| ("AWS_SESSION_TOKEN", token)));
        env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The configuration as it is now.
    #[must_use]
    pub fn config(&self) -> Config {
        self.shared.state().config.clone()
    }

    /// Changes the configuration; `faults` in it only through [`Judge::set_faults`].
    pub fn configure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut self.shared.state().config);
    }

    /// Replaces the script by a JSON list; `[]` for none.
    ///
    /// # Errors
    /// If it isn't one.
    pub fn set_faults(&self, json: &str) -> io::Result<()> {
        let faults = control::parse_faults(json.as_bytes())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        control::arm(&self.shared, faults);
        Ok(())
    }

    /// Everything that happened so far.
    #[must_use]
    pub fn report(&self) -> Report {
        report(&self.shared)
    }

    /// A snapshot with its blocks, deleted or not.
    #[must_use]
    pub fn snapshot(&self, id: &str) -> Option<SnapshotReport> {
        snapshot(&self.shared, id)
    }

    /// The 512 KiB that a snapshot or an ancestor holds; `None` where nothing was ever put (or kept).
    ///
    /// # Errors
    /// If they can't be read.
    pub fn block(&self, id: &str, index: u32) -> io::Result<Option<Vec<u8>>> {
        let place =
            find(&self.shared, id).and_then(|snapshot| snapshot.block(index).map(|block| block.place));
        place.map_or(Ok(None), |place| self.shared.blocks.get(place))
    }

    /// The bytes of the whole volume, as an instance sees it.
    ///
    /// # Errors
    /// If there is no such snapshot, its data wasn't kept, or `out` fails.
    pub fn write_volume(&self, id: &str, view: View, out: &mut dyn Write) -> io::Result<()> {
        let snapshot = find(&self.shared, id).ok_or_else(|| no_snapshot(id))?;
        volume::write(&self.shared, &snapshot, view, out)
    }

    /// The same as a file, with holes where there would be zeros.
    ///
    /// # Errors
    /// Likewise.
    pub fn save_volume(&self, id: &str, view: View, path: &Path) -> io::Result<()> {
        let snapshot = find(&self.shared, id).ok_or_else(|| no_snapshot(id))?;
        volume::save(&self.shared, &snapshot, view, &File::create(path)?)
    }

    /// A completed snapshot in the configured region that no call made.
    ///
    /// # Errors
    /// If a block isn't 512 KiB, lies outside, or can't be kept.
    pub fn plant_snapshot(
        &self,
        gib: u32,
        blocks: impl IntoIterator<Item = (u32, Vec<u8>)>,
    ) -> io::Result<String> {
        let config = self.config();
        let id = self.shared.state().id("snap");
        let mut snapshot = Snapshot::new(id.clone(), &config.region, gib);
        for (index, data) in blocks {
            if data.len() != BLOCK_SIZE || index >= snapshot.block_count() {
                let message = format!("block {index} of {} bytes doesn't fit", data.len());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            let place = self.shared.blocks.put(&data)?;
            let digest = Sha256::digest(&data).into();
            snapshot.blocks.insert(index, Block { digest, place, puts: 0, acknowledged: true });
        }
        snapshot.phase = Phase::Completed;
        snapshot.completed = Some(Instant::now());
        if config.encryption_by_default {
            snapshot.encrypted = true;
            snapshot.kms_key = Some(config.default_kms_key);
        }
        self.shared.state().snapshots.push(snapshot);
        Ok(id)
    }

    /// As if somebody else had deleted a snapshot; whether there was one.
    pub fn delete_snapshot(&self, id: &str) -> bool {
        let mut state = self.shared.state();
        let found = state.snapshots.iter_mut().find(|snapshot| snapshot.id == id && !snapshot.deleted);
        found.map(|snapshot| snapshot.deleted = true).is_some()
    }

    /// An available AMI in the configured region that no call made.
    #[must_use]
    pub fn plant_image(&self, name: &str, snapshot: &str) -> String {
        let mut state = self.shared.state();
        let id = state.id("ami");
        let region = state.config.region.clone();
        let size = state.snapshot(&region, snapshot).map_or(1, |snapshot| snapshot.gib);
        let mapping = Mapping {
            device: "/dev/xvda".into(),
            snapshot: Some(snapshot.into()),
            size,
            kind: "gp3".into(),
            delete: true,
            ..Mapping::default()
        };
        state.images.push(Image {
            id: id.clone(),
            region,
            deregistered: false,
            started: Instant::now(),
            until: Instant::now(),
            fails: false,
            created: time::now(),
            name: name.into(),
            description: String::new(),
            architecture: "x86_64".into(),
            virtualization: "hvm".into(),
            boot_mode: None,
            tpm: None,
            imds: None,
            uefi_data: None,
            ena: true,
            sriov: None,
            root_device: "/dev/xvda".into(),
            mappings: vec![mapping],
            tags: std::collections::BTreeMap::new(),
            permissions: std::collections::BTreeSet::new(),
            deprecation: None,
            source: None,
        });
        id
    }

    /// Waits until an operation was called so often; whether it was, in that time.
    #[must_use]
    pub fn wait_for(&self, operation: &str, calls: u64, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        loop {
            let now = self.shared.state().operations.get(operation).map_or(0, |operation| operation.calls);
            if now >= calls || Instant::now() >= end {
                return now >= calls;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_millis(200));
        }
    }
}

fn no_snapshot(id: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no snapshot {id}"))
}

/// A snapshot, deleted or not.
pub(crate) fn find(shared: &Shared, id: &str) -> Option<Snapshot> {
    let mut state = shared.state();
    state.settle();
    state.snapshots.iter().find(|snapshot| snapshot.id == id).cloned()
}

pub(crate) fn report(shared: &Shared) -> Report {
    let mut state = shared.state();
    state.settle();
    Report {
        operations: state.operations.clone(),
        snapshots: state.snapshots.iter().map(of_snapshot).collect(),
        images: state.images.iter().map(of_image).collect(),
        parameters: state.parameters.clone(),
        violations: state.violations.clone(),
        log: state.log.clone(),
        bytes_received: state.bytes_received,
        bytes_sent: state.bytes_sent,
        peak_requests: state.peak_requests,
        connections: state.connections,
    }
}

pub(crate) fn snapshot(shared: &Shared, id: &str) -> Option<SnapshotReport> {
    let found = find(shared, id)?;
    let blocks = found.blocks.iter().map(|(&index, block)| BlockReport {
        index,
        sha256: hex(&block.digest),
        puts: block.puts,
    });
    Some(SnapshotReport { blocks: blocks.collect(), ..of_snapshot(&found) })
}

fn of_snapshot(snapshot: &Snapshot) -> SnapshotReport {
    SnapshotReport {
        id: snapshot.id.clone(),
        region: snapshot.region.clone(),
        state: snapshot.status().into(),
        state_message: match &snapshot.phase {
            Phase::Error(why) => Some(why.clone()),
            _ => None,
        },
        deleted: snapshot.deleted,
        sealed: matches!(snapshot.phase, Phase::Sealed { .. } | Phase::Completed),
        volume_size: snapshot.gib,
        description: snapshot.description.clone(),
        tags: snapshot.tags.clone(),
        encrypted: snapshot.encrypted,
        kms_key: snapshot.kms_key.clone(),
        parent: snapshot.parent.clone(),
        client_token: snapshot.client_token.clone(),
        timeout: snapshot.timeout,
        block_count: snapshot.blocks.len(),
        puts: snapshot.puts,
        resent: snapshot.resent,
        most_puts: snapshot.blocks.values().map(|block| block.puts).max().unwrap_or(0),
        peak_puts_per_second: snapshot.peak,
        shared_with: snapshot.shared_with.clone(),
        blocks: Vec::new(),
    }
}

fn of_image(image: &Image) -> ImageReport {
    let mut mappings = std::collections::BTreeMap::new();
    for (number, mapping) in (1..).zip(&image.mappings) {
        for (name, value) in &mapping.given {
            mappings.insert(format!("{number}.{name}"), value.clone());
        }
    }
    ImageReport {
        id: image.id.clone(),
        region: image.region.clone(),
        state: image.state().into(),
        deregistered: image.deregistered,
        name: image.name.clone(),
        description: image.description.clone(),
        architecture: image.architecture.clone(),
        virtualization: image.virtualization.clone(),
        boot_mode: image.boot_mode.clone(),
        tpm_support: image.tpm.clone(),
        imds_support: image.imds.clone(),
        uefi_data: image.uefi_data.clone(),
        ena_support: image.ena,
        sriov: image.sriov.clone(),
        root_device: image.root_device.clone(),
        mappings,
        snapshots: image.snapshots().map(Into::into).collect(),
        tags: image.tags.clone(),
        launch_permissions: image.permissions.iter().cloned().collect(),
        deprecation_time: image.deprecation.map(time::iso),
        source: image.source.as_ref().map(|(id, _)| id.clone()),
    }
}
