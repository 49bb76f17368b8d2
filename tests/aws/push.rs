//! `lfs-image push`, when all goes well: what the account has afterwards, and what scripts are told.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Output;

use aws_judge::{Config, Judge, View};
use serde_json::Value;

use crate::support::{both, judge, must, rootfs, scratch};
use crate::{errors, fixture, lfs_image, said};

/// A disk that nothing starts, which is enough where that isn't the question.
pub(crate) const PLAIN: [&str; 4] = ["--boot", "none", "--boot-mode", "legacy-bios"];

pub(crate) fn start(config: Config) -> Judge {
    Judge::start(config).unwrap()
}

/// A push of the fixture, in a home of its own.
pub(crate) fn push(judge: &Judge, home: &Path, options: &[&str]) -> Output {
    push_file(judge, home, &fixture("gnu-posix.tar"), &[&PLAIN, options].concat())
}

pub(crate) fn push_file(judge: &Judge, home: &Path, file: &Path, options: &[&str]) -> Output {
    lfs_image(judge)
        .env("HOME", home)
        .args(["push", "--target", "none", "--force"])
        .args(options)
        .arg(file)
        .output()
        .unwrap()
}

#[track_caller]
pub(crate) fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", both(output));
    said(output)
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_str(&ok(output)).unwrap()
}

/// Nothing that a good client doesn't do.
#[track_caller]
pub(crate) fn nothing_to_complain(judge: &Judge) {
    let violations = judge.report().violations;
    assert!(violations.is_empty(), "{violations:?}");
}

fn sorted(list: &[String]) -> Vec<String> {
    let mut list = list.to_vec();
    list.sort();
    list
}

/// That a snapshot, as an instance sees it, is an image.
#[track_caller]
fn holds(judge: &Judge, snapshot: &str, image: &Path, folder: &Path) {
    let volume = folder.join("volume.img");
    judge.write_volume(snapshot, View::Plain, &mut File::create(&volume).unwrap()).unwrap();
    must(std::process::Command::new("cmp").arg(image).arg(&volume));
}

