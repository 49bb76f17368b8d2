//! Debian's ifupdown: /etc/network/interfaces and the files that it includes. Source: interfaces(5).

use super::text;
use crate::error::Result;
use crate::tree::Root;
use crate::tree::edit::{Editor, File};

const PATH: &str = "/etc/network/interfaces";
const MORE: &str = "/etc/network/interfaces.d";

/// Whether an interface asks for its address by DHCP.
pub(super) fn is_set_up(root: Root<'_>) -> bool {
    files(root).iter().filter_map(|path| text(root, path)).any(|text| {
        stanzas(&text).any(|words| matches!(words[..], ["iface", name, "inet", "dhcp", ..] if name != "lo"))
    })
}

/// Sets eth0 up by DHCP, whatever there was for it, and starts no interface that has a name of another machine's.
pub(super) fn edit(editor: &mut Editor<'_>, why: &str) -> Result<()> {
    let mut texts: Vec<(String, String)> = Vec::new();
    for path in files(editor.root()) {
        let text = editor.read(&path)?.unwrap_or_default();
        texts.push((path, text));
    }
    let says = |what: &dyn Fn(&[&str]) -> bool| {
        texts.iter().any(|(_, text)| stanzas(text).any(|words| what(&words)))
    };
    let by_dhcp = says(&|words| matches!(words, ["iface", "eth0", "inet", "dhcp", ..]));
    let starts = says(&|words| {
        is_start(words) && words[1..].iter().any(|name| matches!(*name, "eth0" | "/eth*" | "/e*"))
    });
    let mut has_main = false;
    for (path, text) in &texts {
        let mut lines = without(text, by_dhcp);
        if path == PATH {
            has_main = true;
            lines.extend(missing(by_dhcp, starts));
        }
        editor.write(File::new(path, &(lines.join("\n") + "\n"), why))?;
    }
    if !has_main {
        let mut lines = vec!["auto lo".to_owned(), "iface lo inet loopback".to_owned()];
        if !texts.is_empty() {
            lines.insert(0, format!("source {MORE}/*\n"));
        }
        lines.extend(missing(by_dhcp, starts));
        editor.write(File::new(PATH, &(lines.join("\n") + "\n"), why))?;
    }
    Ok(())
}

/// The lines that set eth0 up, as far as there are none.
fn missing(by_dhcp: bool, starts: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if !starts {
        lines.push("\nauto eth0".to_owned());
    }
    if !by_dhcp {
        lines.push("iface eth0 inet dhcp".to_owned());
    }
    lines
}

/// A text's lines, with what is in the way commented out: another address of eth0's, and the start of interfaces whose names
/// stand for a place in another machine, which fails where there is none.
fn without(text: &str, by_dhcp: bool) -> Vec<String> {
    let mut in_the_way = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["iface", name, family, ..] => in_the_way = name == "eth0" && family == "inet" && !by_dhcp,
            [first, ..] if is_keyword(first) => {
                in_the_way = false;
                if first == "auto" && words[1..].iter().any(|name| is_of_a_place(name)) {
                    lines.push(format!("#{line}"));
                    let rest: Vec<&str> =
                        words[1..].iter().copied().filter(|name| !is_of_a_place(name)).collect();
                    if !rest.is_empty() {
                        lines.push(format!("auto {}", rest.join(" ")));
                    }
                    continue;
                }
            }
            _ => {}
        }
        let is_text = in_the_way && !line.trim().is_empty() && !line.trim_start().starts_with('#');
        lines.push(if is_text { format!("#{line}") } else { line.to_owned() });
    }
    lines
}

/// Whether this is a name that udev makes of the place in the machine (enp0s3, ens5, eno1, enx0123456789ab).
fn is_of_a_place(name: &str) -> bool {
    name.strip_prefix("en").is_some_and(|rest| rest.starts_with(['p', 's', 'o', 'x', 'X']))
}

fn is_keyword(word: &str) -> bool {
    let words =
        ["auto", "mapping", "source", "source-directory", "template", "rename", "no-auto-down", "no-scripts"];
    words.contains(&word) || word.starts_with("allow-")
}

fn is_start(words: &[&str]) -> bool {
    matches!(words.first(), Some(&("auto" | "allow-auto" | "allow-hotplug")))
}

/// The lines that begin something, as words.
fn stanzas(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split_ascii_whitespace().collect())
}

/// The files that there are.
fn files(root: Root<'_>) -> Vec<String> {
    let more = root.names(MORE).into_iter().filter_map(|name| std::str::from_utf8(name).ok());
    let all = std::iter::once(PATH.to_owned()).chain(more.map(|name| format!("{MORE}/{name}")));
    all.filter(|path| root.file(path).is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::time::Timestamp;
    use crate::tree::NoStore;
    use crate::tree::root::tests::tree;

    /// The main file and one that it includes, after the edit.
    fn edited(main: &str, more: &str) -> (String, String) {
        let mut tree = tree(&[
            ("etc/network/interfaces", main.as_bytes()),
            ("etc/network/interfaces.d/x", more.as_bytes()),
        ]);
        let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
        edit(&mut editor, "so").unwrap();
        let read = |editor: &Editor<'_>| {
            (editor.read(PATH).unwrap().unwrap(), editor.read(&format!("{MORE}/x")).unwrap().unwrap())
        };
        let texts = read(&editor);
        assert!(is_set_up(editor.root()));
        edit(&mut editor, "so").unwrap();
        assert_eq!(read(&editor), texts, "a second time there is nothing to do");
        texts
    }

    #[test]
    fn files_as_installers_leave_them() {
        let lo = "auto lo\niface lo inet loopback\n";
        let ours = "\nauto eth0\niface eth0 inet dhcp\n";
        // A fixed address.
        let (main, _) = edited(
            &format!(
                "{lo}\nallow-hotplug eth0\niface eth0 inet static\n  address 10.0.0.1/8\n  # me\niface eth0 inet6 auto\n"
            ),
            "# none\n",
        );
        assert_eq!(
            main,
            format!(
                "{lo}\nallow-hotplug eth0\n#iface eth0 inet static\n#  address 10.0.0.1/8\n  # me\niface eth0 inet6 auto\n\
                 iface eth0 inet dhcp\n"
            )
        );
        // DHCP on an interface that is called so on one machine.
        let ens3 = "allow-hotplug ens3\niface ens3 inet dhcp\n";
        assert_eq!(edited(&format!("{lo}{ens3}"), "# none\n").0, format!("{lo}{ens3}{ours}"));
        let (main, _) =
            edited("auto lo enp1s0\niface lo inet loopback\niface enp1s0 inet dhcp\n", "# none\n");
        assert_eq!(
            main,
            format!("#auto lo enp1s0\nauto lo\niface lo inet loopback\niface enp1s0 inet dhcp\n{ours}")
        );
        // It is right where it is.
        let cloud = "auto eth0\niface eth0 inet dhcp\n";
        let include = format!("source {MORE}/*\n{lo}");
        assert_eq!(edited(&include, cloud), (include.clone(), cloud.to_owned()));
        let (main, more) = edited(&include, "auto eth0\niface eth0 inet static\n\taddress 10.0.0.1/8\n");
        assert_eq!(main, format!("{include}iface eth0 inet dhcp\n"));
        assert_eq!(more, "auto eth0\n#iface eth0 inet static\n#\taddress 10.0.0.1/8\n");
    }

    #[test]
    fn a_file_is_made_where_there_is_none() {
        let mut tree = tree(&[]);
        let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
        edit(&mut editor, "so").unwrap();
        let text = editor.read(PATH).unwrap().unwrap();
        assert_eq!(text, "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n");
    }
}
