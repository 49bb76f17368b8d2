//! Who gets in: users, their keys, root's password.

use super::Notes;
use super::spec::HostSpec;
use super::system::program;
use crate::error::{Error, Result};
use crate::raw::time::Timestamp;
use crate::tree::edit::{Editor, File};
use crate::tree::{Content, Kind, Meta, Root};

/// Somebody of /etc/passwd.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
    pub(crate) shell: String,
}

impl User {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let mut next = || fields.next();
        let (name, _, uid, gid, _, home, shell) =
            (next()?, next()?, next()?, next()?, next()?, next()?, next()?);
        Some(Self {
            name: name.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: home.to_owned(),
            shell: shell.to_owned(),
        })
    }

    fn root() -> Self {
        Self { name: "root".into(), uid: 0, gid: 0, home: "/root".into(), shell: "/bin/sh".into() }
    }
}

/// All users of a tree.
pub(crate) fn users(root: Root<'_>) -> Vec<User> {
    let bytes = root.file("/etc/passwd").and_then(|content| root.read(content, "/etc/passwd", 1 << 20).ok());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).lines().filter_map(User::parse).collect()
}

/// Lets in who is to be let in; says where the launch key of an instance goes.
pub(super) fn edit(editor: &mut Editor<'_>, spec: &HostSpec, notes: &mut Notes) -> Result<String> {
    let name = spec.user.as_deref().unwrap_or("root");
    let found = users(editor.root()).into_iter().find(|user| user.name == name);
    let user = match found {
        Some(user) => user,
        None if name == "root" => {
            notes.warnings.push("/etc/passwd has no line for root, so nobody can log in as root".into());
            User::root()
        }
        None => make(editor, name)?,
    };
    if spec.user.is_some() && user.uid != 0 {
        sudo(editor, &user, notes)?;
    }
    let shell = user.shell.rsplit('/').next().unwrap_or_default();
    if matches!(shell, "nologin" | "false") {
        notes
            .warnings
            .push(format!("{} can't log in: the shell in /etc/passwd is {}", user.name, user.shell));
    }
    let path = format!("{}/.ssh/authorized_keys", user.home.trim_end_matches('/'));
    if !spec.authorized_keys.is_empty() || spec.imds_ssh_key {
        keys(editor, spec, &user, &path)?;
        unlock(editor, &user.name)?;
        if SERVERS.iter().all(|server| program(editor.root(), server).is_none()) {
            notes.warnings.push("there is no sshd and no dropbear, so keys let nobody in".into());
        }
    }
    Ok(path)
}

/// Programs that let in who has a key.
pub(crate) const SERVERS: [&str; 2] = ["sshd", "dropbear"];

/// An account whose password begins with `!` is locked as a whole: sshd without PAM lets nobody in, keys or not. `*` is no
/// password either, and lets keys be.
fn unlock(editor: &mut Editor<'_>, name: &str) -> Result<()> {
    let Some(text) = editor.read("/etc/shadow")? else { return Ok(()) };
    let lines = text.split_inclusive('\n').map(|line| {
        let rest = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
        match rest.map(|rest| (rest, rest.trim_start_matches('!'))) {
            Some((rest, open)) if open.len() < rest.len() => format!("{name}:*{open}"),
            _ => line.to_owned(),
        }
    });
    let new: String = lines.collect();
    let why = format!("{name} is let in by keys, and still by no password");
    editor.write(File::new("/etc/shadow", &new, &why).secret())
}

/// Refuses what useradd would refuse.
fn check(name: &str) -> Result<()> {
    let fine = name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-'));
    if fine {
        return Ok(());
    }
    Err(Error::input(format!(
        "`{}` is no name for a user: small letters, digits, `_` and `-`, 32 at most",
        name.escape_debug()
    )))
}

