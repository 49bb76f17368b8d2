//! Archives that unpack to far more than they are, and streams that never end.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::errors;
use crate::hostile::{BASE, are_there, limited, made, refused, refused_bytes};
use crate::support::{judge, scratch};
use crate::tarball::{Header, Tarball};

#[test]
fn bombs_are_not_unpacked() {
    if !are_there() || !judge::require(&["gzip", "zstd", "xz", "bzip2"]) {
        return;
    }
    // A gigabyte in files of 16 MiB, with the limit at 100 MiB; and a single one that says at once how large it is.
    let mut file = Header::new("f", b'0', 16 << 20).block();
    file.resize(512 + (16 << 20), 0);
    for program in ["gzip -1", "zstd -1", "xz -0", "bzip2 -1"] {
        // Compressed data repeats where what it is made of does: one file is packed, its stream is written many times.
        let packed = pack(program, &file);
        assert!(packed.len() < 200_000, "{program}: {}", packed.len());
        refused(&["--max-size", "100M"], &["more than 104857600 bytes", "hint: `--max-size`"], |out| {
            (0..64).try_for_each(|_| out.write_all(&packed))
        });
    }
    let huge = Header::new("f", b'0', 0).bytes(124, b"\x80\0\0\0\0\x7f\xff\xff\xff\xff\xff\xff").block();
    refused(&["--max-size", "1G"], &["more than 1073741824 bytes"], |out| out.write_all(&huge));
    // Without a limit, the archive itself ends it.
    refused_bytes(&huge, &["ends early"]);
}

fn pack(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut words = program.split(' ');
    let folder = scratch();
    let packed = folder.path().join("f");
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(File::create(&packed).unwrap())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    assert!(child.wait().unwrap().success());
    std::fs::read(&packed).unwrap()
}

/// Content isn't all that is unpacked: 8 GiB behind the end, 8 GiB of an entry that is skipped, a GiB of headers.
#[test]
fn bombs_without_content_are_not_unpacked() {
    if !are_there() || !judge::require(&["zstd", "gzip"]) {
        return;
    }
    let small = Tarball::new().file("f", b"x").end();
    let start = pack("zstd -q", &small);
    let zeros = pack("zstd -q", &vec![0; 16 << 20]);
    let volume = pack("zstd -q", &Header::new("volume", b'V', (8 << 30) - 512).block());
    let headers = pack("zstd -q", &Header::new("a", b'0', 0).block().repeat(32_768));
    let limit = ["--max-size", "1M"];
    let words = ["1048576 bytes of content, and beside it as much again and 64 MiB", "hint: `--max-size`"];
    let behind = |out: &mut dyn Write| {
        out.write_all(&start)?;
        (0..512).try_for_each(|_| out.write_all(&zeros))
    };
    refused(&limit, &["more than 64 MiB follow it"], behind);
    refused(&[], &["more than 64 MiB follow it"], behind);
    refused(&limit, &words, |out| {
        out.write_all(&volume)?;
        (0..512).try_for_each(|_| out.write_all(&zeros))?;
        out.write_all(&start)
    });
    refused(&limit, &words, |out| (0..64).try_for_each(|_| out.write_all(&headers)));
    // Padding as tapes have it is no bomb.
    made(0, &["--max-size", "1", "--size", "64M"], |out| {
        out.write_all(&start)?;
        out.write_all(&zeros)
    });
}

/// What never ends is not read for ever.
#[test]
fn streams_without_end() {
    if !are_there() || !judge::require(&["zstd", "gzip"]) {
        return;
    }
    let small = Tarball::new().file("f", b"x").end();
    let block = [0; 1 << 16];
    let endless = |out: &mut dyn Write| (0..u64::MAX).try_for_each(|_| out.write_all(&block));
    refused(&[], &["the archive ends at byte 1536, and more than 64 MiB follow it"], |out| {
        out.write_all(&small)?;
        endless(out)
    });
    refused(&[], &["the archive has no entries"], endless);
    for program in ["gzip", "zstd -q"] {
        refused(&[], &["more than 64 MiB in a row hold nothing"], |out| {
            out.write_all(&pack(program, &small))?;
            endless(out)
        });
        let nothing = pack(program, b"").repeat(1000);
        refused(&[], &["more than 64 MiB in a row hold nothing"], |out| {
            (0..u64::MAX).try_for_each(|_| out.write_all(&nothing))
        });
    }
    // Devices end nowhere either, and what is behind an archive on one is nobody's business.
    let folder = scratch();
    let (output, _) = limited(BASE, &[], Path::new("/dev/zero"), &folder.path().join("out.img"), |_| Ok(()));
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("the archive has no entries"), "{}", errors(&output));
}
