//! Device nodes and mount points without which nothing starts: they are made where they are missing.

use crate::error::Result;
use crate::raw::time::Timestamp;
use crate::tree::Meta;
use crate::tree::edit::Editor;

/// Mount points, and directories that every program relies on.
const DIRECTORIES: [(&str, u16); 5] =
    [("/dev", 0o755), ("/proc", 0o555), ("/sys", 0o555), ("/run", 0o755), ("/tmp", 0o1777)];

/// What is opened before anything is mounted on /dev. Source: Documentation/admin-guide/devices.txt in Linux.
const DEVICES: [(&str, u16, (u32, u32)); 6] = [
    ("/dev/console", 0o600, (5, 1)),
    ("/dev/null", 0o666, (1, 3)),
    ("/dev/zero", 0o666, (1, 5)),
    ("/dev/random", 0o666, (1, 8)),
    ("/dev/urandom", 0o666, (1, 9)),
    ("/dev/tty", 0o666, (5, 0)),
];

pub(super) fn edit(editor: &mut Editor<'_>) -> Result<()> {
    for (path, mode) in DIRECTORIES {
        editor.directory(
            path,
            Meta::new(mode, Timestamp::default()),
            "it is mounted on, or written to, at boot",
        )?;
    }
    for (path, mode, device) in DEVICES {
        editor.device(path, mode, device, "it is opened before /dev is mounted")?;
    }
    Ok(())
}
