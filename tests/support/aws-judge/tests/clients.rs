//! Clients that others wrote.

use std::env;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_judge::{BLOCK_SIZE, Config, Judge, View};

fn cache() -> PathBuf {
    let of = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    of("LFS_IMAGE_CACHE").unwrap_or_else(|| {
        let base = of("XDG_CACHE_HOME").unwrap_or_else(|| of("HOME").unwrap().join(".cache"));
        base.join("lfs-image")
    })
}

/// Whether a program is there. Says `SKIPPED` if not, and fails where `must` is set in the environment.
fn present(program: &Path, script: &str, must: &str) -> bool {
    if program.is_file() {
        return true;
    }
    let why = format!("{} is missing (scripts/{script} makes it)", program.display());
    assert!(env::var_os(must).is_none(), "a test can't run: {why}");
    eprintln!("SKIPPED: {why}");
    false
}

#[test]
fn boto3_gets_every_answer_and_every_refusal() {
    let python = cache().join("venv/bin/python");
    if !present(&python, "get-boto3.sh", "CI") {
        return;
    }
    let judge = Judge::start(Config::default()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("boto3_judge.py");
    let output = Command::new(python).arg(script).envs(judge.env()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let count: u32 = stdout.trim().strip_prefix("ok ").unwrap().parse().unwrap();
    assert!(count > 250, "{stdout}");
    let report = judge.report();
    for (operation, calls) in &report.operations {
        assert!(calls.ok > 0, "{operation} never succeeded");
    }
    assert_eq!(report.operations.len(), 26, "{:?}", report.operations.keys());
    assert!(report.violations.iter().all(|violation| violation.kind != "unsigned-header"));
}

#[test]
fn coldsnap_uploads_and_downloads() {
    let coldsnap = cache().join("coldsnap/bin/coldsnap");
    if !present(&coldsnap, "get-coldsnap.sh", "LFS_IMAGE_COLDSNAP") {
        return;
    }
    let judge = Judge::start(Config::default()).unwrap();
    let folder = tempfile::tempdir_in(env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into())).unwrap();
    let (disk, back) = (folder.path().join("disk"), folder.path().join("back"));
    // 40 MiB and a bit of data, a gap, and something at the end.
    let mut file = File::create(&disk).unwrap();
    for block in 0..80_u8 {
        file.write_all(&[block; BLOCK_SIZE]).unwrap();
    }
    file.write_all(b"a bit").unwrap();
    file.seek(SeekFrom::Start((64 << 20) - 3)).unwrap();
    file.write_all(b"end").unwrap();
    drop(file);
    let run = |arguments: &[&std::ffi::OsStr]| {
        let mut command = Command::new(&coldsnap);
        command.args(["--region", "us-east-1", "--endpoint", &judge.url()]).args(arguments).envs(judge.env());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let snapshot = run(&["upload".as_ref(), "--no-progress".as_ref(), "--wait".as_ref(), disk.as_ref()]);
    let report = judge.report();
    assert_eq!(report.only_snapshot().id, snapshot);
    assert_eq!(
        (report.only_snapshot().state.as_str(), report.only_snapshot().block_count),
        ("completed", 128)
    );
    assert_eq!(report.violations.len(), 0, "{:?}", report.violations);

    run(&["download".as_ref(), "--no-progress".as_ref(), snapshot.as_ref(), back.as_ref()]);
    let mut want = std::fs::read(&disk).unwrap();
    assert_eq!(want.len(), 64 << 20);
    let mut have = Vec::new();
    File::open(&back).unwrap().take(want.len() as u64).read_to_end(&mut have).unwrap();
    assert!(have == want, "what coldsnap downloads is what it uploaded");
    want.resize(1 << 30, 0);
    let mut volume = Vec::new();
    judge.write_volume(&snapshot, View::Plain, &mut volume).unwrap();
    assert!(volume == want, "the volume is what was uploaded");
}