fn make(editor: &mut Editor<'_>, name: &str) -> Result<User> {
    check(name)?;
    let why = "this user was asked for";
    let passwd = editor.read("/etc/passwd")?.unwrap_or_default();
    let group = editor.read("/etc/group")?.unwrap_or_default();
    let taken = |text: &str, id: u32| {
        text.lines().any(|line| line.split(':').nth(2).is_some_and(|field| field.parse() == Ok(id)))
    };
    let id = (1000..60_000)
        .find(|id| !taken(&passwd, *id) && !taken(&group, *id))
        .ok_or_else(|| Error::capacity("every user id from 1000 to 59999 is taken"))?;
    // A group of this name may be there.
    let own_group = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        fields.next().filter(|first| *first == name).and_then(|_| fields.nth(1)?.parse().ok())
    });
    let gid = own_group.unwrap_or(id);
    let shell = ["/bin/bash", "/usr/bin/bash", "/bin/sh"]
        .into_iter()
        .find(|path| editor.root().file(path).is_some())
        .unwrap_or("/bin/sh");
    let user = User { name: name.into(), uid: id, gid, home: format!("/home/{name}"), shell: shell.into() };
    let line = format!("{name}:x:{id}:{gid}:{name}:{}:{shell}\n", user.home);
    append(editor, "/etc/passwd", &line, 0o644, why, false)?;
    if own_group.is_none() {
        append(editor, "/etc/group", &format!("{name}:x:{gid}:\n"), 0o644, why, false)?;
    }
    // No password at all: a `!` would keep sshd from letting in who has a key.
    if editor.exists("/etc/shadow") {
        append(editor, "/etc/shadow", &format!("{name}:*:19000:0:99999:7:::\n"), 0o600, why, true)?;
    }
    if own_group.is_none() && editor.exists("/etc/gshadow") {
        append(editor, "/etc/gshadow", &format!("{name}:*::\n"), 0o600, why, true)?;
    }
    let owned = |mode| Meta { uid: id, gid, ..Meta::new(mode, Timestamp::default()) };
    editor.directory(&user.home, owned(0o755), why)?;
    let skeleton: Vec<(String, Content, u16)> = {
        let root = editor.root();
        let dir = root.find("/etc/skel").and_then(|id| root.tree.node(id).as_directory());
        dir.into_iter()
            .flat_map(crate::tree::Directory::iter)
            .filter_map(|(name, id)| match &root.tree.node(id).kind {
                Kind::File(content) => Some((
                    std::str::from_utf8(name).ok()?.to_owned(),
                    content.clone(),
                    root.tree.node(id).meta.mode,
                )),
                _ => None,
            })
            .collect()
    };
    for (name, content, mode) in skeleton {
        let path = format!("{}/{name}", user.home);
        if !editor.exists(&path) {
            editor.put(&path, content, owned(mode), why)?;
        }
    }
    Ok(user)
}

fn append(editor: &mut Editor<'_>, path: &str, line: &str, mode: u16, why: &str, secret: bool) -> Result<()> {
    let text = editor.read(path)?.unwrap_or_default();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let text = format!("{text}{end}{line}");
    let file = File::new(path, &text, why).mode(mode);
    editor.write(if secret { file.secret() } else { file })
}

/// The right to become root without a password, which there is none of.
fn sudo(editor: &mut Editor<'_>, user: &User, notes: &mut Notes) -> Result<()> {
    let why = "who is let in by a key may become root";
    if program(editor.root(), "sudo").is_none() {
        notes.warnings.push(format!("there is no sudo: {} can't become root", user.name));
        return Ok(());
    }
    // sudo passes over files with a dot in their name.
    let path = format!("/etc/sudoers.d/90-lfs-image-{}", user.name.replace('.', "_"));
    let rule = format!("{} ALL=(ALL) NOPASSWD:ALL\n", user.name);
    editor.write(File::new(&path, &rule, why).mode(0o440))?;
    let main = editor.read("/etc/sudoers")?.unwrap_or_else(|| "root ALL=(ALL:ALL) ALL\n".to_owned());
    let reads = main.lines().any(|line| {
        let line = line.trim();
        line.starts_with("@includedir /etc/sudoers.d") || line.starts_with("#includedir /etc/sudoers.d")
    });
    if !reads {
        // The older of its two spellings is the one that every version reads.
        let text = format!("{}\n#includedir /etc/sudoers.d\n", main.trim_end_matches('\n'));
        editor.write(File::new("/etc/sudoers", &text, why).mode(0o440))?;
    }
    Ok(())
}

