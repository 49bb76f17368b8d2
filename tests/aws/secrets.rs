//! Credentials planted wherever they may be kept, and looked for in everything that is said and written.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use aws_judge::{Config, Judge};

use crate::push::{PLAIN, start};
use crate::support::{both, must, run, scratch};
use crate::{fixture, lfs_image};

const KEY: &str = "AKIAPLANTEDEXAMPLE01";
const SECRET: &str = "planted/secret+key/0123456789abcdefABCDEF";
const TOKEN: &str = "planted+session/token/IQoJb3JpZ2luX2VjEXAMPLE0123456789";
const PROXY: &str = "planted-proxy-password";

/// A home with credentials in it.
struct Home(tempfile::TempDir);

/// Where credentials come from.
const SOURCES: [&str; 4] = ["environment", "profile", "config", "process"];

impl Home {
    fn new() -> Self {
        let home = Self(scratch());
        let fields = format!(
            "aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\naws_session_token = {TOKEN}\n"
        );
        let json = format!(
            r#"{{"Version": 1, "AccessKeyId": "{KEY}", "SecretAccessKey": "{SECRET}", "SessionToken": "{TOKEN}", "Expiration": "2099-01-01T00:00:00Z"}}"#
        );
        std::fs::write(home.at("answer"), json).unwrap();
        std::fs::write(home.at("credentials"), format!("[default]\n{fields}")).unwrap();
        std::fs::write(home.at("config"), format!("[default]\n{fields}")).unwrap();
        let process = format!("[default]\ncredential_process = /bin/cat {}\n", home.at("answer").display());
        std::fs::write(home.at("process"), process).unwrap();
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The command, with credentials from one source.
    fn command(&self, judge: &Judge, source: &str) -> Command {
        let mut command = lfs_image(judge);
        command.env("HOME", self.0.path());
        if source != "environment" {
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
                command.env_remove(name);
            }
        }
        match source {
            "profile" => command.env("AWS_SHARED_CREDENTIALS_FILE", self.at("credentials")),
            "config" => command.env("AWS_CONFIG_FILE", self.at("config")),
            "process" => command.env("AWS_CONFIG_FILE", self.at("process")),
            _ => &mut command,
        };
        command
    }
}

/// A command that another one starts.
fn through(words: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(words[0]);
    outer.args(&words[1..]).arg(command.get_program()).args(command.get_args()).env_clear();
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}

fn judge() -> Judge {
    start(Config {
        access_key: KEY.to_owned(),
        secret_key: SECRET.to_owned(),
        session_token: Some(TOKEN.to_owned()),
        ..Config::default()
    })
}

/// The secrets as they are, as they stand in a URL, as base64, and the first half of each.
static FORMS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let forms = |secret: &str| {
        let encoded = secret.replace('+', "%2B").replace('/', "%2F");
        // A piece of base64 that doesn't depend on what is around it.
        let base64 = must(Command::new("sh").args(["-c", &format!("printf %s '{secret}' | base64 -w0")]));
        [secret.to_owned(), encoded, base64[..16].to_owned(), secret[..16].to_owned()]
    };
    [KEY, SECRET, TOKEN, PROXY].into_iter().flat_map(forms).collect()
});

/// None of it is in a text.
#[track_caller]
fn is_discreet(text: &[u8], context: &str) {
    // What `str` has for this is fast without optimisation, too.
    let text = String::from_utf8_lossy(text);
    for form in FORMS.iter() {
        assert!(!text.contains(form.as_str()), "{context}: {form} is in {text}");
    }
}

#[track_caller]
fn says_nothing(output: &Output, context: &str) {
    is_discreet(&output.stdout, context);
    is_discreet(&output.stderr, context);
}

/// Every way to log, with a push that goes well, one that is looked at only, and one that is refused.
#[test]
fn nothing_is_said_at_any_verbosity() {
    let everything = "aws_config=trace,aws_credential_types=trace,aws_smithy_runtime=trace,aws_smithy_http_client=trace,\
                      aws_sigv4=trace,aws_runtime=trace,hyper=trace,hyper_util=trace,rustls=trace,lfs_image=trace";
    let verbosity: [&[&str]; 5] = [&["-q"], &[], &["-v"], &["-vv"], &["-vvv"]];
    let home = Home::new();
    let mut said = 0;
    for (n, source) in SOURCES.iter().enumerate() {
        let judge = judge();
        for (m, verbose) in verbosity.iter().enumerate() {
            for log in [None, Some("trace"), Some(everything)] {
                let context = format!("{source} {verbose:?} {log:?}");
                let mut command = home.command(&judge, source);
                command.envs(log.map(|log| ("RUST_LOG", log)));
                command.args(*verbose).args(["push", "--target", "none"]).args(PLAIN);
                command.arg("--name").arg(format!("{n} {m} {}", log.unwrap_or("").len()));
                // All of it goes up once, and else it is looked at.
                if m != 4 || log.is_none() {
                    command.arg("--dry-run");
                }
                if (n + m) % 2 == 0 {
                    command.arg("--json");
                }
                let output = command.arg(fixture("gnu-ustar.tar")).output().unwrap();
                assert!(output.status.success(), "{context}: {}", both(&output));
                says_nothing(&output, &context);
                said += output.stderr.len();
            }
        }
    }
    // It does log.
    assert!(said > 10_000, "{said} bytes");
}

