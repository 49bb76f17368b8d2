//! What makes a tarball a host: edits of the tree, before anything is laid out.
//!
//! ```text
//! shape   files of one's own, removals; before identifiers are derived from the tree
//! apply   fstab, nodes, names, network, console, access, services of the first boot; they know the disk's identifiers
//! ```
//!
//! Each room does one subject in the ways of the systems it knows: Linux From Scratch with sysvinit, and systemd. It changes
//! as little as it can, touches nothing that is right already, and says what it can't do as a warning. All changes go through
//! [`Editor`], which lists them.
//!
//! Not here: what a loader needs (`boot`), and whether all of it will work (`check`).

mod access;
mod console;
mod first_boot;
mod fstab;
mod names;
mod network;
mod nodes;
mod spec;
mod system;

pub use spec::{Fstab, HostSpec, OwnFile, Target};

pub(crate) use access::{SERVERS, User, users};
pub(crate) use console::{device as console_device, has_login};
pub(crate) use fstab::Line as FstabLine;
pub(crate) use names::{SEEDS, is_host_key};
pub(crate) use network::{
    has_client as has_dhcp_client, is_set_up as sets_up_network, is_started as network_starts,
};
pub(crate) use system::{Init, System, is_enabled, program, starts};

use crate::error::Result;
use crate::tree::edit::Editor;
use crate::tree::{Meta, Root};

/// What edits must know of the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The root filesystem, as fstab names it: `PARTUUID=…`, or `UUID=…` where there is no partition table.
    pub(crate) root: String,
    /// Its UUID.
    pub(crate) root_uuid: String,
    /// Its label.
    pub(crate) label: Option<String>,
    /// The EFI system partition, as fstab names it.
    pub(crate) esp: Option<String>,
    /// Its UUID, where it is known: of a disk that is there.
    pub(crate) esp_uuid: Option<String>,
}

impl Place {
    /// Whether what fstab names (as [`FstabLine::source`] tells it) is on this disk.
    pub(crate) fn has(&self, source: &str) -> bool {
        // udev has links for all tags.
        const LINKS: [(&str, &str); 3] = [
            ("/dev/disk/by-partuuid/", "PARTUUID="),
            ("/dev/disk/by-uuid/", "UUID="),
            ("/dev/disk/by-label/", "LABEL="),
        ];
        let link = LINKS.iter().find_map(|(dir, tag)| Some(format!("{tag}{}", source.strip_prefix(dir)?)));
        let source = link.as_deref().unwrap_or(source);
        let same = |name: &str| name.eq_ignore_ascii_case(source);
        let is_uuid = |own: &str| {
            source.split_once('=').is_some_and(|(tag, uuid)| {
                tag.eq_ignore_ascii_case("UUID") && !own.is_empty() && own.eq_ignore_ascii_case(uuid)
            })
        };
        same(&self.root)
            || self.esp.as_deref().is_some_and(same)
            || is_uuid(&self.root_uuid)
            || self.esp_uuid.as_deref().is_some_and(is_uuid)
            // Labels differ by case.
            || self.label.as_deref().is_some_and(|own| source.strip_prefix("LABEL=") == Some(own))
    }
}

/// What a person should know, one line each.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Notes {
    /// What was decided.
    pub(crate) notes: Vec<String>,
    /// What may go wrong.
    pub(crate) warnings: Vec<String>,
}

/// Puts own files into the tree and takes out what is to go.
pub(crate) fn shape(editor: &mut Editor<'_>, spec: &HostSpec) -> Result<()> {
    for path in &spec.remove {
        let trimmed = path.trim_end_matches('/');
        if trimmed.is_empty() {
            return Err(crate::error::Error::input(format!("`{path}` can't be removed: it is the root")));
        }
        if !editor.remove(trimmed.as_bytes(), "that was asked for")? {
            let shown = crate::tree::show(path.as_bytes());
            return Err(crate::error::Error::input(format!("there is no {shown} to remove")));
        }
    }
    for file in &spec.files {
        let meta = Meta { mtime: editor.time(), times: None, ..file.meta.clone() };
        editor.put(&file.path, file.content.clone(), meta, "that was asked for")?;
    }
    Ok(())
}

/// What the kernel's command line must have for these edits to work.
pub(crate) fn kernel_arguments(root: Root<'_>, spec: &HostSpec) -> Vec<&'static str> {
    if spec.network {
        network::kernel_argument(root, &System::of(root)).into_iter().collect()
    } else {
        Vec::new()
    }
}

/// Makes the edits. `starts` says whether the disk starts by itself: a tree without an init and without a kernel that is
/// started is no system, and nothing is made of it that wasn't asked for.
pub(crate) fn apply(editor: &mut Editor<'_>, spec: &HostSpec, place: &Place, starts: bool) -> Result<Notes> {
    let mut notes = Notes::default();
    let system = System::of(editor.root());
    // What nothing starts and what has no init is no system: nothing of what a target stands for is made of it.
    let data = HostSpec {
        target: None,
        fstab: Fstab::Keep,
        nodes: false,
        identity: false,
        network: false,
        console: false,
        grow: false,
        ..spec.clone()
    };
    let is_system = starts || system.init_path.is_some();
    if !is_system && spec.target.is_some() {
        notes.warnings.push(
            "there is no init in the tree and nothing starts it, so it isn't made a host: of what was asked for only files, \
             names, users and keys are seen to"
                .into(),
        );
    }
    let spec = if is_system { spec } else { &data };
    if spec.nodes {
        nodes::edit(editor)?;
    }
    if spec.fstab != Fstab::Keep {
        fstab::edit(editor, spec.fstab, place, &system, &mut notes)?;
    }
    match &spec.hostname {
        Some(name) => {
            names::check(name)?;
            names::hostname(editor, name)?;
        }
        None if spec.target.is_some() => names::defaults(editor)?,
        None => {}
    }
    if spec.identity && names::identity(editor, &system, &mut notes)? {
        first_boot::host_keys(editor, &system, &mut notes)?;
    }
    if spec.network {
        network::edit(editor, &system, &mut notes)?;
    }
    if spec.console {
        console::edit(editor, spec.target, &system, &mut notes)?;
    }
    if spec.grow {
        first_boot::grow(editor, &system, &mut notes)?;
    }
    if spec.user.is_some() || !spec.authorized_keys.is_empty() || spec.imds_ssh_key || spec.user_data {
        let authorized_keys = access::edit(editor, spec, &mut notes)?;
        if spec.imds_ssh_key || spec.user_data {
            first_boot::imds(editor, &system, spec, &authorized_keys, &mut notes)?;
        }
    }
    if spec.lock_root || spec.scrub {
        access::lock_root(editor)?;
    }
    Ok(notes)
}

/// An id for a line of inittab's that no other line has: this one, or this one and a digit.
fn inittab_id(text: &str, wanted: &str) -> String {
    let taken =
        |id: &str| text.lines().any(|line| line.split(':').next().is_some_and(|first| first.trim() == id));
    std::iter::once(wanted.to_owned())
        .chain((1..100).map(|n| format!("{wanted}{n}")))
        .find(|id| !taken(id))
        .unwrap_or_else(|| wanted.to_owned())
}