#[test]
fn a_tarball_becomes_a_machine_image() {
    let judge = start(Config::default());
    let folder = scratch();
    let archive = rootfs::tiny("amd64", folder.path(), &[]);
    let options = ["--name", "tiny 1.0", "--description", "A test", "--tag", "release=1=0", "--json"];
    let told = json(&push_file(&judge, folder.path(), &archive, &options));
    nothing_to_complain(&judge);
    let report = judge.report();
    let (image, snapshot) = (report.only_image(), report.only_snapshot());
    assert_eq!(told["image"]["id"], image.id.as_str());
    assert_eq!(told["snapshot"]["id"], snapshot.id.as_str());
    assert_eq!(told["snapshot"]["blocks"], snapshot.block_count);
    assert_eq!((told["account"].as_str(), told["reused"].as_bool()), (Some("123456789012"), Some(false)));
    // The image has loaders of our own for both firmwares.
    assert_eq!((image.name.as_str(), image.description.as_str()), ("tiny 1.0", "A test"));
    assert_eq!((image.architecture.as_str(), image.virtualization.as_str()), ("x86_64", "hvm"));
    assert_eq!(image.boot_mode.as_deref(), Some("uefi-preferred"));
    assert_eq!((image.tpm_support.as_deref(), image.imds_support.as_deref()), (None, Some("v2.0")));
    assert!(image.ena_support && image.sriov.as_deref() == Some("simple"));
    assert_eq!(image.root_device, "/dev/xvda");
    let mapping = |key: &str| image.mappings.get(key).map(String::as_str);
    assert_eq!(mapping("1.DeviceName"), Some("/dev/xvda"));
    assert_eq!(mapping("1.Ebs.VolumeType"), Some("gp3"));
    assert_eq!(mapping("1.Ebs.DeleteOnTermination"), Some("true"));
    assert_eq!(mapping("1.Ebs.Encrypted"), None);
    assert_eq!(mapping("1.Ebs.VolumeSize"), Some(snapshot.volume_size.to_string().as_str()));
    for tags in [&image.tags, &snapshot.tags] {
        assert_eq!(tags.get("release").map(String::as_str), Some("1=0"));
        assert_eq!(tags.get("lfs-image").map(String::as_str), Some("1"));
    }
    assert_eq!(image.tags.get("lfs-image:digest").map(String::as_str), told["snapshot"]["digest"].as_str());
    assert_eq!(snapshot.description, "A test");

    let raw = folder.path().join("raw.img");
    must(lfs_image(&judge).args(["raw", "--target", "none"]).arg(&archive).arg(&raw));
    holds(&judge, &snapshot.id, &raw, folder.path());
    // What `check` finds is told, too.
    let check = must(
        lfs_image(&judge)
            .args(["check", "--for", "ec2", "--target", "none", "--force", "--json"])
            .arg(&archive),
    );
    let found: Value = serde_json::from_str(&check).unwrap();
    assert!(!found["findings"].as_array().unwrap().is_empty());
    assert_eq!(told["findings"], found["findings"]);
    // No journal is left.
    let state = folder.path().join(".local/state/lfs-image");
    assert_eq!(std::fs::read_dir(state).unwrap().count(), 0);

    // The same image as a file.
    let output = push_file(&judge, folder.path(), &raw, &[]);
    let id = ok(&output);
    let report = judge.report();
    let image = report.live_images().into_iter().find(|image| image.id == id).unwrap();
    assert_eq!(image.boot_mode.as_deref(), Some("uefi-preferred"));
    assert!(image.name.starts_with("raw-"), "{}", image.name);
    holds(&judge, &image.snapshots[0], &raw, folder.path());
    nothing_to_complain(&judge);
    assert!(!errors(&output).contains("warning:"), "{}", errors(&output));
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".push")), "{names:?}");
}

#[test]
fn firmware_decides_architecture_and_boot_mode() {
    if !judge::require(&["sgdisk"]) {
        return;
    }
    let judge = start(Config::default());
    let folder = scratch();
    let x86 = rootfs::tiny("amd64", folder.path(), &[]);
    let arm = rootfs::tiny("arm64", folder.path(), &[]);
    let raw = |name: &str, archive: &Path, options: &[&str]| -> PathBuf {
        let out = folder.path().join(name);
        must(lfs_image(&judge).arg("raw").args(options).arg(archive).arg(&out));
        out
    };
    let hybrid = raw("hybrid.img", &x86, &[]);
    // A BIOS needs the boot code, UEFI the EFI system partition.
    let bios = raw("bios.img", &x86, &[]);
    must(std::process::Command::new("sgdisk").args(["-t", "3:8300"]).arg(&bios));
    let uefi = raw("uefi.img", &x86, &[]);
    let mut file = File::options().write(true).open(&uefi).unwrap();
    file.write_all(&[0; 440]).unwrap();
    let arm_disk = raw("arm.img", &arm, &[]);
    for (image, architecture, boot_mode, tpm) in [
        (&x86, "x86_64", "uefi-preferred", None),
        (&hybrid, "x86_64", "uefi-preferred", None),
        (&bios, "x86_64", "legacy-bios", None),
        (&uefi, "x86_64", "uefi", Some("v2.0")),
        (&arm, "arm64", "uefi", None),
        (&arm_disk, "arm64", "uefi", None),
    ] {
        let name = format!("{}", image.file_name().unwrap().display());
        let id = ok(&push_file(&judge, folder.path(), image, &["--name", &name]));
        let report = judge.report();
        let image = report.images.iter().find(|image| image.id == id).unwrap();
        assert_eq!(
            (image.architecture.as_str(), image.boot_mode.as_deref()),
            (architecture, Some(boot_mode)),
            "{name}"
        );
        assert_eq!(image.tpm_support.as_deref(), tpm, "{name}");
        assert_eq!(image.sriov.is_some(), architecture == "x86_64", "{name}");
    }
    nothing_to_complain(&judge);
    // What was asked for goes first, but not beyond what EC2 takes.
    let id = ok(&push_file(
        &judge,
        folder.path(),
        &hybrid,
        &["--boot-mode", "uefi", "--tpm", "off", "--name", "one"],
    ));
    let report = judge.report();
    let image = report.images.iter().find(|image| image.id == id).unwrap();
    assert_eq!((image.boot_mode.as_deref(), image.tpm_support.as_deref()), (Some("uefi"), None));
    for (file, options, words) in [
        (&hybrid, &["--tpm", "on"][..], "a TPM needs"),
        (&arm, &["--boot-mode", "uefi-preferred"], "UEFI alone"),
        (&fixture("gnu-posix.tar"), &["--boot", "none"], "nothing on the image starts it"),
    ] {
        let output = push_file(&judge, folder.path(), file, options);
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        assert!(errors(&output).contains(words), "{}", errors(&output));
    }
    assert_eq!(judge.report().snapshots.len(), 7);
}

