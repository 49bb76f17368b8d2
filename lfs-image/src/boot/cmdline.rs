//! The kernel's command line.

use super::Arch;
use crate::error::{Error, Result};

/// The longest command line that every kernel takes, in bytes: COMMAND_LINE_SIZE of x86 and arm64 less its NUL.
pub(crate) const MAX: usize = 2047;

/// Whose machine the kernel starts on, where that changes what it should be told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Host {
    /// Any.
    #[default]
    Any,
    Xen,
    Ec2,
}

impl Host {
    /// What it adds to a default command line.
    pub(crate) fn wants(self) -> &'static [&'static str] {
        match self {
            Self::Any | Self::Xen => &[],
            // A volume may take its time: a request that times out makes the filesystem read-only. Source: "NVMe I/O
            // operation timeout" in the EBS user guide, which asks for the maximum; kernels before 4.15 take 255.
            Self::Ec2 => &["nvme_core.io_timeout=4294967295"],
        }
    }
}

/// Where the parts of a command line come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) host: Host,
    /// Whether somebody is to log in on the serial console, so that a line which isn't ours has to name it.
    pub(crate) serial: bool,
    /// In place of the default.
    pub(crate) replace: Option<String>,
    /// Behind the default, or what replaces it.
    pub(crate) append: Vec<String>,
}

impl Options {
    /// What a command line that isn't ours has to have for this host: a console with a login (one of these is enough), and more.
    pub(crate) fn demands(&self, arch: Arch) -> Vec<&'static [&'static str]> {
        let console: &[&str] = match (self.serial && arch == Arch::X86_64, self.host) {
            (false, _) => &[],
            (true, Host::Xen) => &["console=hvc0", "console=ttyS0"],
            (true, _) => &["console=ttyS0"],
        };
        let more = self.host.wants().iter().map(std::slice::from_ref);
        more.chain((!console.is_empty()).then_some(console)).collect()
    }

    /// Whether no words were asked for.
    pub(crate) fn is_default(&self) -> bool {
        self.replace.is_none() && self.append.is_empty()
    }
}

/// The command line for a root filesystem on the partition with this PARTUUID.
///
/// PARTUUID is resolved by the kernel itself, so no initial RAM disk is needed, and no device is named: the same
/// disk is nvme0n1 on one machine, xvda and vda on others. The last `console=` becomes /dev/console, and screen and
/// serial port are the same on every PC. On arm64 they aren't (ttyAMA0 in QEMU, ttyS0 in EC2), but there the firmware
/// names its console (ACPI SPCR, or the device tree's stdout-path), and the kernel takes that unless told otherwise.
pub(crate) fn assemble(arch: Arch, root_partuuid: &str, options: &Options) -> Result<String> {
    let base = options.replace.clone().unwrap_or_else(|| {
        let root = format!("root=PARTUUID={root_partuuid} rootwait ro");
        let consoles: &[&str] = match (arch, options.host) {
            // Guests without emulated devices (PV, PVH) have no serial port; a console that isn't there is passed over.
            (Arch::X86_64, Host::Xen) => &["console=tty0", "console=hvc0", "console=ttyS0,115200n8"],
            (Arch::X86_64, _) => &["console=tty0", "console=ttyS0,115200n8"],
            (Arch::Aarch64, _) => &[],
        };
        [&[root.as_str()], consoles, options.host.wants()].concat().join(" ")
    });
    let parts = std::iter::once(base.as_str()).chain(options.append.iter().map(String::as_str));
    let line = parts.map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    check(&line)?;
    Ok(line)
}

/// Refuses what no kernel or loader takes.
pub(crate) fn check(line: &str) -> Result<()> {
    if let Some(at) = line.find(|c: char| c.is_control()) {
        return Err(Error::input(format!(
            "the kernel command line has a control character (a line break, a tab, NUL) at byte {at}"
        )));
    }
    if line.len() > MAX {
        return Err(Error::capacity(format!(
            "the kernel command line is {} bytes long, the kernel takes {MAX}",
            line.len()
        )));
    }
    Ok(())
}

/// The parameters of a command line as the kernel splits it: at spaces outside of double quotes, quotes included.
pub(crate) fn parameters(line: &str) -> Vec<&str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c == ' ' && !quoted
    })
    .filter(|word| !word.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_replacement_and_additions() {
        let mut options = Options::default();
        let line = |arch, options: &Options| assemble(arch, "deadbeef-01", options).unwrap();
        assert_eq!(
            line(Arch::X86_64, &options),
            "root=PARTUUID=deadbeef-01 rootwait ro console=tty0 console=ttyS0,115200n8"
        );
        assert_eq!(line(Arch::Aarch64, &options), "root=PARTUUID=deadbeef-01 rootwait ro");
        options.append = vec![" quiet ".into(), String::new(), "nvme_core.io_timeout=4294967295".into()];
        assert!(line(Arch::X86_64, &options).ends_with("n8 quiet nvme_core.io_timeout=4294967295"));
        options.replace = Some("root=LABEL=x".into());
        assert_eq!(line(Arch::X86_64, &options), "root=LABEL=x quiet nvme_core.io_timeout=4294967295");
    }

    #[test]
    fn what_a_host_wants() {
        let line = |arch, host, replace: Option<&str>| {
            let replace = replace.map(str::to_owned);
            assemble(arch, "x-1", &Options { host, serial: false, replace, append: vec!["quiet".into()] })
                .unwrap()
        };
        assert_eq!(
            line(Arch::X86_64, Host::Ec2, None),
            "root=PARTUUID=x-1 rootwait ro console=tty0 console=ttyS0,115200n8 nvme_core.io_timeout=4294967295 quiet"
        );
        assert_eq!(
            line(Arch::Aarch64, Host::Ec2, None),
            "root=PARTUUID=x-1 rootwait ro nvme_core.io_timeout=4294967295 quiet"
        );
        assert_eq!(
            line(Arch::X86_64, Host::Xen, None),
            "root=PARTUUID=x-1 rootwait ro console=tty0 console=hvc0 console=ttyS0,115200n8 quiet"
        );
        // It is part of the default, which a command line of one's own replaces as a whole.
        assert_eq!(line(Arch::X86_64, Host::Ec2, Some("ro")), "ro quiet");
    }

    #[test]
    fn limits() {
        let with = |text: &str| {
            assemble(Arch::X86_64, "", &Options { replace: Some(text.into()), ..Options::default() })
        };
        for bad in ["a\nb", "a\0b", "a\tb"] {
            assert!(with(bad).unwrap_err().to_string().ends_with("at byte 1"));
        }
        assert!(with(&"x".repeat(2047)).is_ok());
        assert_eq!(
            with(&"x".repeat(2048)).unwrap_err().to_string(),
            "the kernel command line is 2048 bytes long, the kernel takes 2047"
        );
    }

    #[test]
    fn quotes_hold_a_parameter_together() {
        assert_eq!(parameters(r#"a  b="c d" "e f""#), ["a", r#"b="c d""#, r#""e f""#]);
    }
}
