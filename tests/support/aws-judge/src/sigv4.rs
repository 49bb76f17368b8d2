//! AWS Signature Version 4, the checking side.
//!
//! ```text
//!   Authorization: AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=hex
//! ```
//!
//! Source: AWS General Reference, "Create a signed AWS API request". Not here: presigned URLs, chunked payloads, SigV4A.

use hyper::{HeaderMap, Method};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::form;
use crate::time;

/// Why a request isn't who it says it is. Each service has its own words for these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unsigned {
    Missing,
    Malformed,
    UnknownKey,
    WrongSignature,
    /// The date is more than a quarter of an hour off.
    Stale,
    /// Signed for another service than the path belongs to.
    WrongScope,
    BadToken,
}

/// The parsed header.
#[derive(Debug)]
pub(crate) struct Authorization {
    pub(crate) access_key: String,
    pub(crate) date: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) signed: Vec<String>,
    pub(crate) signature: String,
}

impl Authorization {
    /// `Ok(None)` without the header.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Option<Self>, Unsigned> {
        let Some(value) = headers.get("authorization") else { return Ok(None) };
        let value = value.to_str().map_err(|_| Unsigned::Malformed)?;
        let rest = value.strip_prefix("AWS4-HMAC-SHA256").ok_or(Unsigned::Malformed)?;
        let field = |name: &str| {
            let mut fields = rest.split(',').filter_map(|field| field.trim().split_once('='));
            fields.find(|(have, _)| *have == name).map(|(_, value)| value).ok_or(Unsigned::Malformed)
        };
        let credential: Vec<_> = field("Credential")?.split('/').collect();
        let [access_key, date, region, service, "aws4_request"] = credential[..] else {
            return Err(Unsigned::Malformed);
        };
        Ok(Some(Self {
            access_key: access_key.into(),
            date: date.into(),
            region: region.into(),
            service: service.into(),
            signed: field("SignedHeaders")?.split(';').map(Into::into).collect(),
            signature: field("Signature")?.into(),
        }))
    }

    /// Verifies it all. `body` is the digest of what was received.
    pub(crate) fn verify(
        &self,
        config: &Config,
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: &[u8; 32],
    ) -> Result<(), Unsigned> {
        if self.access_key != config.access_key {
            return Err(Unsigned::UnknownKey);
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let at = header("x-amz-date").ok_or(Unsigned::Malformed)?;
        let when = time::parse(at).ok_or(Unsigned::Malformed)?;
        if !self.signed.iter().any(|name| name == "host") || !self.signed.is_sorted() || at[..8] != self.date
        {
            return Err(Unsigned::Malformed);
        }
        let payload = match header("x-amz-content-sha256") {
            Some("UNSIGNED-PAYLOAD") => "UNSIGNED-PAYLOAD".to_owned(),
            Some(given) if given != hex(body) => return Err(Unsigned::WrongSignature),
            _ => hex(body),
        };
        let mut lines = String::new();
        for name in &self.signed {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| {
                    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
                })
                .collect();
            if values.is_empty() {
                return Err(Unsigned::WrongSignature);
            }
            lines.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        let mut pairs = form::pairs(query, false).ok_or(Unsigned::Malformed)?;
        for (name, value) in &mut pairs {
            (*name, *value) = (form::encode(name, true), form::encode(value, true));
        }
        pairs.sort();
        let query: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let canonical = format!(
            "{method}\n{}\n{}\n{lines}\n{}\n{payload}",
            form::encode(path, false),
            query.join("&"),
            self.signed.join(";")
        );
        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let digest: [u8; 32] = Sha256::digest(canonical.as_bytes()).into();
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&digest));
        let mut key = format!("AWS4{}", config.secret_key).into_bytes();
        for part in [&self.date, &self.region, &self.service, "aws4_request"] {
            key = hmac(&key, part.as_bytes()).to_vec();
        }
        if hex(&hmac(&key, text.as_bytes())) != self.signature {
            return Err(Unsigned::WrongSignature);
        }
        if header("x-amz-security-token") != config.session_token.as_deref() {
            return Err(Unsigned::BadToken);
        }
        if (when - time::now()).abs() > 900.0 {
            return Err(Unsigned::Stale);
        }
        Ok(())
    }
}

/// HMAC-SHA256, RFC 2104.
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// Lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_is_the_standard_one() {
        let mac = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
