//! moto, a server that others test their clients with. It checks nothing and names a wrong size of blocks, so it is no judge;
//! but a push to it must not fall over, and what boto3 reads back is the image.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::push::{PLAIN, ok};
use crate::support::{cached, judge, must, scratch, support_file};
use crate::{fixture, said};

/// A running server; ended with the value.
struct Moto {
    child: Child,
    port: u16,
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Moto {
    fn start(python: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // With its parent gone it would run for ever.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut moto = Self { child, port };
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return moto;
            }
            if let Some(status) = moto.child.try_wait().unwrap() {
                panic!("moto ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("moto doesn't listen");
    }

    /// What clients need to know.
    fn env(&self) -> [(&'static str, String); 7] {
        let text = |text: &str| text.to_owned();
        [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ACCESS_KEY_ID", text("testing")),
            ("AWS_SECRET_ACCESS_KEY", text("testing")),
            ("AWS_REGION", text("us-east-1")),
            ("AWS_DEFAULT_REGION", text("us-east-1")),
            ("AWS_CONFIG_FILE", text("/dev/null")),
            ("AWS_SHARED_CREDENTIALS_FILE", text("/dev/null")),
        ]
    }
}

/// The python that has moto.
fn python() -> Option<PathBuf> {
    let python = cached("venv/bin/python");
    let missing = format!("{} is missing (scripts/get-boto3.sh makes it)", python.display());
    (python.is_file() || judge::skip(&missing)).then_some(python)
}

#[test]
fn a_push_to_moto_is_read_back_by_boto3() {
    let Some(python) = python() else { return };
    let moto = Moto::start(&python);
    let folder = scratch();
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lfs-image"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("TMPDIR", "/var/tmp").env("HOME", folder.path()).envs(moto.env());
        command
    };
    let archive = fixture("gnu-posix.tar");
    let mut push = command();
    push.args([
        "push",
        "--target",
        "none",
        "--name",
        "one",
        "--copy-to",
        "eu-west-1",
        "--share-with",
        "210987654321",
    ]);
    let image = ok(&push.args(PLAIN).arg(&archive).output().unwrap());
    assert!(image.starts_with("ami-"), "{image}");
    // It drops what it is told of an image, its snapshot, too.
    let mut push = command();
    push.args(["push", "--target", "none", "--snapshot-only", "--boot", "none"]);
    let snapshot = ok(&push.arg(&archive).output().unwrap());
    let (raw, back) = (folder.path().join("raw.img"), folder.path().join("back.img"));
    must(command().args(["raw", "--target", "none", "--boot", "none"]).arg(&archive).arg(&raw));
    let script = support_file("moto_readback.py");
    let read =
        Command::new(&python).arg(script).args([&snapshot, &image]).arg(&back).envs(moto.env()).output();
    let read = read.unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    assert!(said(&read).parse::<u32>().unwrap() > 20, "{}", said(&read));
    must(Command::new("cmp").arg(&raw).arg(&back));
}
