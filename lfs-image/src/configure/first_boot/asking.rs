//! The script that asks EC2's metadata service, run by this machine's bash against a server that answers as told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use super::script;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE launch";

/// What is served: a path below /latest, and the status, the body and whether its length is said.
type Answers = BTreeMap<&'static str, (u16, Vec<u8>, bool)>;

struct Service {
    port: u16,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answers, asked) = (Arc::new(Mutex::new(Answers::new())), Arc::new(Mutex::new(Vec::new())));
        let (shared, log) = (Arc::clone(&answers), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer(stream.unwrap(), &shared, &log);
            }
        });
        Self { port, answers, asked }
    }

    fn set(&self, path: &'static str, status: u16, body: impl Into<Vec<u8>>, has_length: bool) {
        self.answers.lock().unwrap().insert(path, (status, body.into(), has_length));
    }
}

fn answer(stream: TcpStream, answers: &Mutex<Answers>, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut head = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        head += &line.to_ascii_lowercase();
        head.push('\n');
    }
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches("/latest/").to_owned();
    let (status, body, has_length) =
        if first.starts_with("PUT /latest/api/token ") && head.contains("-ttl-seconds: ") {
            (200, b"a token==".to_vec(), true)
        } else if !head.contains("x-aws-ec2-metadata-token: a token==\n") {
            (401, Vec::new(), true)
        } else {
            answers.lock().unwrap().get(path.as_str()).cloned().unwrap_or((404, b"<html>".to_vec(), true))
        };
    log.lock().unwrap().push(format!("{path} {status}"));
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} x\r\nServer: EC2ws\r\n")?;
    if has_length {
        write!(stream, "Content-Length: {}\r\n", body.len())?;
    }
    write!(stream, "\r\n")?;
    stream.write_all(&body)
}

/// Runs the script as one boot does; its exit code and what it says.
fn boot(folder: &Path, port: u16) -> (Option<i32>, String) {
    let at = |name: &str| folder.join(name).display().to_string();
    let text = script(true, true, &at("authorized_keys"))
        .replace("state=/var/lib/lfs-image", &format!("state={}", at("state")))
        .replace("host=169.254.169.254", "host=127.0.0.1")
        .replace("/dev/tcp/$host/80", &format!("/dev/tcp/$host/{port}"));
    std::fs::create_dir_all(folder.join("state")).unwrap();
    let output = Command::new("bash").args(["-c", &text]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn an_instance_asks_once_for_what_it_is() {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let is_asked = |path: &str| service.asked.lock().unwrap().iter().any(|line| line.starts_with(path));
    let ran = folder.path().join("ran");
    let user_data = format!("#!/bin/sh\necho once >>{}\n", ran.display());
    service.set("meta-data/instance-id", 200, "i-1", true);
    service.set("meta-data/public-keys/0/openssh-key", 200, format!("{KEY}\n"), true);
    service.set("user-data", 200, user_data.clone(), true);

    assert_eq!(boot(folder.path(), service.port).0, Some(0));
    assert_eq!(
        (read("authorized_keys"), read("ran"), read("state/instance")),
        (format!("{KEY}\n"), "once\n".into(), "i-1\n".into())
    );
    service.asked.lock().unwrap().clear();
    assert_eq!(boot(folder.path(), service.port), (Some(0), String::new()));
    assert!(
        !is_asked("user-data") && !is_asked("meta-data/public-keys"),
        "a second boot only asks who it is"
    );

    // An image of this instance is another instance: its key comes to the first one's.
    let other = KEY.replace("AAAAIE", "AAAAIF");
    service.set("meta-data/instance-id", 200, "i-2", false);
    service.set("meta-data/public-keys/0/openssh-key", 200, other.clone(), true);
    assert_eq!(boot(folder.path(), service.port).0, Some(0));
    assert_eq!((read("authorized_keys"), read("ran")), (format!("{KEY}\n{other}\n"), "once\nonce\n".into()));
}

#[test]
fn answers_that_are_none() {
    let service = Service::start();
    let gzip = [&b"\x1f\x8b\x08\0\0\0\0\0"[..], &[0, 7, 0, 9, 0]].concat();
    let key = ("meta-data/public-keys/0/openssh-key", 200, KEY.as_bytes());
    let none = ("user-data", 404, &b""[..]);
    for (answers, code, words, is_done) in [
        // Without a key, without user data.
        (
            vec![("meta-data/public-keys/0/openssh-key", 404, &b""[..]), none],
            0,
            "launched without a key",
            true,
        ),
        (vec![key, none], 0, "its launch key was put", true),
        (vec![key, ("user-data", 200, &b"#cloud-config\n"[..])], 0, "is no script", true),
        (vec![key, ("user-data", 200, &gzip)], 0, "is no script", true),
        // Trouble is tried again at the next boot.
        (vec![key, ("user-data", 500, b"")], 1, "no user data: 500", false),
        (vec![key, ("user-data", 200, b"#!/bin/sh\n\0")], 1, "no user data: 200", false),
        (vec![("meta-data/public-keys/0/openssh-key", 500, b""), none], 1, "no launch key: 500", false),
        (
            vec![("meta-data/public-keys/0/openssh-key", 200, b"<html>"), none],
            1,
            "none that sshd knows",
            false,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        *service.answers.lock().unwrap() = Answers::new();
        service.set("meta-data/instance-id", 200, "i-3", true);
        for (path, status, body) in &answers {
            service.set(path, *status, *body, true);
        }
        let (got, said) = boot(folder.path(), service.port);
        assert_eq!(got, Some(code), "{said}");
        assert!(said.contains(words), "no {words:?} in {said}");
        assert_eq!(folder.path().join("state/instance").exists(), is_done, "{said}");
    }
}
