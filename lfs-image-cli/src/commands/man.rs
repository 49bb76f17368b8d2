//! `lfs-image man`.

use clap::CommandFactory as _;
use lfs_image::Error;

use crate::cli::{Cli, Man};
use crate::failure::Failure;
use crate::ui::Ui;

pub(crate) fn run(args: &Man, ui: Ui) -> Result<(), Failure> {
    // The version alone: pages have no room for a list.
    let command = Cli::command().long_version(env!("CARGO_PKG_VERSION"));
    if let Some(directory) = &args.directory {
        return Ok(clap_mangen::generate_to(command, directory)
            .map_err(|e| Error::io(format!("write manual pages to {}", directory.display()), e))?);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(|e| Error::io("write a manual page", e))?;
    Ok(ui.bytes(&page)?)
}
