//! An authority that nobody knows, and a server that it speaks for.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{judge, must};

/// Files of PEM.
pub struct Certificates {
    pub authority: PathBuf,
    pub server: PathBuf,
    pub key: PathBuf,
}

/// Certificates for `127.0.0.1` and `aws.invalid`, good for two days.
pub fn certificates(folder: &Path) -> Option<Certificates> {
    if !judge::require(&["openssl"]) {
        return None;
    }
    let path = |name: &str| folder.join(name);
    let make = |name: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        command.args(["-days", "2", "-subj", &format!("/CN={name}")]).args(more);
        command.arg("-keyout").arg(path(&format!("{name}.key")));
        must(command.arg("-out").arg(path(&format!("{name}.pem"))));
    };
    make("authority", &["-addext", "basicConstraints=critical,CA:TRUE"]);
    let (authority, by) = (path("authority.pem"), path("authority.key"));
    let names = "subjectAltName=IP:127.0.0.1,DNS:aws.invalid";
    let signed = ["-CA", authority.to_str().unwrap(), "-CAkey", by.to_str().unwrap()];
    make("server", &[&signed[..], &["-addext", names, "-addext", "basicConstraints=CA:FALSE"]].concat());
    Some(Certificates { authority, server: path("server.pem"), key: path("server.key") })
}