/// Where the service refuses, in words of its own or ours.
#[test]
fn nothing_is_said_in_errors() {
    let home = Home::new();
    let judge = judge();
    for source in SOURCES {
        for fault in [
            r#"{"op": "GetCallerIdentity", "do": "expired-token"}"#.to_owned(),
            r#"{"op": "StartSnapshot", "do": "access-denied"}"#.to_owned(),
            r#"{"op": "PutSnapshotBlock", "do": "expired-token"}"#.to_owned(),
            format!(
                r#"{{"op": "StartSnapshot", "do": "error", "status": 403, "code": "SignatureDoesNotMatch",
                "message": "Credential={KEY}/x; x-amz-security-token:{TOKEN}; {SECRET}"}}"#
            ),
            format!(
                r#"{{"op": "RegisterImage", "do": "error", "status": 400, "code": "InvalidParameterValue",
                "message": "Bad: AWSAccessKeyId={KEY}&X-Amz-Security-Token={TOKEN}"}}"#
            ),
        ] {
            judge.set_faults(&format!("[{fault}]")).unwrap();
            for options in [&["-vvv"][..], &["--json"]] {
                let mut command = home.command(&judge, source);
                command.env("RUST_LOG", "trace").args(options);
                command.args(["push", "--no-resume"]).args(PLAIN);
                let output = command.arg(fixture("gnu-ustar.tar")).output().unwrap();
                assert_eq!(output.status.code(), Some(1), "{}", both(&output));
                says_nothing(&output, &format!("{source} {fault} {options:?}"));
            }
        }
    }
    judge.set_faults("[]").unwrap();
    // Secrets that aren't the right ones, and a file of them that is damaged.
    let mut wrong = home.command(&judge, "environment");
    wrong.env("AWS_SECRET_ACCESS_KEY", format!("{SECRET}x"));
    let damaged =
        format!("[default\naws_access_key_id = {KEY}\naws_secret_access_key {SECRET}\n = {TOKEN}\n");
    std::fs::write(home.at("credentials"), damaged).unwrap();
    std::fs::write(
        home.at("answer"),
        format!(r#"{{"Version": 1, "AccessKeyId": "{KEY}", "SecretAccessKey": "{SECRET}", oops"#),
    )
    .unwrap();
    // A proxy with a password that isn't there.
    let mut proxy = home.command(&judge, "environment");
    let url = format!("http://somebody:{PROXY}@127.0.0.1:9");
    proxy.envs([("HTTP_PROXY", &url), ("HTTPS_PROXY", &url), ("http_proxy", &url), ("https_proxy", &url)]);
    proxy.env_remove("NO_PROXY").env_remove("no_proxy");
    let broken = [home.command(&judge, "profile"), home.command(&judge, "process"), wrong, proxy];
    for (n, mut command) in broken.into_iter().enumerate() {
        command.env("RUST_LOG", "trace").args(["-vvv", "push"]).args(PLAIN);
        let output = run(through(&["timeout", "60"], &command).arg(fixture("gnu-ustar.tar")));
        assert_eq!(output.status.code(), Some(1), "{n}: {}", both(&output));
        says_nothing(&output, &format!("broken {n}"));
    }
}

/// What a killed transfer leaves: journals, which are their owner's alone whatever the umask, and nothing else.
#[test]
fn nothing_is_written() {
    let home = Home::new();
    let judge = judge();
    let snapshot = judge.plant_snapshot(1, (0..20).map(|n| (n, vec![7; 512 << 10]))).unwrap();
    let folder = home.at("work");
    std::fs::create_dir(&folder).unwrap();
    let raw = folder.join("raw.img");
    must(lfs_image(&judge).args(["raw", "--boot", "none"]).arg(fixture("gnu-posix.tar")).arg(&raw));
    let tar = fixture("gnu-posix.tar");
    let push = ["push", "--snapshot-only"];
    for (source, operation, arguments, file) in [
        ("process", "PutSnapshotBlock", &[&push[..], &["--boot", "none"]].concat()[..], tar.as_path()),
        ("profile", "PutSnapshotBlock", &push[..], raw.as_path()),
        ("environment", "GetSnapshotBlock", &["pull", snapshot.as_str()][..], Path::new("pulled.img")),
    ] {
        // After a few blocks it hangs.
        judge
            .set_faults(&format!(r#"[{{"op": "{operation}", "from": 5, "do": "stall", "seconds": 30}}]"#))
            .unwrap();
        let before = judge.report().operation(operation).calls;
        let mut child = through(&["sh", "-c", "umask 0; exec \"$@\"", "sh"], &home.command(&judge, source))
            .args(["--json", "-vv"])
            .args(arguments)
            .arg(file)
            .env("RUST_LOG", "trace")
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(judge.wait_for(operation, before + 5, Duration::from_secs(20)));
        std::thread::sleep(Duration::from_millis(200));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        says_nothing(&output, source);
    }
    let mut journals = 0;
    for path in files(home.0.path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if ["answer", "credentials", "config", "process", "raw.img"].contains(&name.as_str()) {
            continue;
        }
        // The rest of a volume of a GiB is a hole.
        let mut bytes = Vec::new();
        std::fs::File::open(&path).unwrap().take(16 << 20).read_to_end(&mut bytes).unwrap();
        is_discreet(&bytes, &name);
        if name.ends_with(".push") || name.ends_with(".pull") {
            journals += 1;
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
            assert!(path.metadata().unwrap().len() > 100, "{name} says nothing");
        } else {
            assert!(name.ends_with(".partial"), "{name} is left");
        }
    }
    assert_eq!(journals, 3);
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all
}
