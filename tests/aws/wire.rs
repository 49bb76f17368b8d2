//! How AWS is reached: TLS, whom to trust, proxies; each as the aws command has it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_judge::{Config, Judge, Tls};

use crate::push::{PLAIN, nothing_to_complain, ok, start};
use crate::support::{both, scratch, tls};
use crate::{errors, fixture, lfs_image};

/// A server that speaks TLS under its own address and `aws.invalid`, and the file of the authority that says so.
fn over_tls(folder: &Path) -> Option<(Judge, PathBuf)> {
    let tls::Certificates { authority, server, key } = tls::certificates(folder)?;
    let tls = Tls { certificate: server, key };
    Some((start(Config { tls: Some(tls), ..Config::default() }), authority))
}

/// A push under a name, with a change of what the command finds around it.
fn push(judge: &Judge, home: &Path, name: &str, change: impl FnOnce(&mut Command)) -> Output {
    let mut command = lfs_image(judge);
    command.env("HOME", home).args(["push", "--target", "none", "--name", name]).args(PLAIN);
    change(&mut command);
    command.arg(fixture("gnu-posix.tar")).output().unwrap()
}

#[test]
fn who_is_trusted_is_said_as_to_the_aws_command() {
    let folder = scratch();
    let Some((judge, ca)) = over_tls(folder.path()) else { return };
    ok(&push(&judge, folder.path(), "by the environment", |command| {
        command.env("AWS_CA_BUNDLE", &ca);
    }));
    ok(&push(&judge, folder.path(), "by an option", |command| {
        command.env("AWS_CA_BUNDLE", "/nowhere").arg("--ca-bundle").arg(&ca);
    }));
    let config = folder.path().join("config");
    std::fs::write(&config, format!("[profile mine]\nca_bundle = {}\n", ca.display())).unwrap();
    ok(&push(&judge, folder.path(), "by the profile", |command| {
        command.env("AWS_CONFIG_FILE", &config).args(["--profile", "mine"]);
    }));
    nothing_to_complain(&judge);
    let report = judge.report();
    assert_eq!(report.images.len(), 3);

    // Who isn't named isn't trusted.
    let another = folder.path().join("server.pem");
    for (bundle, words) in [
        (another.as_path(), "certificate"),
        (Path::new("/nowhere"), "read the certificates in /nowhere"),
        (Path::new("/dev/null"), "no certificate of an authority in /dev/null"),
    ] {
        let output = push(&judge, folder.path(), "never", |command| {
            command.env("AWS_CA_BUNDLE", bundle);
        });
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        assert!(errors(&output).contains(words), "{words}: {}", errors(&output));
    }
    assert_eq!(judge.report().images.len(), 3);
}

/// A proxy that takes whoever asks for a tunnel to one place; how many tunnels there were.
fn tunnels(to: u16) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let counter = Arc::clone(&counter);
            std::thread::spawn(move || tunnel(client.unwrap(), to, &counter));
        }
    });
    (url, count)
}

fn tunnel(mut client: TcpStream, to: u16, counter: &AtomicU32) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"CONNECT aws.invalid:443 "), "{}", String::from_utf8_lossy(&head));
    counter.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
    let (mut from, mut back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    // Either side may go away at any moment.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut client);
    });
    let _ = std::io::copy(&mut from, &mut server);
}

#[test]
fn proxies_are_those_of_the_environment() {
    let folder = scratch();
    // One for plain HTTP gets the whole address; the server takes that, too.
    let judge = start(Config::default());
    ok(&push(&judge, folder.path(), "plain", |command| {
        command.env_remove("NO_PROXY").env_remove("no_proxy").env("HTTP_PROXY", judge.url());
        command.env("AWS_ENDPOINT_URL", "http://aws.invalid");
    }));
    nothing_to_complain(&judge);

    let Some((judge, ca)) = over_tls(folder.path()) else { return };
    let (proxy, count) = tunnels(judge.port());
    let through = |command: &mut Command| {
        command.env_remove("NO_PROXY").env_remove("no_proxy").env("HTTPS_PROXY", &proxy);
        command.env("AWS_ENDPOINT_URL", "https://aws.invalid").env("AWS_CA_BUNDLE", &ca);
    };
    ok(&push(&judge, folder.path(), "in a tunnel", through));
    nothing_to_complain(&judge);
    // The requests to EBS as well as those to EC2: there is no other way to that name.
    assert!(count.load(Ordering::Relaxed) >= 2);
    assert!(judge.report().operation("PutSnapshotBlock").ok > 20);
}

/// Region, keys and addresses from wherever the aws command takes them.
#[test]
fn configuration_is_found_where_the_aws_command_finds_it() {
    let judge = start(Config::default());
    let folder = scratch();
    let home = folder.path().join(".aws");
    std::fs::create_dir(&home).unwrap();
    let config = judge.config();
    let (key, secret) = (&config.access_key, &config.secret_key);
    std::fs::write(
        home.join("config"),
        format!(
            "[profile files]\nregion = eu-west-1\n[profile process]\nregion = eu-west-1\ncredential_process = \
             /bin/echo '{{\"Version\": 1, \"AccessKeyId\": \"{key}\", \"SecretAccessKey\": \"{secret}\"}}'\n\
             [profile services]\nregion = eu-west-1\nservices = here\n[services here]\nebs =\n  endpoint_url = {url}\n\
             ec2 =\n  endpoint_url = {url}\nsts =\n  endpoint_url = {url}\n",
            url = judge.url()
        ),
    )
    .unwrap();
    let keys = format!("aws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    std::fs::write(home.join("credentials"), format!("[files]\n{keys}[services]\n{keys}")).unwrap();
    let bare = |command: &mut Command| {
        for (name, _) in judge.env().into_iter().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true");
    };
    let url = judge.url();
    for (name, options) in [
        ("files", &["--profile", "files", "--endpoint-url", &url][..]),
        ("process", &["--profile", "process", "--endpoint-url", &url]),
        ("services", &["--profile", "services"]),
        ("option", &["--profile", "files", "--endpoint-url", &url, "--region", "us-west-2"]),
    ] {
        ok(&push(&judge, folder.path(), name, |command| {
            bare(command);
            command.args(options);
        }));
    }
    ok(&push(&judge, folder.path(), "environment", |command| {
        bare(command);
        command
            .env("AWS_PROFILE", "files")
            .env("AWS_ENDPOINT_URL_EC2", &url)
            .env("AWS_ENDPOINT_URL_EBS", &url);
        command.env("AWS_ENDPOINT_URL_STS", &url);
    }));
    let report = judge.report();
    for image in &report.images {
        let region = if image.name == "option" { "us-west-2" } else { "eu-west-1" };
        assert_eq!(image.region, region, "{}", image.name);
    }
    assert_eq!(report.images.len(), 5);
    nothing_to_complain(&judge);

    // Without any.
    let output = push(&judge, folder.path(), "never", |command| {
        bare(command);
        command.env("HOME", "/nowhere").args(["--region", "us-east-1", "--endpoint-url", &url]);
    });
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(errors(&output).contains("no AWS credentials"), "{}", errors(&output));
}