fn keys(editor: &mut Editor<'_>, spec: &HostSpec, user: &User, path: &str) -> Result<()> {
    let why = "who has one of these keys is let in";
    let owned = |mode| Meta { uid: user.uid, gid: user.gid, ..Meta::new(mode, Timestamp::default()) };
    let home = user.home.trim_end_matches('/');
    let home_mode = if user.uid == 0 { 0o700 } else { 0o755 };
    if !home.is_empty() {
        editor.directory(home, owned(home_mode), why)?;
    }
    editor.directory(&format!("{home}/.ssh"), owned(0o700), why)?;
    let mut text = editor.read(path)?.unwrap_or_default();
    for file in &spec.authorized_keys {
        for line in lines(file)? {
            if !text.lines().any(|there| there == line) {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    // One without keys is filled at first boot, and is its owner's already then.
    if !editor.exists(path) {
        editor.put(path, Content::empty(), owned(0o600), why)?;
    }
    editor.write(File::new(path, &text, why))
}

/// The keys of an authorized_keys file.
fn lines(text: &str) -> Result<Vec<&str>> {
    if text.contains("PRIVATE KEY-----") {
        return Err(Error::input(
            "a private key is no key to let in: the public half of it is in the file called .pub",
        ));
    }
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let is_key = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        words.windows(2).any(|pair| {
            let kinds = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
            kinds.iter().any(|kind| pair[0].starts_with(kind)) && pair[1].starts_with("AAAA")
        })
    };
    match lines.iter().find(|line| !is_key(line)) {
        Some(bad) => {
            let start: String = bad.chars().take(40).collect();
            Err(Error::input(format!("`{}` is no public SSH key", start.escape_debug())))
        }
        None if lines.is_empty() => Err(Error::input("there is no public SSH key in the file")),
        None => Ok(lines),
    }
}

/// Nobody gets in by root's password. Keys still do: `*` is no password, where `!` would lock the whole account.
pub(super) fn lock_root(editor: &mut Editor<'_>) -> Result<()> {
    let why = "root's password is locked";
    for path in ["/etc/shadow", "/etc/passwd"] {
        let Some(text) = editor.read(path)? else { continue };
        let mut new = String::with_capacity(text.len());
        for line in text.lines() {
            match line.strip_prefix("root:").and_then(|rest| rest.split_once(':')) {
                // In passwd an x says that shadow has it.
                Some((password, rest)) if !(password == "*" || path == "/etc/passwd" && password == "x") => {
                    new.push_str("root:*:");
                    new.push_str(rest);
                }
                _ => new.push_str(line),
            }
            new.push('\n');
        }
        if new.trim_end() != text.trim_end() {
            editor.write(File::new(path, &new, why).secret())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NoStore;
    use crate::tree::root::tests::tree;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE me@here";

    #[test]
    fn a_user_is_made() {
        let mut tree = tree(&[
            ("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\nold:x:1000:1000::/home/old:/bin/sh\n"),
            ("etc/group", b"root:x:0:\nusers:x:1001:\n"),
            ("etc/shadow", b"root:$6$salt$hash:1::::::\n"),
            ("etc/skel/.bashrc", b"# hi\n"),
            ("usr/bin/sudo", b""),
            ("usr/sbin/sshd", b""),
            ("bin/bash", b""),
            ("etc/sudoers", b"root ALL=(ALL) ALL\n"),
        ]);
        let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
        let mut notes = Notes::default();
        let mut spec = HostSpec::nothing();
        spec.user = Some("lfs".into());
        spec.authorized_keys = vec![format!("# mine\n{KEY}\n")];
        for _ in 0..2 {
            assert_eq!(edit(&mut editor, &spec, &mut notes).unwrap(), "/home/lfs/.ssh/authorized_keys");
        }
        let read = |path: &str| editor.read(path).unwrap().unwrap();
        assert!(read("/etc/passwd").ends_with("\nlfs:x:1002:1002:lfs:/home/lfs:/bin/bash\n"));
        assert!(read("/etc/group").ends_with("\nlfs:x:1002:\n"));
        assert!(read("/etc/shadow").ends_with("\nlfs:*:19000:0:99999:7:::\n"));
        assert_eq!(read("/home/lfs/.ssh/authorized_keys"), format!("{KEY}\n"));
        assert_eq!(read("/etc/sudoers"), "root ALL=(ALL) ALL\n#includedir /etc/sudoers.d\n");
        let meta = |path: &str| {
            let meta = &editor.tree.node(editor.tree.lookup(path.as_bytes()).unwrap()).meta;
            (meta.mode, meta.uid, meta.gid)
        };
        assert_eq!(meta("home/lfs/.ssh"), (0o700, 1002, 1002));
        assert_eq!(meta("home/lfs/.ssh/authorized_keys"), (0o600, 1002, 1002));
        assert_eq!(meta("home/lfs/.bashrc").1, 1002);
        assert_eq!(meta("etc/sudoers.d/90-lfs-image-lfs").0, 0o440);
        lock_root(&mut editor).unwrap();
        assert!(editor.read("/etc/shadow").unwrap().unwrap().starts_with("root:*:1::::::\n"));
        assert_eq!(notes, Notes::default());
        assert!(editor.finish().iter().all(|change| !change.diff.contains("$6$")));
    }

    #[test]
    fn accounts_that_are_there() {
        let mut tree = tree(&[
            ("etc/passwd", b"daemon:x:1:1::/:/usr/sbin/nologin\nj.doe:x:1000:100::/home/j:/bin/sh\n"),
            ("etc/group", b"users:x:100:\nwheel:x:97:j.doe\n"),
            ("etc/gshadow", b"users:*::\n"),
            ("etc/shadow", b"j.doe:!!:1::::::\njj:!:1::::::\nroot:*$6$a$b:1::::::\n"),
            ("usr/bin/sudo", b""),
            ("usr/sbin/dropbear", b""),
        ]);
        let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
        let mut edit_for = |user: Option<&str>| {
            let mut notes = Notes::default();
            let spec = HostSpec {
                user: user.map(str::to_owned),
                authorized_keys: vec![KEY.into()],
                ..HostSpec::nothing()
            };
            let path = edit(&mut editor, &spec, &mut notes).unwrap();
            (path, notes.warnings.join("\n"), editor.read("/etc/shadow").unwrap().unwrap())
        };
        let (path, warnings, shadow) = edit_for(Some("j.doe"));
        assert_eq!((&*path, &*warnings), ("/home/j/.ssh/authorized_keys", ""));
        assert!(shadow.starts_with("j.doe:*:1::::::\njj:!:1"), "what is locked is opened for keys: {shadow}");
        assert_eq!(
            edit_for(Some("daemon")).1,
            "daemon can't log in: the shell in /etc/passwd is /usr/sbin/nologin"
        );
        assert_eq!(edit_for(None).1, "/etc/passwd has no line for root, so nobody can log in as root");
        assert_eq!(edit_for(Some("wheel")).1, "");
        assert!(editor.exists("/etc/sudoers.d/90-lfs-image-j_doe"));
        assert!(
            editor
                .read("/etc/passwd")
                .unwrap()
                .unwrap()
                .ends_with("\nwheel:x:1001:97:wheel:/home/wheel:/bin/sh\n")
        );
        assert!(!editor.read("/etc/group").unwrap().unwrap().contains("wheel:x:1001"));
        assert_eq!(editor.read("/etc/gshadow").unwrap().unwrap(), "users:*::\n");
        lock_root(&mut editor).unwrap();
        assert!(editor.read("/etc/shadow").unwrap().unwrap().contains("\nroot:*:1::::::\n"));
    }

    #[test]
    fn what_is_no_key() {
        assert_eq!(lines(KEY).unwrap(), [KEY]);
        assert!(lines(&format!("restrict,command=\"a b\" {KEY}")).is_ok());
        for bad in ["", "# x", "hello", "ssh-rsa", "-----BEGIN OPENSSH PRIVATE KEY-----\n"] {
            assert!(lines(bad).is_err(), "{bad}");
        }
        for bad in ["", "Root", "a b", "1a", "-a", &"x".repeat(33)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
