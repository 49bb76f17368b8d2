//! Files of options, through the command's own parser.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../../lfs-image-cli/src/cli.rs"]
mod cli;
#[path = "../../../lfs-image-cli/src/config.rs"]
mod config;
#[path = "../../../lfs-image-cli/src/host.rs"]
mod host;
#[path = "../../../lfs-image-cli/src/looking.rs"]
mod looking;
#[path = "../../../lfs-image-cli/src/size.rs"]
mod size;
#[path = "../../../lfs-image-cli/src/spec.rs"]
mod spec;
#[path = "../../../lfs-image-cli/src/values.rs"]
mod values;

/// What `diff` compares: not what is looked at here.
mod compare {
    #[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Aspect {
        Mtime,
    }
}

use clap::Parser as _;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let path = format!("/dev/shm/lfs-image-fuzz-config-{}", std::process::id());
    std::fs::write(&path, input).unwrap();
    for command in ["raw", "inspect", "check"] {
        let typed =
            ["lfs-image", command, "--for=ec2", "--config", &path, "--label=x", "rootfs.tar", "out.img"];
        let is_of = |word: &&str| match command {
            "raw" => *word != "--for=ec2",
            "inspect" => !matches!(*word, "--for=ec2" | "out.img"),
            _ => *word != "out.img",
        };
        let typed = typed.iter().filter(|word| is_of(word)).map(std::ffi::OsString::from).collect();
        // What the file says is parsed as if it were typed. (What that leads to reads files: not here.)
        let Ok(all) = config::arguments(typed) else { continue };
        if let Ok(cli::Cli { command: cli::Command::Raw(raw), .. }) = cli::Cli::try_parse_from(all) {
            drop(raw.image.spec());
            let _ = raw.fault(false);
        }
    }
});
