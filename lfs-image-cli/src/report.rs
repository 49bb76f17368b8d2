//! Errors for a person: what, why, and what helps.

use std::process::ExitCode;

use lfs_image::ErrorKind;

use crate::progress::INTERRUPTED;
use crate::ui::Ui;

/// Prints the chain of causes and chooses the exit code.
pub(crate) fn failure(ui: &Ui, error: &anyhow::Error) -> ExitCode {
    let kind =
        error.chain().find_map(|cause| cause.downcast_ref::<lfs_image::Error>()).map(lfs_image::Error::kind);
    if kind == Some(ErrorKind::Interrupted) {
        ui.error("error: interrupted");
        return ExitCode::from(INTERRUPTED);
    }
    ui.error(format_args!("error: {error}"));
    for cause in error.chain().skip(1) {
        ui.error(format_args!("caused by: {cause}"));
    }
    if let Some(hint) = hint(error) {
        ui.error(format_args!("hint: {hint}"));
    }
    ExitCode::FAILURE
}

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    let says = |words: &str| error.chain().any(|cause| cause.to_string().contains(words));
    if says("ea_inode") {
        Some("`--ea-inode` stores large extended attributes in inodes of their own")
    } else if says("does not fit: the filesystem") || says("for the root filesystem, which needs") {
        Some("give a larger `--size`, or none: then the image is as large as it must be")
    } else if says("inodes were asked for") {
        Some("leave out `--inodes` and `--inode-ratio`: then there are as many as the content needs")
    } else if says("no kernel") || says("nothing can start") {
        Some(
            "`--boot none` makes an image that nothing on it starts: QEMU and Xen can start it with the kernel given to them",
        )
    } else {
        None
    }
}
