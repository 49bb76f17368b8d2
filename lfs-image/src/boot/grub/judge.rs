//! Whether a grub.cfg that came with the tarball can work on the disk that is made now.
//!
//! Most can't: they name the device, partition or filesystem of the machine on which they were written
//! (`set root=(hd0,2)`, `root=/dev/sda2`, `search --fs-uuid …`). What is read here is words, not the script language:
//! a branch that is never taken counts too, and what holds a variable is left alone.

use super::super::Disk;
use super::super::root::Root;

/// Why a grub.cfg can't work: a line, counted from 1, and what is wrong with it. Without any reason it may.
pub(crate) fn judge(text: &str, disk: &Disk, root: Root<'_>) -> Vec<String> {
    let mut judge = Judge { disk, root, reasons: Vec::new(), kernels: 0, needs_initrd: None };
    let mut joined = String::new();
    for (number, line) in text.lines().enumerate() {
        joined += line;
        if joined.ends_with('\\') {
            joined.pop();
            continue;
        }
        for statement in statements(&joined) {
            judge.statement(number + 1, &statement);
        }
        joined.clear();
    }
    judge.finish()
}

struct Judge<'a> {
    disk: &'a Disk,
    root: Root<'a>,
    reasons: Vec<String>,
    kernels: usize,
    /// A line with a root filesystem that only an initial RAM disk finds, until one is loaded.
    needs_initrd: Option<(usize, String)>,
}

impl Judge<'_> {
    fn statement(&mut self, line: usize, words: &[String]) {
        let keywords = ["if", "then", "else", "elif", "while", "until", "do", "!"];
        let start = words.iter().position(|w| !keywords.contains(&w.as_str())).unwrap_or(words.len());
        let Some((command, arguments)) = words[start..].split_first() else { return };
        match command.as_str() {
            "linux" | "linux16" | "linuxefi" | "kernel" => self.linux(line, arguments),
            "initrd" | "initrd16" | "initrdefi" => {
                self.needs_initrd = None;
                arguments.iter().for_each(|path| self.file(line, path));
            }
            "set" => {
                for device in arguments.iter().filter_map(|a| a.strip_prefix("root=")) {
                    self.device(line, device);
                }
            }
            "search" | "search.fs_uuid" | "search.fs_label" => self.search(line, command, arguments),
            "blscfg" => self.say(line, "blscfg reads entries that this GRUB may not know"),
            _ => {}
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.initrd_came_not();
        if self.kernels == 0 {
            self.reasons.push("it starts no kernel".to_owned());
        }
        self.reasons
    }

    fn linux(&mut self, line: usize, arguments: &[String]) {
        self.initrd_came_not();
        self.kernels += 1;
        if let Some(path) = arguments.first() {
            self.file(line, path);
        }
        let Some(root) = arguments.iter().rev().find_map(|a| a.strip_prefix("root=")) else {
            // A variable may hold the whole command line.
            if !arguments.iter().any(|a| a.contains('$')) {
                self.say(line, "the kernel isn't told its root filesystem");
            }
            return;
        };
        if root.contains('$') {
            return;
        }
        let (kind, value) = root.split_once('=').unwrap_or(("", root));
        match kind {
            "" => self.say(line, &format!("root={root} names a device of another machine")),
            "PARTUUID" if value.eq_ignore_ascii_case(&self.disk.root_partuuid) => {}
            "UUID" if value.eq_ignore_ascii_case(&self.disk.root_fs.to_string()) => {
                self.needs_initrd = Some((line, root.to_owned()));
            }
            "LABEL" if Some(value) == self.disk.root_label.as_deref() => {
                self.needs_initrd = Some((line, root.to_owned()));
            }
            _ => self.say(line, &format!("root={root} isn't the root filesystem of this disk")),
        }
    }

    fn initrd_came_not(&mut self) {
        if let Some((line, root)) = self.needs_initrd.take() {
            self.say(line, &format!("root={root} is found by an initial RAM disk only, and there is none"));
        }
    }

    fn search(&mut self, line: usize, command: &str, arguments: &[String]) {
        let has = |long: &str, short: char| {
            arguments
                .iter()
                .any(|a| a == long || (a.starts_with('-') && !a.starts_with("--") && a.contains(short)))
        };
        // The name that is searched for is the first argument that is no option, nor an option's variable.
        let mut name = None;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--set"
                || argument == "--hint"
                || argument.starts_with("--hint-") && !argument.contains('=')
            {
                // `--set` takes its variable only when a name is still to come.
                if rest.len() > 1 {
                    rest.next();
                }
            } else if !argument.starts_with('-') {
                name = Some(argument);
                break;
            }
        }
        let Some(name) = name.filter(|name| !name.contains('$')) else { return };
        if command == "search.fs_uuid" || has("--fs-uuid", 'u') {
            if !name.eq_ignore_ascii_case(&self.disk.root_fs.to_string()) {
                self.say(line, &format!("it searches for the filesystem {name}, which isn't on this disk"));
            }
        } else if (command == "search.fs_label" || has("--label", 'l'))
            && Some(name.as_str()) != self.disk.root_label.as_deref()
        {
            self.say(
                line,
                &format!("it searches for a filesystem with the label {name}, which isn't on this disk"),
            );
        }
    }

    /// A path of GRUB's, with or without a device before it.
    fn file(&mut self, line: usize, path: &str) {
        let path = match path.strip_prefix('(').and_then(|p| p.split_once(')')) {
            Some((device, path)) => {
                self.device(line, device);
                path
            }
            None => path,
        };
        if path.starts_with('/') && !path.contains('$') && self.root.file(path).is_none() {
            self.say(line, &format!("there is no file {path}"));
        }
    }

    /// A device as GRUB names it: hd0,gpt2.
    fn device(&mut self, line: usize, device: &str) {
        let name = device.trim_start_matches('(').trim_end_matches(')');
        if name.contains('$') || name.is_empty() {
            return;
        }
        let (disk, partition) = name.split_once(',').unwrap_or((name, ""));
        let (scheme, number) = partition.split_at(partition.find(|c: char| c.is_ascii_digit()).unwrap_or(0));
        let ours = if self.disk.gpt { "gpt" } else { "msdos" };
        let is_root = disk == "hd0"
            && (scheme.is_empty() || scheme == ours)
            && number.parse() == Ok(self.disk.root_partition);
        if !is_root {
            let root = self.disk.root_partition;
            self.say(
                line,
                &format!("it takes ({name}) for the root filesystem, which is (hd0,{ours}{root}) here"),
            );
        }
    }

    fn say(&mut self, line: usize, what: &str) {
        self.reasons.push(format!("line {line}: {what}"));
    }
}

