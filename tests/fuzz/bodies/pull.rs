//! A pull from a service that talks nonsense, over what may be left of an earlier one.
//!
//! AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY have to be set, to anything.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lfs_image::ebs::{Aws, BLOCK, Connect, Patience, Pull, Settings};
use sha2::{Digest as _, Sha256};

use super::draw::Draw;

const SNAPSHOT: &str = "snap-0123456789abcdef0";
/// The largest volume that is looked at byte by byte.
const SMALL: u64 = 2 << 30;

/// What the service still has to say, and what it has said that is right.
#[derive(Default)]
struct Script {
    rest: Vec<u8>,
    /// The byte that fills a block.
    good: BTreeMap<u64, Vec<u8>>,
}

static SCRIPT: Mutex<Script> = Mutex::new(Script { rest: Vec::new(), good: BTreeMap::new() });

/// Pulls, and looks at what came of it; whether that is an image.
pub fn pull(input: &[u8]) -> bool {
    static AWS: OnceLock<Aws> = OnceLock::new();
    let aws = AWS.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || drop(serve(&stream)));
            }
        });
        Aws::connect(&Connect::new().region("eu-test-1").endpoint_url(url)).unwrap()
    });
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let out = folder.path().join("out.img");
    let mut patience = Patience::default();
    patience.stall = Duration::from_secs(2);
    patience.give_up = Duration::from_millis(200);
    patience.not_found = Duration::from_millis(50);
    let settings = Settings::new().jobs(1).patience(patience);
    let download = Pull::new(aws, SNAPSHOT, &out, &settings);
    let mut draw = Draw(input);
    let [partial, journal] = download.partial();
    if draw.one_in(4) {
        let len = usize::from(draw.byte());
        let magic = draw.of(&[&b"lfs-image transfer 1\n"[..], b"lfs-image tr", b""]);
        fs::write(&journal, [magic, draw.bytes(len)].concat()).unwrap();
        fs::write(&partial, draw.bytes(len)).unwrap();
    }
    *SCRIPT.lock().unwrap() = Script { rest: draw.0.to_vec(), good: BTreeMap::new() };
    let outcome = download.run(&mut ());
    let is_image = outcome.is_ok();
    match outcome {
        Ok(pulled) => {
            let file = fs::File::open(&out).unwrap();
            assert_eq!(file.metadata().unwrap().len(), pulled.len);
            assert!(!partial.exists() && !journal.exists());
            if pulled.len <= SMALL {
                let good = std::mem::take(&mut SCRIPT.lock().unwrap().good);
                let mut block = vec![0; usize::try_from(BLOCK).unwrap()];
                for (number, bytes) in good {
                    file.read_exact_at(&mut block, number * BLOCK).unwrap();
                    assert!(
                        block.iter().all(|byte| *byte == block[0]) && bytes.contains(&block[0]),
                        "block {number}"
                    );
                }
            }
        }
        Err(error) => {
            assert!(error.kind() != lfs_image::ErrorKind::Internal, "{error}");
            assert!(!out.exists(), "{error}");
        }
    }
    is_image
}

/// Answers whatever is asked on a connection with what the script says next.
fn serve(stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if lines.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while lines.read_line(&mut line)? > 2 {
            line.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let block =
            path.split_once("/blocks/").and_then(|(_, rest)| rest.split('?').next()?.parse::<u64>().ok());
        let (answer, goes_on) = {
            let mut script = SCRIPT.lock().unwrap();
            let Script { rest, good } = &mut *script;
            let mut draw = Draw(rest);
            let answer = match block {
                Some(number) => fetched(&mut draw, number, good),
                None => listed(&mut draw),
            };
            let left = draw.0.len();
            rest.drain(..rest.len() - left);
            answer
        };
        let mut out = stream;
        out.write_all(&answer)?;
        if !goes_on {
            return Ok(());
        }
    }
}

fn http(status: u16, headers: &str, body: &[u8], len: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n{headers}\r\n"
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// What is said in place of what was asked for, and whether the connection stays.
fn refused(draw: &mut Draw<'_>) -> (Vec<u8>, bool) {
    let status = draw.of(&[400, 403, 404, 429, 500, 503, 200, 204, 302]);
    let kind =
        draw.of(&["ValidationException", "AccessDeniedException", "ResourceNotFoundException", "x", ""]);
    let len = usize::from(draw.byte());
    match draw.below(4) {
        0 => (http(status, "", b"", 0), true),
        1 => {
            let body = format!("{{\"message\":\"no\",\"Reason\":\"{kind}\",\"__type\":\"{kind}\"}}");
            (http(status, &format!("x-amzn-ErrorType: {kind}\r\n"), body.as_bytes(), body.len()), true)
        }
        2 => {
            let body = draw.bytes(len);
            (http(status, "", body, body.len()), true)
        }
        _ => (draw.bytes(len).to_vec(), false),
    }
}

fn listed(draw: &mut Draw<'_>) -> (Vec<u8>, bool) {
    if draw.one_in(8) {
        return refused(draw);
    }
    let size = draw.of(&[
        "1",
        "1",
        "1",
        "1",
        "2",
        "0",
        "-1",
        "65536",
        "65537",
        "9223372036854775807",
        "null",
        "1.5",
    ]);
    let block =
        draw.of(&["524288", "524288", "524288", "524288", "524288", "524288", "4096", "0", "-1", "null"]);
    let mut blocks = Vec::new();
    for _ in 0..draw.below(5) {
        let index =
            draw.of(&["0", "1", "2", "7", "2047", "2048", "4095", "-1", "2147483647", "4294967296", "null"]);
        let token = draw.of(&["\"t\"", "\"t\"", "\"t\"", "\"t\"", "\"\"", "null", "\"\\u0000 \u{e4}\""]);
        blocks.push(format!("{{\"BlockIndex\":{index},\"BlockToken\":{token}}}"));
    }
    let next = draw.of(&["null", "null", "null", "null", "null", "\"\"", "\"p\"", "\"q\""]);
    let body = format!(
        "{{\"Blocks\":[{}],\"VolumeSize\":{size},\"BlockSize\":{block},\"NextToken\":{next},\"ExpiryTime\":1.7e9}}",
        blocks.join(",")
    );
    (http(200, "", body.as_bytes(), body.len()), true)
}

fn fetched(draw: &mut Draw<'_>, number: u64, good: &mut BTreeMap<u64, Vec<u8>>) -> (Vec<u8>, bool) {
    if draw.one_in(8) {
        return refused(draw);
    }
    let whole = usize::try_from(BLOCK).unwrap();
    let byte = draw.byte();
    let (fault, len) = match draw.below(16) {
        0 => (true, 0),
        1 => (true, 17),
        2 => (true, whole + 1),
        3 => (true, whole),
        _ => (false, whole),
    };
    let body = vec![byte; len];
    let mut sum = BASE64_STANDARD.encode(Sha256::digest(&body));
    if fault && len == whole {
        sum = draw.of(&["", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]).to_owned();
    } else if !fault {
        good.entry(number).or_default().push(byte);
    }
    let headers =
        format!("x-amz-Data-Length: {len}\r\nx-amz-Checksum: {sum}\r\nx-amz-Checksum-Algorithm: SHA256\r\n");
    // Cut short: as many bytes are promised as there should be.
    let is_cut = fault && len == 17;
    (http(200, &headers, &body, if is_cut { whole } else { len }), !is_cut)
}