#[test]
fn twice_is_once() {
    let judge = start(Config::default());
    let folder = scratch();
    let first = ok(&push(&judge, folder.path(), &[]));
    let puts = judge.report().operation("PutSnapshotBlock").calls;
    let output = push(&judge, folder.path(), &["--json"]);
    let told = json(&output);
    assert_eq!((told["image"]["id"].as_str(), told["reused"].as_bool()), (Some(first.as_str()), Some(true)));
    assert_eq!(told["snapshot"]["id"], judge.report().only_snapshot().id.as_str());
    assert_eq!(judge.report().operation("PutSnapshotBlock").calls, puts);
    // What wasn't done the first time is done now.
    let again = ok(&push(&judge, folder.path(), &["--ssm-parameter", "/lfs/test", "--copy-to", "eu-west-1"]));
    assert_eq!(again, first);
    let report = judge.report();
    assert_eq!(report.parameters[0].value, first);
    assert_eq!(report.images.len(), 2);
    ok(&push(&judge, folder.path(), &["--copy-to", "eu-west-1"]));
    assert_eq!(judge.report().images.len(), 2, "the copy was made again");

    // The name is the other one's.
    let name = report.images[0].name.clone();
    let other = push_file(
        &judge,
        folder.path(),
        &fixture("gnu-xattrs.tar"),
        &["--boot", "none", "--boot-mode", "legacy-bios", "--name", &name],
    );
    assert_eq!(other.status.code(), Some(1), "{}", both(&other));
    for words in ["has other content", &first, "deregister-image --region us-east-1"] {
        assert!(errors(&other).contains(words), "{words}: {}", errors(&other));
    }
    let strange = judge.plant_snapshot(1, []).unwrap();
    let planted = judge.plant_image("somebody's", &strange);
    let output = push(&judge, folder.path(), &["--name", "somebody's"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains(&planted), "{}", errors(&output));
    assert_eq!(judge.report().operation("PutSnapshotBlock").calls, puts);
    // The same content, registered otherwise.
    let options = ["--boot", "none", "--architecture", "x86_64", "--boot-mode", "uefi", "--name", &name];
    let output = push_file(&judge, folder.path(), &fixture("gnu-posix.tar"), &options);
    assert!(errors(&output).contains("is x86_64 and legacy-bios"), "{}", errors(&output));
    nothing_to_complain(&judge);
}

#[test]
fn a_dry_run_changes_nothing() {
    let judge = start(Config::default());
    let folder = scratch();
    let options = [
        "--dry-run",
        "--json",
        "--copy-to",
        "eu-west-1",
        "--share-with",
        "210987654321",
        "--deprecate-after",
        "1y",
    ];
    let told = json(&push(&judge, folder.path(), &options));
    assert_eq!(told["dry_run"], true);
    assert_eq!(told["estimate"]["blocks"], told["snapshot"]["blocks"]);
    let dollars = told["estimate"]["dollars"].as_f64().unwrap();
    assert!((dollars - 0.006e-3 * told["snapshot"]["blocks"].as_f64().unwrap()).abs() < 1e-9);
    assert!(
        told["image"]["id"].is_null() && told["image"]["name"].as_str().unwrap().starts_with("gnu-posix-")
    );
    let checks = told["checks"].to_string();
    for words in ["RegisterImage is allowed", "CopyImage is allowed in eu-west-1", "is free"] {
        assert!(checks.contains(words), "{checks}");
    }
    let report = judge.report();
    assert!(report.snapshots.is_empty() && report.images.is_empty());
    for entry in &report.log {
        let reads = ["Describe", "Get"].iter().any(|verb| entry.operation.starts_with(verb));
        assert!(reads || entry.dry_run, "{entry:?}");
    }
    assert!(!folder.path().join(".local").exists());
    // What it tells is what is then sent.
    ok(&push(&judge, folder.path(), &[]));
    assert_eq!(told["snapshot"]["blocks"], judge.report().only_snapshot().block_count);
    // No id, no output.
    assert_eq!(ok(&push(&judge, folder.path(), &["--dry-run", "--name", "another"])), "");
}

#[test]
fn copies_permissions_deprecation_and_parameters() {
    let judge = start(Config::default());
    let folder = scratch();
    let told = json(&push(
        &judge,
        folder.path(),
        &[
            "--json",
            "--tag",
            "a=b",
            "--copy-to",
            "eu-west-1,ap-southeast-2",
            "--share-with",
            "210987654321",
            "--share-with",
            "111111111111",
            "--deprecate-after",
            "90d",
            "--ssm-parameter",
            "/lfs/latest",
        ],
    ));
    nothing_to_complain(&judge);
    let report = judge.report();
    assert_eq!((report.live_images().len(), report.live_snapshots().len()), (3, 3));
    assert_eq!(told["copies"].as_array().unwrap().len(), 2);
    for image in &report.images {
        assert_eq!(sorted(&image.launch_permissions), ["111111111111", "210987654321"], "{}", image.region);
        assert!(image.deprecation_time.is_some());
        assert_eq!(image.tags.get("a").map(String::as_str), Some("b"));
        assert_eq!(image.tags, report.images[0].tags);
        let parameter = report.parameters.iter().find(|p| p.region == image.region).unwrap();
        assert_eq!((parameter.name.as_str(), &parameter.value), ("/lfs/latest", &image.id));
        assert_eq!((parameter.kind.as_str(), parameter.data_type.as_str()), ("String", "aws:ec2:image"));
    }
    for snapshot in &report.snapshots {
        assert_eq!(sorted(&snapshot.shared_with), ["111111111111", "210987654321"]);
        assert_eq!(snapshot.tags.get("a").map(String::as_str), Some("b"));
    }
    let copies = told["copies"].as_array().unwrap();
    for copy in copies {
        let image = report.images.iter().find(|image| copy["image"] == image.id.as_str()).unwrap();
        assert_eq!(copy["region"], image.region.as_str());
        assert_eq!(copy["snapshot"], image.snapshots[0].as_str());
    }

    // To everybody, if that is meant.
    let public = push(&judge, folder.path(), &["--public", "--name", "for all"]);
    assert_eq!(public.status.code(), Some(2), "{}", both(&public));
    let id = ok(&push(&judge, folder.path(), &["--public", "--confirm-public", "--name", "for all"]));
    let report = judge.report();
    assert_eq!(report.images.iter().find(|image| image.id == id).unwrap().launch_permissions, ["all"]);
}

#[test]
fn snapshots_are_as_asked_for() {
    let judge = start(Config::default());
    let folder = scratch();
    let key = "arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd";
    let id = ok(&push(
        &judge,
        folder.path(),
        &["--kms-key", key, "--volume-size", "3G", "--copy-to", "eu-west-1"],
    ));
    let report = judge.report();
    let image = report.images.iter().find(|image| image.id == id).unwrap();
    let snapshot = &report.snapshots[0];
    assert_eq!(image.snapshots, [snapshot.id.as_str()]);
    assert_eq!((snapshot.encrypted, snapshot.kms_key.as_deref(), snapshot.volume_size), (true, Some(key), 3));
    assert_eq!(image.mappings.get("1.Ebs.VolumeSize").map(String::as_str), Some("3"));
    // The key of several regions is the copy's, too.
    let copy = report.snapshots.iter().find(|snapshot| snapshot.region == "eu-west-1").unwrap();
    assert_eq!(copy.kms_key.as_deref(), Some("arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd"));
    // The larger volume's partition table is whole.
    if judge::require(&["sgdisk"]) {
        let volume = folder.path().join("volume.img");
        judge.write_volume(&snapshot.id, View::Plain, &mut File::create(&volume).unwrap()).unwrap();
        judge::sgdisk(&volume).unwrap();
    }
    nothing_to_complain(&judge);

    // Without any image.
    let judge = start(Config::default());
    let output = lfs_image(&judge)
        .env("HOME", folder.path())
        .args(["push", "--snapshot-only", "--boot", "none", "--encrypt", "--no-resume", "--jobs", "2"])
        .arg(fixture("gnu-posix.tar"))
        .output()
        .unwrap();
    let id = ok(&output);
    let report = judge.report();
    assert_eq!((&report.only_snapshot().id, report.only_snapshot().encrypted), (&id, true));
    assert!(report.images.is_empty());
    assert_eq!(report.operation("RegisterImage").calls, 0);
    nothing_to_complain(&judge);

    // Everything that can be said otherwise.
    let judge = start(Config::default());
    let data = folder.path().join("uefi-data");
    std::fs::write(&data, "QU1aTlVFRkk=\n").unwrap();
    let options = "--boot-mode uefi --tpm off --imdsv2 off --ena off --sriov off --root-device /dev/sda1 --volume-type io2 \
                   --iops 4000 --volume-size 8G --delete-on-termination off --architecture arm64";
    let mut options: Vec<&str> = options.split_whitespace().collect();
    options.extend(["--boot", "none", "--uefi-data", data.to_str().unwrap()]);
    ok(&push_file(&judge, folder.path(), &fixture("gnu-posix.tar"), &options));
    let report = judge.report();
    let image = report.only_image();
    let mapping = |key: &str| image.mappings.get(key).map(String::as_str);
    assert_eq!((image.tpm_support.as_deref(), image.imds_support.as_deref()), (None, None));
    assert!(!image.ena_support && image.sriov.is_none());
    assert_eq!((image.architecture.as_str(), image.root_device.as_str()), ("arm64", "/dev/sda1"));
    assert_eq!((mapping("1.Ebs.VolumeType"), mapping("1.Ebs.Iops")), (Some("io2"), Some("4000")));
    assert_eq!(mapping("1.Ebs.DeleteOnTermination"), Some("false"));
    assert_eq!(image.uefi_data.as_deref(), Some("QU1aTlVFRkk="));
}

#[test]
fn archives_come_through_pipes_and_disks_of_any_size() {
    let judge = start(Config::default());
    let folder = scratch();
    let mut child = lfs_image(&judge)
        .env("HOME", folder.path())
        .arg("push")
        .args(PLAIN)
        .args(["--size", "70M", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(fixture("gnu-posix.tar")).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    ok(&output);
    let report = judge.report();
    assert!(report.only_image().name.starts_with("lfs-image-"), "{}", report.only_image().name);
    // The backup table went to the volume's end.
    if judge::require(&["sgdisk"]) {
        let volume = folder.path().join("volume.img");
        judge
            .write_volume(&report.only_snapshot().id, View::Plain, &mut File::create(&volume).unwrap())
            .unwrap();
        assert_eq!(volume.metadata().unwrap().len(), 1 << 30);
        judge::sgdisk(&volume).unwrap();
    }
    nothing_to_complain(&judge);
}

/// At any verbosity, and in everything that is written.
#[test]
fn credentials_are_told_to_nobody() {
    let token = "session+token/IQoJb3JpZ2luX2VjEXAMPLE0123456789";
    let secret = "planted/secret+key/0123456789abcdefABCDEF";
    let config = Config {
        session_token: Some(token.to_owned()),
        secret_key: secret.to_owned(),
        // Slow enough for the journal to be looked at.
        uplink: Some(8 << 20),
        ..Config::default()
    };
    let key = config.access_key.clone();
    let judge = start(config);
    let folder = scratch();
    let encoded = token.replace('+', "%2B").replace('/', "%2F");
    let secrets = [token, secret, &key, &encoded];
    let journal = folder.path().join("journal");
    let mut command = lfs_image(&judge);
    command.env("HOME", folder.path()).env("RUST_LOG", "trace").args(["-vv", "push", "--json"]).args(PLAIN);
    command.arg("--resume-file").arg(&journal).arg(fixture("gnu-posix.tar"));
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    assert!(judge.wait_for("PutSnapshotBlock", 20, std::time::Duration::from_secs(20)));
    let mut kept = Vec::new();
    File::open(&journal).unwrap().read_to_end(&mut kept).unwrap();
    assert!(!kept.is_empty());
    let output = child.wait_with_output().unwrap();
    ok(&output);
    let good = both(&output);
    assert!(good.contains("RegisterImage") && good.contains("DEBUG"), "it logs nothing: {good}");

    // And where the service repeats them, or complains of them.
    let mut texts = vec![good, String::from_utf8_lossy(&kept).into_owned()];
    judge.configure(|config| config.uplink = None);
    for fault in [
        format!(
            r#"[{{"op": "DescribeImages", "do": "error", "status": 403, "code": "SignatureDoesNotMatch", "message":
            "Wrong. The Canonical String for this request should have been POST x-amz-security-token:{token}"}}]"#
        ),
        format!(
            r#"[{{"op": "GetCallerIdentity", "do": "error", "status": 403, "code": "X", "message": "{token} of {key} {secret}"}}]"#
        ),
        r#"[{"op": "StartSnapshot", "do": "expired-token"}]"#.to_owned(),
    ] {
        judge.set_faults(&fault).unwrap();
        let output = lfs_image(&judge)
            .env("HOME", folder.path())
            .env("RUST_LOG", "trace")
            .args(["-vv", "push", "--name", "other"])
            .args(PLAIN)
            .arg(fixture("gnu-posix.tar"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        texts.push(both(&output));
    }
    for text in &texts {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    assert!(texts[3].contains("… of … …"), "{}", texts[3]);
}

#[test]
fn disks_without_a_table_need_a_name_of_their_filesystem() {
    let judge = start(Config::default());
    let folder = scratch();
    let noise = folder.path().join("noise.img");
    let mut file = File::create(&noise).unwrap();
    file.write_all(&[0x5a; 4096]).unwrap();
    file.seek(SeekFrom::Start((3 << 20) - 1)).unwrap();
    file.write_all(b"x").unwrap();
    let output = push_file(&judge, folder.path(), &noise, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("--name"), "{}", errors(&output));
    // Data needs no name to be a snapshot.
    let id = ok(&push_file(&judge, folder.path(), &noise, &["--snapshot-only"]));
    let snapshot = judge.snapshot(&id).unwrap();
    assert_eq!((snapshot.block_count, snapshot.volume_size), (6, 1));
}
