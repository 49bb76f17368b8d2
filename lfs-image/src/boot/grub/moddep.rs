//! GRUB's module dependencies: `moddep.lst`, one line `name: needed needed …` for each module.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};

/// What each module needs.
#[derive(Debug)]
pub(crate) struct Dependencies(BTreeMap<String, Vec<String>>);

impl Dependencies {
    /// Reads a `moddep.lst`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let text = str::from_utf8(bytes).map_err(|_| Error::input("moddep.lst is not text"))?;
        let mut all = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (name, needed) = line
                .split_once(':')
                .filter(|(name, needed)| is_name(name) && needed.split_whitespace().all(is_name))
                .ok_or_else(|| {
                    Error::input(format!("line {} of moddep.lst is not `name: needed needed`", number + 1))
                })?;
            all.insert(name.to_owned(), needed.split_whitespace().map(str::to_owned).collect());
        }
        Ok(Self(all))
    }

    /// The wanted modules with everything they need, each behind what it needs, as grub-mkimage orders them: what a
    /// module needs is visited from right to left.
    pub(crate) fn closure(&self, wanted: &[&str], there: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let mut order = Vec::new();
        let mut placed = BTreeSet::new();
        for name in wanted {
            // Modules on the way from `name` down, each with the needs it has still to visit.
            let mut path = vec![self.open(name, &there)?];
            while let Some((module, needs)) = path.last_mut() {
                if placed.contains(*module) {
                    path.pop();
                } else if let Some((need, rest)) = needs.split_last() {
                    *needs = rest;
                    if path.iter().any(|(module, _)| module == need) {
                        return Err(Error::input(format!("the module {need} needs itself")));
                    }
                    if !placed.contains(need.as_str()) {
                        path.push(self.open(need, &there)?);
                    }
                } else {
                    placed.insert(*module);
                    order.push((*module).to_owned());
                    path.pop();
                }
            }
        }
        Ok(order)
    }

    fn open<'a>(&'a self, name: &'a str, there: impl Fn(&str) -> bool) -> Result<(&'a str, &'a [String])> {
        if !there(name) {
            return Err(Error::input(format!("there is no module {name}.mod")));
        }
        Ok((name, self.0.get(name).map_or(&[], Vec::as_slice)))
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_come_first_and_from_the_right() {
        let dependencies = Dependencies::parse(b"a: b c\nb: d\nc: d e\nd:\n\ne:\n").unwrap();
        assert_eq!(dependencies.closure(&["a", "d"], |_| true).unwrap(), ["e", "d", "c", "b", "a"]);
        assert_eq!(dependencies.closure(&["b", "a"], |_| true).unwrap(), ["d", "b", "e", "c", "a"]);
        assert_eq!(dependencies.closure(&["unlisted"], |_| true).unwrap(), ["unlisted"]);
    }

    #[test]
    fn refusals() {
        let dependencies = Dependencies::parse(b"a: b\nb: c\nc: b\n").unwrap();
        let error = dependencies.closure(&["a"], |_| true).unwrap_err();
        assert_eq!(error.to_string(), "the module b needs itself");
        let error = dependencies.closure(&["a"], |name| name != "b").unwrap_err();
        assert_eq!(error.to_string(), "there is no module b.mod");
        for bad in [&b"a b\n"[..], b"a: ../b\n", b": a\n", b"\xff: a\n"] {
            assert!(Dependencies::parse(bad).is_err());
        }
    }
}