/// The statements of a line, each as its words without quotes.
fn statements(line: &str) -> Vec<Vec<String>> {
    let mut statements = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '#' if word.is_none() => break,
            c if c.is_whitespace() || c == ';' => {
                end_word(&mut statements, &mut word);
                if c == ';' {
                    statements.push(Vec::new());
                }
            }
            '\'' => word.get_or_insert_default().extend(characters.by_ref().take_while(|c| *c != '\'')),
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = characters.next().filter(|c| *c != '"') {
                    let c = if c == '\\' { characters.next().unwrap_or(c) } else { c };
                    word.push(c);
                }
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    end_word(&mut statements, &mut word);
    statements
}

/// Puts a finished word where it belongs: braces that stand alone part statements.
fn end_word(statements: &mut Vec<Vec<String>>, word: &mut Option<String>) {
    match word.take() {
        None => {}
        Some(brace) if brace == "{" || brace == "}" => statements.push(Vec::new()),
        Some(word) => {
            if let Some(statement) = statements.last_mut() {
                statement.push(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{Entry, menu};
    use super::*;
    use crate::boot::root::tests::tree;
    use crate::boot::tests::disk;
    use crate::tree::NoStore;

    fn reasons(text: &str) -> Vec<String> {
        let tree = tree(&[("boot/vmlinuz-6.1", b"k"), ("boot/initrd", b"i")]);
        judge(text, &disk(), Root::new(&tree, &NoStore))
    }

    #[test]
    fn the_book_of_lfs() {
        // Linux From Scratch 12.3, 10.4.4.
        let text = "# Begin /boot/grub/grub.cfg\n\
                    set default=0\n\
                    set timeout=5\n\
                    \n\
                    insmod part_gpt\n\
                    insmod ext2\n\
                    set root=(hd0,2)\n\
                    set gfxpayload=1024x768x32\n\
                    \n\
                    menuentry \"GNU/Linux, Linux 6.13.4-lfs-12.3\" {\n\
                    \x20       linux   /boot/vmlinuz-6.13.4-lfs-12.3 root=/dev/sda2 ro\n\
                    }\n";
        assert_eq!(
            reasons(text),
            [
                "line 7: it takes (hd0,2) for the root filesystem, which is (hd0,gpt3) here",
                "line 11: there is no file /boot/vmlinuz-6.13.4-lfs-12.3",
                "line 11: root=/dev/sda2 names a device of another machine",
            ]
        );
    }

    #[test]
    fn what_grub_mkconfig_writes() {
        let text = "if [ x$feature_platform_search_hint = xy ]; then\n\
                    \x20 search --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1 --hint-efi=hd0,msdos1  0c1b-2\n\
                    else\n\
                    \x20 search --no-floppy --fs-uuid --set=root 0c1b-2\n\
                    fi\n\
                    set root='hd0,msdos1'\n\
                    linux /boot/vmlinuz-6.1 root=UUID=0c1b-2 ro  quiet\n\
                    initrd /boot/initrd\n";
        assert_eq!(
            reasons(text),
            [
                "line 2: it searches for the filesystem 0c1b-2, which isn't on this disk",
                "line 4: it searches for the filesystem 0c1b-2, which isn't on this disk",
                "line 6: it takes (hd0,msdos1) for the root filesystem, which is (hd0,gpt3) here",
                "line 7: root=UUID=0c1b-2 isn't the root filesystem of this disk",
            ]
        );
    }

    #[test]
    fn one_at_a_time() {
        let uuid = "11111111-2222-8333-8444-555555555555";
        let good = "linux /boot/vmlinuz-6.1 root=PARTUUID=aaaaaaaa-bbbb-8ccc-8ddd-eeeeeeeeeeee ro";
        for fine in [
            good.to_owned(),
            format!("set root=(hd0,3); {good}"),
            format!("set root='hd0,gpt3'\n{good}"),
            format!("search --set --fs-uuid {uuid}\n{good}"),
            format!("search --set=root -u {uuid}\n{good}"),
            format!("search --fs-uuid --set root {uuid}\n{good}"),
            format!("search --label LFS --set=root\n{good}"),
            format!("search.fs_uuid {uuid} root hd0,gpt3\n{good}"),
            format!("search --file /boot/x --set=root\n{good}"),
            format!("set root=$dev\n{good}"),
            format!("menuentry 'root=/dev/sda1 (hd9)' {{ {good} }}"),
            "linux (hd0,gpt3)/boot/vmlinuz-6.1 root=LABEL=LFS\ninitrd /boot/initrd".to_owned(),
            format!("linux /boot/vmlinuz-6.1 root=UUID={uuid}\ninitrd /boot/initrd"),
            format!("linux /boot/vmlinuz-6.1 $args\n# root=/dev/sda\n{good}"),
            "linux /boot/vmlinuz-6.1 \\\n root=PARTUUID=AAAAAAAA-bbbb-8ccc-8ddd-eeeeeeeeeeee".to_owned(),
        ] {
            assert!(reasons(&fine).is_empty(), "{fine}: {:?}", reasons(&fine));
        }
        for (bad, reason) in [
            ("linux /vmlinuz-6.1 root=$r".to_owned(), "line 1: there is no file /vmlinuz-6.1"),
            ("linux /boot/vmlinuz-6.1 ro".to_owned(), "line 1: the kernel isn't told its root filesystem"),
            (format!("set root=(hd1,3)\n{good}"), "line 1: it takes (hd1,3) for"),
            (format!("set root=hd0\n{good}"), "line 1: it takes (hd0) for"),
            (format!("set root=lvm/vg-root\n{good}"), "line 1: it takes (lvm/vg-root) for"),
            (format!("{good}\nlinux (hd0,1)/boot/vmlinuz-6.1 root=$r"), "line 2: it takes (hd0,1) for"),
            (
                format!("search -l boot --set=root\n{good}"),
                "line 1: it searches for a filesystem with the label boot",
            ),
            (format!("{good} root=/dev/nvme0n1p2"), "line 1: root=/dev/nvme0n1p2 names a device"),
            (format!("linux /boot/vmlinuz-6.1 root=UUID={uuid}\n{good}"), "line 1: root=UUID=11111111-2222"),
            (format!("{good}\ninitrd /boot/initrd-6"), "line 2: there is no file /boot/initrd-6"),
            ("set timeout=5".to_owned(), "it starts no kernel"),
        ] {
            let found = reasons(&bad);
            assert!(found.len() == 1 && found[0].starts_with(reason), "{bad}: {found:?}");
        }
    }

    #[test]
    fn our_own_is_fine() {
        let entry = Entry {
            title: "Anna's".into(),
            kernel: "/boot/vmlinuz-6.1".into(),
            cmdline: format!("root=PARTUUID={} ro", disk().root_partuuid),
            initrd: None,
        };
        let text = menu(&[entry], disk().root_fs).unwrap();
        assert_eq!(reasons(&text), Vec::<String>::new());
    }

    #[test]
    fn no_text_is_too_strange() {
        for text in
            ["", "'", "\"\\", "\\", "}", "{ ; }", "search", "set root=", "linux", "search --set", "if"]
        {
            let _ = reasons(text);
        }
    }
}
