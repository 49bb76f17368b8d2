//! Two versions of a text as a unified diff.

use std::fmt::Write as _;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;
/// Comparing takes time and memory with the product of the numbers of lines: beyond this it isn't done line by line.
const MOST: usize = 4 << 20;

/// A line of both versions, or of one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line<'a> {
    Same(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// How `path` changes, as `diff -u` shows it; empty where it doesn't. A version that isn't there is `None`.
pub(super) fn unified(path: &str, old: Option<&str>, new: Option<&str>) -> String {
    let lines = compare(&split(old.unwrap_or_default()), &split(new.unwrap_or_default()));
    if old.is_some() == new.is_some() && lines.iter().all(|line| matches!(line, Line::Same(_))) {
        return String::new();
    }
    let name = |there: bool| if there { path } else { "/dev/null" };
    let mut out = format!("--- {}\n+++ {}\n", name(old.is_some()), name(new.is_some()));
    for (start, end) in hunks(&lines) {
        let before = &lines[..start];
        let count = |lines: &[Line<'_>], of: fn(&Line<'_>) -> bool| lines.iter().filter(|l| of(l)).count();
        let is_old = |line: &Line<'_>| !matches!(line, Line::New(_));
        let is_new = |line: &Line<'_>| !matches!(line, Line::Old(_));
        let (olds, news) = (count(&lines[start..end], is_old), count(&lines[start..end], is_new));
        // Where nothing is, the line before it is named.
        let first = |before: usize, len: usize| before + usize::from(len > 0);
        let (old_at, new_at) = (first(count(before, is_old), olds), first(count(before, is_new), news));
        // Writing to a string can't fail.
        let _ = writeln!(out, "@@ -{old_at},{olds} +{new_at},{news} @@");
        for line in &lines[start..end] {
            let (sign, text) = match line {
                Line::Same(text) => (' ', text),
                Line::Old(text) => ('-', text),
                Line::New(text) => ('+', text),
            };
            let _ = writeln!(out, "{sign}{text}");
        }
    }
    out
}

fn split(text: &str) -> Vec<&str> {
    text.split_terminator('\n').collect()
}

fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let front = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[front..], &new[front..]);
    let back = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old_rest[..old_rest.len() - back], &new_rest[..new_rest.len() - back]);
    let mut lines: Vec<Line<'a>> = old[..front].iter().copied().map(Line::Same).collect();
    if a.len().saturating_mul(b.len()) > MOST {
        lines.extend(a.iter().copied().map(Line::Old));
        lines.extend(b.iter().copied().map(Line::New));
    } else {
        middle(a, b, &mut lines);
    }
    lines.extend(old_rest[a.len()..].iter().copied().map(Line::Same));
    lines
}

/// By the longest common subsequence: `longest[i][j]` is its length for `a[i..]` and `b[j..]`.
fn middle<'a>(a: &[&'a str], b: &[&'a str], lines: &mut Vec<Line<'a>>) {
    let width = b.len() + 1;
    let mut longest = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = if a[i] == b[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push(Line::Same(a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || longest[(i + 1) * width + j] >= longest[i * width + j + 1])
        {
            lines.push(Line::Old(a[i]));
            i += 1;
        } else {
            lines.push(Line::New(b[j]));
            j += 1;
        }
    }
}

/// Ranges of lines with changes and their context.
fn hunks(lines: &[Line<'_>]) -> Vec<(usize, usize)> {
    let mut hunks: Vec<(usize, usize)> = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        if matches!(line, Line::Same(_)) {
            continue;
        }
        let (start, end) = (n.saturating_sub(CONTEXT), (n + 1 + CONTEXT).min(lines.len()));
        match hunks.last_mut() {
            Some(last) if start <= last.1 => last.1 = end,
            _ => hunks.push((start, end)),
        }
    }
    hunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_diff_does() {
        // printf '1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n' >a; sed '2d;11s/$/x/;12a13' a >b; diff -u a b
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";
        let new = "1\n3\n4\n5\n6\n7\n8\n9\n10\n11x\n12\n13\n";
        assert_eq!(
            unified("/f", Some(old), Some(new)),
            "--- /f\n+++ /f\n@@ -1,5 +1,4 @@\n 1\n-2\n 3\n 4\n 5\n@@ -8,5 +7,6 @@\n 8\n 9\n 10\n-11\n+11x\n 12\n+13\n"
        );
        assert_eq!(unified("/f", None, Some("a\n")), "--- /dev/null\n+++ /f\n@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(unified("/f", Some("a\n"), None), "--- /f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n");
        assert_eq!(unified("/f", Some(old), Some(old)), "");
    }

    #[test]
    fn long_texts_are_replaced_whole() {
        let old: String = (0..3000).map(|n| format!("{n}\n")).collect();
        let new: String = (0..3000).map(|n| format!("{}\n", n * 2 + 1)).collect();
        let diff = unified("/f", Some(&old), Some(&new));
        assert_eq!(diff.lines().filter(|line| line.starts_with('-')).count(), 3001);
    }
}
