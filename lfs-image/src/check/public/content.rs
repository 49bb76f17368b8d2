//! Files that are secret by what they say.

use super::{find, has_part, passwords};

pub(super) fn by_content(path: &[u8], bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if is_private_key(bytes) {
        return Some(("private-key", "a private key"));
    }
    // Programs have strings like anything.
    if bytes[..bytes.len().min(8192)].contains(&0) {
        return None;
    }
    if passwords::has_hash(bytes) {
        return Some(("password", "a password's hash"));
    }
    if path.starts_with(b"/etc/wpa_supplicant") && has_part(bytes, b"psk=") {
        return Some(("credentials", "passwords of networks"));
    }
    token(bytes).map(|what| ("token", what))
}

/// Whether it holds a private key, in the words that stand before one; JSON has them in the middle of a line.
fn is_private_key(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = find(rest, b"-----BEGIN ") {
        rest = &rest[at + 11..];
        let label = &rest[..find(&rest[..rest.len().min(64)], b"-----").unwrap_or(0)];
        if label.ends_with(b"PRIVATE KEY")
            || label.ends_with(b"PRIVATE KEY BLOCK")
            || label.starts_with(b"OpenVPN Static key")
        {
            return true;
        }
    }
    let starts = ["PuTTY-User-Key-File-", "Private-key-format: ", "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY"];
    starts.iter().any(|start| bytes.starts_with(start.as_bytes())) || lines(bytes).any(is_wireguard_key)
}

/// `PrivateKey = …`, as WireGuard's and networkd's files have it.
fn is_wireguard_key(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let Some(at) = line.iter().position(|c| *c == b'=') else { return false };
    let (key, value) = (line[..at].trim_ascii(), line[at + 1..].trim_ascii());
    key.eq_ignore_ascii_case(b"PrivateKey") && value.len() == 44 && value.ends_with(b"=")
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|c| *c == b'\n')
}

/// Which characters a token is made of.
#[derive(Clone, Copy, Debug)]
enum Alphabet {
    /// Exactly so many.
    Upper,
    Word,
    Dashed,
    Dotted,
}

impl Alphabet {
    fn has(self, c: u8) -> bool {
        match self {
            Self::Upper => c.is_ascii_uppercase() || c.is_ascii_digit(),
            Self::Word => c.is_ascii_alphanumeric() || c == b'_',
            Self::Dashed => c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'),
            Self::Dotted => c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.'),
        }
    }
}

/// How well-known tokens begin, how many characters follow at least, and whose they are.
const TOKENS: &[(&str, usize, Alphabet, &str)] = &[
    ("AKIA", 16, Alphabet::Upper, "an access key of AWS"),
    ("ASIA", 16, Alphabet::Upper, "a temporary access key of AWS"),
    ("ghp_", 36, Alphabet::Word, "a token of GitHub's"),
    ("gho_", 36, Alphabet::Word, "a token of GitHub's"),
    ("ghs_", 36, Alphabet::Word, "a token of GitHub's"),
    ("ghu_", 36, Alphabet::Word, "a token of GitHub's"),
    ("ghr_", 36, Alphabet::Word, "a token of GitHub's"),
    ("github_pat_", 22, Alphabet::Word, "a token of GitHub's"),
    ("glpat-", 20, Alphabet::Dashed, "a token of GitLab's"),
    ("xoxb-", 20, Alphabet::Dashed, "a token of Slack's"),
    ("xoxp-", 20, Alphabet::Dashed, "a token of Slack's"),
    ("AIza", 35, Alphabet::Dashed, "a key of Google's"),
    ("sk_live_", 20, Alphabet::Word, "a key of Stripe's"),
    ("rk_live_", 20, Alphabet::Word, "a key of Stripe's"),
    ("npm_", 36, Alphabet::Word, "a token of npm's"),
    ("dop_v1_", 64, Alphabet::Word, "a token of DigitalOcean's"),
    ("hvs.", 24, Alphabet::Dashed, "a token of Vault's"),
    ("xoxa-", 20, Alphabet::Dashed, "a token of Slack's"),
    ("xapp-", 20, Alphabet::Dashed, "a token of Slack's"),
    ("ya29.", 30, Alphabet::Dashed, "a token of Google's"),
    ("SG.", 60, Alphabet::Dotted, "a key of SendGrid's"),
    ("pypi-AgEIcHlwaS5vcmc", 20, Alphabet::Dashed, "a token of PyPI's"),
    ("dckr_pat_", 20, Alphabet::Dashed, "a token of Docker's"),
    ("sk-ant-", 30, Alphabet::Dashed, "a key of Anthropic's"),
    ("sk-proj-", 30, Alphabet::Dashed, "a key of OpenAI's"),
    ("tskey-", 20, Alphabet::Dashed, "a key of Tailscale's"),
    ("AGE-SECRET-KEY-1", 58, Alphabet::Upper, "a key of age's"),
];

/// Names of variables whose value is secret, followed by `=` or `:`.
const SECRETS: [&str; 3] = ["aws_secret_access_key", "aws_session_token", "secretaccesskey"];

fn token(bytes: &[u8]) -> Option<&'static str> {
    let begins = |byte: u8| TOKENS.iter().any(|(start, ..)| start.as_bytes().first() == Some(&byte));
    let firsts: Vec<bool> = (0..=255).map(begins).collect();
    let mut before = b' ';
    for (at, byte) in bytes.iter().enumerate() {
        if firsts[usize::from(*byte)] && !before.is_ascii_alphanumeric() {
            let here = &bytes[at..];
            let found = TOKENS.iter().find(|(start, len, alphabet, _)| {
                here.strip_prefix(start.as_bytes()).is_some_and(|rest| {
                    let follow = rest.iter().take_while(|c| alphabet.has(**c)).count();
                    if matches!(alphabet, Alphabet::Upper) { follow == *len } else { follow >= *len }
                })
            });
            if let Some((.., what)) = found {
                return Some(what);
            }
        }
        before = *byte;
    }
    if has_url_password(bytes) {
        return Some("a password in an address");
    }
    let lower = bytes.to_ascii_lowercase();
    for name in SECRETS {
        let mut rest = &lower[..];
        while let Some(at) = find(rest, name.as_bytes()) {
            rest = &rest[at + name.len()..];
            let value = rest.trim_ascii_start();
            let value = unquoted(value).trim_ascii_start();
            if let [b'=' | b':', value @ ..] = value {
                let value = value.trim_ascii_start();
                let value = unquoted(value);
                let long = value
                    .iter()
                    .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'+' | b'='))
                    .count();
                if long >= 16 {
                    return Some("a secret key of AWS");
                }
            }
        }
    }
    None
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value)
}

/// `https://user:password@host`
fn has_url_password(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = find(rest, b"://") {
        rest = &rest[at + 3..];
        let is_end = |c: &u8| {
            c.is_ascii_whitespace()
                || matches!(c, b'/' | b'"' | b'\'' | b'<' | b'>' | b'$' | b'{' | b'%' | b'(')
        };
        let authority = &rest[..rest.iter().position(is_end).unwrap_or(rest.len())];
        let Some(at) = authority.iter().rposition(|c| *c == b'@') else { continue };
        let Some(colon) = authority[..at].iter().position(|c| *c == b':') else { continue };
        let password = &authority[colon + 1..at];
        // Manuals say what to put there.
        let is_example = [&b"pass"[..], b"secret", b"xxx", b"..."]
            .iter()
            .any(|word| password.to_ascii_lowercase().starts_with(word));
        if colon > 0 && !password.is_empty() && !is_example {
            return true;
        }
    }
    false
}
