//! Percent encoding, and the parameters of the Query protocol: `BlockDeviceMapping.1.Ebs.SnapshotId=snap-…`.

use std::collections::BTreeMap;

use crate::reply::Fail;

/// `%41+b` as bytes; `plus` says whether `+` is a space. `None` for a broken escape or text that isn't UTF-8.
pub(crate) fn decode(text: &str, plus: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let pair = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?
            }
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// As a signature wants it: everything but unreserved characters becomes `%XX`.
pub(crate) fn encode(text: &str, slash: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (byte == b'/' && !slash) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Name and value pairs of a query string or a form, in order. `None` for a broken escape.
pub(crate) fn pairs(text: &str, plus: bool) -> Option<Vec<(String, String)>> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode(name, plus)?, decode(value, plus)?))
        })
        .collect()
}

/// A request of the Query protocol.
#[derive(Debug, Default)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// A form or query string. A parameter that comes twice is malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut form = BTreeMap::new();
        for (name, value) in pairs(text, true)? {
            if form.insert(name, value).is_some() {
                return None;
            }
        }
        Some(Self(form))
    }

    /// A parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Fail> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            Fail::new(400, "MissingParameter", format!("The request must contain the parameter {name}"))
        })
    }

    /// `true` or `false`.
    pub(crate) fn bool(&self, name: &str) -> Result<Option<bool>, Fail> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(invalid(name, other)),
        }
    }

    /// A number.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, Fail> {
        self.get(name).map(|text| text.parse().map_err(|_| invalid(name, text))).transpose()
    }

    /// `Name.1`, `Name.2`, …
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        (1..).map_while(|n| self.get(&format!("{name}.{n}")).map(Into::into)).collect()
    }

    /// The prefixes `Name.1.`, `Name.2.`, … that have parameters.
    pub(crate) fn structures(&self, name: &str) -> Vec<String> {
        (1..)
            .map(|n| format!("{name}.{n}."))
            .take_while(|prefix| self.0.keys().any(|key| key.starts_with(prefix.as_str())))
            .collect()
    }

    /// Whether any parameter begins so.
    pub(crate) fn has(&self, prefix: &str) -> bool {
        self.0.keys().any(|key| key.starts_with(prefix))
    }

    /// Refuses parameters that none of the `known` patterns names (`#` stands for a number), and numbers with gaps.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Fail> {
        for name in self.0.keys() {
            let is_known = ["Action", "Version", "DryRun"].contains(&name.as_str())
                || known.iter().any(|pattern| matches(pattern, name));
            if !is_known {
                let message = format!("The parameter {name} is not recognized");
                return Err(Fail::new(400, "UnknownParameter", message));
            }
            let parts: Vec<_> = name.split('.').collect();
            for (at, part) in parts.iter().enumerate() {
                let before = |n: u32| format!("{}.{n}", parts[..at].join("."));
                match part.parse::<u32>() {
                    Ok(0) => return Err(invalid(name, "0")),
                    Ok(n) if n > 1 && !self.has(&before(n - 1)) => return Err(invalid(name, part)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.split('.'), name.split('.'));
    loop {
        match (pattern.next(), name.next()) {
            (None, None) => return true,
            (Some("#"), Some(number)) if number.parse::<u32>().is_ok() => {}
            (Some(want), Some(have)) if want == have => {}
            _ => return false,
        }
    }
}

/// EC2's words for a value that it doesn't take.
pub(crate) fn invalid(name: &str, value: &str) -> Fail {
    let message = format!("Value ({value}) for parameter {name} is invalid.");
    Fail::new(400, "InvalidParameterValue", message)
}

/// A name and the values one of which must match; `*` and `?` are wild.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

impl Filter {
    /// `Filter.1.Name`, `Filter.1.Value.1`, …
    pub(crate) fn all(form: &Form) -> Result<Vec<Self>, Fail> {
        let filters = form.structures("Filter").into_iter().map(|prefix| {
            let name = form.required(&format!("{prefix}Name"))?.to_owned();
            let values = form.list(&format!("{prefix}Value"));
            if values.is_empty() {
                return Err(Fail::new(400, "InvalidParameterValue", "The filter 'null' is invalid"));
            }
            Ok(Self { name, values })
        });
        filters.collect()
    }

    /// Whether one of these has one of the values. `None`: no such filter.
    pub(crate) fn keeps(&self, have: Option<Vec<String>>) -> Result<bool, Fail> {
        let Some(have) = have else {
            let message = format!("The filter '{}' is invalid", self.name);
            return Err(Fail::new(400, "InvalidParameterValue", message));
        };
        Ok(have.iter().any(|have| self.values.iter().any(|want| glob(want.as_bytes(), have.as_bytes()))))
    }
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', pattern)), _) => (0..=text.len()).any(|skip| glob(pattern, &text[skip..])),
        (Some((b'?', pattern)), Some((_, text))) => glob(pattern, text),
        (Some((want, pattern)), Some((have, text))) if want == have => glob(pattern, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_and_without_gaps() {
        let form = Form::parse("Action=X&Tag.1.Key=a%20b&Tag.1.Value=c+d&Id.1=x&Id.2=y").unwrap();
        assert_eq!(form.get("Tag.1.Key"), Some("a b"));
        assert_eq!(form.get("Tag.1.Value"), Some("c d"));
        assert_eq!(form.list("Id"), ["x", "y"]);
        assert!(form.only(&["Tag.#.Key", "Tag.#.Value", "Id.#"]).is_ok());
        assert_eq!(form.only(&["Tag.#.Key", "Id.#"]).unwrap_err().code, "UnknownParameter");
        let gap = Form::parse("Id.1=x&Id.3=y").unwrap();
        assert_eq!(gap.only(&["Id.#"]).unwrap_err().code, "InvalidParameterValue");
        assert!(Form::parse("a=1&a=2").is_none());
        assert!(Form::parse("a=%zz").is_none());
    }

    #[test]
    fn filters_have_wildcards() {
        assert!(glob(b"a*c?", b"abbcd"));
        assert!(!glob(b"a*c", b"abbcd"));
    }
}
