//! HTTP by hand.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use aws_judge::{BLOCK_SIZE, Config, Judge};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Status, error's name and reason of an answer of EBS.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let name = self.header("x-amzn-errortype").unwrap_or_default();
        let reason = self.json()["Reason"].as_str().unwrap_or_default().to_owned();
        (self.status, name.split(':').next().unwrap().to_owned(), reason)
    }
}

/// A judge that asks for no signatures.
pub(crate) fn open(config: Config) -> Judge {
    Judge::start(Config { check_signatures: false, complete_ms: 0, ..config }).unwrap()
}

/// A connection that lives on.
pub(crate) struct Line(BufReader<TcpStream>);

impl Line {
    pub(crate) fn to(judge: &Judge) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", judge.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, head: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        let mut text = format!("{head} HTTP/1.1\r\nHost: ebs.us-east-1.amazonaws.com\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.0.get_mut().write_all(format!("{text}\r\n").as_bytes())?;
        self.0.get_mut().write_all(body)
    }

    pub(crate) fn receive(&mut self) -> io::Result<Answer> {
        let mut answer = Answer::default();
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.status = line.split(' ').nth(1).unwrap().parse().unwrap();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            answer.headers.push((name.into(), value.into()));
        }
        let length = answer.header("content-length").unwrap().parse().unwrap();
        answer.body = vec![0; length];
        self.0.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    pub(crate) fn ask(&mut self, head: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        self.send(head, headers, body)?;
        self.receive()
    }

    /// StartSnapshot of one GiB.
    pub(crate) fn start(&mut self) -> String {
        let answer = self.ask("POST /snapshots", &[], br#"{"VolumeSize":1}"#).unwrap();
        assert_eq!(answer.status, 201);
        answer.json()["SnapshotId"].as_str().unwrap().into()
    }

    /// PutSnapshotBlock as it should be.
    pub(crate) fn put(&mut self, snapshot: &str, index: u32, data: &[u8]) -> io::Result<Answer> {
        let sum = sum(data);
        let headers = [
            ("x-amz-Data-Length", "524288"),
            ("x-amz-Checksum", sum.as_str()),
            ("x-amz-Checksum-Algorithm", "SHA256"),
        ];
        self.ask(&format!("PUT /snapshots/{snapshot}/blocks/{index}"), &headers, data)
    }

    /// CompleteSnapshot of these blocks, in their order.
    pub(crate) fn complete(&mut self, snapshot: &str, blocks: &[Vec<u8>]) -> Answer {
        let sums: Vec<u8> = blocks.iter().flat_map(Sha256::digest).collect();
        let (count, sum) = (blocks.len().to_string(), sum(&sums));
        let headers = [
            ("x-amz-ChangedBlocksCount", count.as_str()),
            ("x-amz-Checksum", sum.as_str()),
            ("x-amz-Checksum-Algorithm", "SHA256"),
            ("x-amz-Checksum-Aggregation-Method", "LINEAR"),
        ];
        self.ask(&format!("POST /snapshots/completion/{snapshot}"), &headers, b"").unwrap()
    }

    /// A call of EC2.
    pub(crate) fn ec2(&mut self, form: &str) -> Answer {
        self.ask("POST /", &[], form.as_bytes()).unwrap()
    }
}

pub(crate) fn sum(data: &[u8]) -> String {
    BASE64.encode(Sha256::digest(data))
}

/// A block full of one byte.
pub(crate) fn block(byte: u8) -> Vec<u8> {
    vec![byte; BLOCK_SIZE]
}

/// The kinds of violations, in order.
pub(crate) fn kinds(judge: &Judge) -> Vec<String> {
    judge.report().violations.into_iter().map(|violation| violation.kind).collect()
}
