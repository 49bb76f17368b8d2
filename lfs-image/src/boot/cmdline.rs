//! The kernel's command line.

use super::Arch;
use crate::error::{Error, Result};

/// The longest command line that every kernel takes, in bytes: COMMAND_LINE_SIZE of x86 and arm64 less its NUL.
pub(crate) const MAX: usize = 2047;

/// Where the parts of a command line come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// In place of the default.
    pub(crate) replace: Option<String>,
    /// Behind the default, or what replaces it.
    pub(crate) append: Vec<String>,
}

impl Options {
    /// Whether nothing was asked for.
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
        let console = match arch {
            Arch::X86_64 => " console=tty0 console=ttyS0,115200n8",
            Arch::Aarch64 => "",
        };
        format!("root=PARTUUID={root_partuuid} rootwait ro{console}")
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
    fn limits() {
        let with = |text: &str| {
            assemble(Arch::X86_64, "", &Options { replace: Some(text.into()), append: Vec::new() })
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
