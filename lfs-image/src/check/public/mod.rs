//! What must never be in an image that everybody may read.
//!
//! Three kinds: files that are secret by their place (histories, credentials, leases), files that are secret by what they
//! say (private keys, tokens), and accounts with passwords. [`scrub`] takes away what [`check`] finds, no more and no less.
//!
//! Content is looked at in files up to 8 MiB outside of where distributions keep theirs (/usr but /usr/local, /boot): there
//! are keys of test suites and examples. A hard link is another name of the same secret. Not here: deleted files, since an
//! image made from a tree has no remains of any; secrets inside of databases and archives.

mod content;
mod passwords;
mod places;

use std::collections::BTreeMap;

use super::Findings;
use crate::error::Result;
use crate::tree::edit::{Editor, File};
use crate::tree::{Content, Kind, NodeId, Root};

/// The longest file whose content is looked at.
const MAX: u64 = 8 << 20;

/// How a secret is taken away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cure {
    /// The file is removed.
    Remove,
    /// The file is emptied: programs want it to be there.
    Empty,
    /// Passwords in it are locked.
    Lock,
}

/// Something secret.
#[derive(Clone, Debug)]
struct Secret {
    id: &'static str,
    path: Vec<u8>,
    what: String,
    cure: Cure,
}

pub(super) fn check(root: Root<'_>, findings: &mut Findings) -> Result<()> {
    for secret in scan(root)? {
        let mend = match (secret.id, secret.cure) {
            ("machine-id" | "ssh-host-key" | "random-seed", _) => "--scrub, or --fresh-identity",
            ("root-password", _) => "--scrub, or --lock-root",
            (_, Cure::Lock) => "--scrub",
            (_, Cure::Empty) => "--scrub",
            (_, Cure::Remove) => "--scrub, or --remove PATH",
        };
        findings.fatal(secret.id, secret.what).at(shown(&secret.path)).mend(mend);
    }
    findings.note(
        "licences",
        "a public image gives away copies of all its packages, so it owes what their licences ask for: their texts, and \
         for some (GPL) their sources or an offer of them",
    );
    Ok(())
}

fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

/// Takes away what must not be public.
///
/// # Errors
///
/// When content can't be read, or a file with passwords is no text.
pub(crate) fn scrub(editor: &mut Editor<'_>) -> Result<()> {
    let secrets = scan(editor.root())?;
    for secret in secrets {
        let why = format!("it must not be public: {}", secret.what);
        match secret.cure {
            Cure::Remove => {
                editor.remove(&secret.path, &why)?;
            }
            // Paths of these come from the lists below.
            Cure::Empty => editor.write(File::new(&shown(&secret.path), "", &why).secret())?,
            Cure::Lock => passwords::lock(editor, &shown(&secret.path), &why)?,
        }
    }
    Ok(())
}

/// All secrets, in the order of their paths.
fn scan(root: Root<'_>) -> Result<Vec<Secret>> {
    let mut secrets = Vec::new();
    let mut nodes = BTreeMap::new();
    walk(root, &mut |id, path, content| {
        if let Some(secret) = look(root, path, content)? {
            nodes.insert(id, secret.path.clone());
            secrets.push(secret);
        }
        Ok(())
    })?;
    if !nodes.is_empty() {
        let mut more = Vec::new();
        walk(root, &mut |id, path, _| {
            if let Some(first) = nodes.get(&id).filter(|first| *first != path) {
                let what = format!("another name of {}", shown(first));
                more.push(Secret { id: "hard-link", path: path.to_vec(), what, cure: Cure::Remove });
            }
            Ok(())
        })?;
        // Of a secret with two names that both tell, one is in the list already.
        more.retain(|secret| !secrets.iter().any(|other| other.path == secret.path));
        secrets.append(&mut more);
    }
    secrets.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(secrets)
}

/// What is done with a file: its inode, one of its paths, its content.
type Each<'a> = dyn FnMut(NodeId, &[u8], &Content) -> Result<()> + 'a;

/// Goes through all files that aren't empty.
fn walk(root: Root<'_>, each: &mut Each<'_>) -> Result<()> {
    let mut todo = vec![(NodeId::ROOT, Vec::new())];
    while let Some((id, path)) = todo.pop() {
        let Some(directory) = root.tree.node(id).as_directory() else { continue };
        for (name, id) in directory.iter() {
            let mut path: Vec<u8> = path.clone();
            path.push(b'/');
            path.extend_from_slice(name);
            match &root.tree.node(id).kind {
                Kind::Directory(_) => todo.push((id, path)),
                Kind::File(content) if content.size() > 0 => each(id, &path, content)?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// What is secret about a file, if anything.
fn look(root: Root<'_>, path: &[u8], content: &Content) -> Result<Option<Secret>> {
    let secret = |id, what: &str, cure| Secret { id, path: path.to_vec(), what: what.to_owned(), cure };
    if let Some((id, what, cure)) = places::by_place(path) {
        // That is how a file says that it waits for its first boot.
        if id == "machine-id" && root.head(&content.to_blob(), 16)?.starts_with(b"uninitialized") {
            return Ok(None);
        }
        return Ok(Some(secret(id, what, cure)));
    }
    if let Some(what) = memory(root, path, content)? {
        return Ok(Some(secret("memory", what, Cure::Remove)));
    }
    let is_password_file = passwords::is_file_of(path);
    if !(is_looked_into(path) || is_menu(path)) || content.size() > MAX {
        return Ok(None);
    }
    let bytes = root.read(content, &shown(path), MAX)?;
    if is_password_file {
        return Ok(passwords::find(path, &bytes).map(|(id, what)| secret(id, &what, Cure::Lock)));
    }
    Ok(content::by_content(path, &bytes).map(|(id, what)| secret(id, what, Cure::Remove)))
}

/// Files that hold what was in the memory of a machine: swap files, and what a crash leaves.
fn memory(root: Root<'_>, path: &[u8], content: &Content) -> Result<Option<&'static str>> {
    let name = path.rsplit(|c| *c == b'/').next().unwrap_or_default();
    let is_swap = name.windows(4).any(|part| part.eq_ignore_ascii_case(b"swap"));
    let is_core = name == b"core"
        || name.strip_prefix(b"core.").is_some_and(|rest| rest.iter().all(u8::is_ascii_digit));
    if !is_looked_into(path) || !(is_swap || is_core) {
        return Ok(None);
    }
    let head = root.head(&content.to_blob(), 4096)?;
    // Source: mkswap(8), elf(5): the signature ends the first page, the type is at 16.
    if is_swap && head.len() == 4096 && head.ends_with(b"SWAPSPACE2") {
        return Ok(Some("a swap file, with what was in memory"));
    }
    let is_elf_core = head.starts_with(b"\x7fELF") && head.get(16..18) == Some(&[4, 0][..]);
    Ok((is_core && is_elf_core).then_some("the memory of a program that crashed"))
}

/// Whether this is a menu of GRUB's, which may have a password.
fn is_menu(path: &[u8]) -> bool {
    path.starts_with(b"/boot/grub") && path.ends_with(b".cfg")
}

fn is_looked_into(path: &[u8]) -> bool {
    let elsewhere: [&[u8]; 10] = [
        b"/usr/", b"/boot/", b"/lib/", b"/lib64/", b"/lib32/", b"/bin/", b"/sbin/", b"/proc/", b"/sys/",
        b"/dev/",
    ];
    path.starts_with(b"/usr/local/") || !elsewhere.iter().any(|dir| path.starts_with(dir))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn has_part(bytes: &[u8], part: &[u8]) -> bool {
    find(bytes, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::Finding;
    use super::*;
    use crate::raw::time::Timestamp;
    use crate::tree::NoStore;
    use crate::tree::root::tests::tree;

    fn found(tree: &crate::Tree) -> Vec<(&'static str, String)> {
        let mut findings = Findings::default();
        check(Root::new(tree, &NoStore), &mut findings).unwrap();
        let secret = |f: Finding| Some((f.id, f.path?));
        findings.finish().into_iter().filter_map(secret).collect()
    }

    #[test]
    fn each_secret_is_found_and_taken_away() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n";
        let cases = [
            ("root/.ssh/id_ed25519", key, "private-key"),
            ("home/a/deep/er/k.pem", "Bag Attributes\n-----BEGIN RSA PRIVATE KEY-----\r\n", "private-key"),
            ("etc/ssl/private/x.key", "-----BEGIN PRIVATE KEY-----\n", "private-key"),
            ("srv/x.ppk", "PuTTY-User-Key-File-3: ssh-rsa\n", "private-key"),
            ("etc/ssh/ssh_host_ed25519_key", key, "ssh-host-key"),
            ("etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA\n", "ssh-host-key"),
            ("home/a/.ssh/authorized_keys", "ssh-ed25519 AAAA\n", "authorized-keys"),
            ("etc/shadow", "root:$6$a$b:1::::::\nbin:*:1::::::\nme:!$y$j9T$x:1::::::\n", "root-password"),
            ("etc/shadow-", "root:$6$a$b:1::::::\n", "password"),
            ("root/.bash_history", "ls\n", "shell-history"),
            ("root/.local/share/fish/fish_history", "- cmd: ls\n", "shell-history"),
            ("root/.aws/credentials", "[default]\n", "aws-credentials"),
            ("root/.netrc", "machine x\n", "netrc"),
            ("opt/app/.env", "KEY=AKIAIOSFODNN7EXAMPLE\n", "token"),
            (
                "etc/app.conf",
                "AWS_SECRET_ACCESS_KEY = \"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\"\n",
                "token",
            ),
            ("usr/local/etc/t", "x ghp_abcdefghijklmnopqrstuvwxyz0123456789\n", "token"),
            ("etc/slack", "xoxb-1234567890-abcdefghij\n", "token"),
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n", "machine-id"),
            ("var/lib/dbus/machine-id", "0123\n", "machine-id"),
            ("var/lib/dhcpcd/eth0.lease", "x", "dhcp-lease"),
            ("var/lib/NetworkManager/a-eth0.lease", "x", "dhcp-lease"),
            ("var/log/auth.log", "from 10.0.0.1\n", "log"),
            ("var/log/wtmp", "x", "log"),
            ("var/lib/systemd/random-seed", "x", "random-seed"),
            ("root/.ssh/known_hosts", "host\n", "known-hosts"),
            ("var/mail/root", "From x\n", "mail"),
            (
                "root/gcp.json",
                "{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\\n\"}",
                "private-key",
            ),
            ("etc/openvpn/ta.key", "-----BEGIN OpenVPN Static key V1-----\n", "private-key"),
            (
                "etc/wireguard/wg0.conf",
                "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n",
                "private-key",
            ),
            ("srv/dns/Kexample.+013+1.private", "Private-key-format: v1.3\n", "private-key"),
            ("root/backup.p12", "0\u{1}", "private-key"),
            ("etc/dropbear/dropbear_rsa_host_key", "\0\0\0\u{7}ssh-rsa", "ssh-host-key"),
            ("home/a/.ssh/authorized_keys.bak", "ssh-ed25519 AAAA\n", "authorized-keys"),
            ("home/a/.ssh/known_hosts.old", "host\n", "known-hosts"),
            ("root/.histfile", "ls\n", "shell-history"),
            ("root/.bash_history-00123.tmp", "ls\n", "shell-history"),
            ("root/.local/state/bash/history", "ls\n", "shell-history"),
            ("root/.config.swp", "b0VIM 9.0", "shell-history"),
            (
                "root/aws.sh",
                "export AWS_SECRET_ACCESS_KEY='wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'\n",
                "token",
            ),
            ("srv/app/.git/config", "url = https://me:s3cr3t-t0ken@example.org/x.git\n", "token"),
            ("root/.config/pip/pip.conf", "extra-index-url = https://u:p4ssw0rd@example.org/\n", "token"),
            (
                "opt/mail.env",
                "K=SG.abcdefghijklmnopqrstuv.abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG\n",
                "token",
            ),
            ("home/a/.npmrc", "//registry.example.org/:_authToken=0123456789abcdef0123\n", "credentials"),
            ("home/a/.config/containers/auth.json", "{}", "credentials"),
            ("etc/htpasswd", "me:$apr1$abcdefgh$0123456789abcdefghijkl\n", "password"),
            (
                "var/backups/shadow.bak",
                "me:$y$j9T$abcdefgh$0123456789abcdefghijklmnopqrstuvwxyzABCDEFG:1::\n",
                "password",
            ),
            (
                "etc/grub.d/40_custom",
                "password_pbkdf2 root grub.pbkdf2.sha512.10000.ABCDEF0123456789ABCDEF0123456789ABCDEF01\n",
                "password",
            ),
            (
                "boot/grub/user.cfg",
                "GRUB2_PASSWORD=grub.pbkdf2.sha512.10000.ABCDEF0123456789ABCDEF0123456789ABCDEF01\n",
                "password",
            ),
            ("etc/shadow.old", "me:*$6$a$b:1::::::\n", "password"),
            (
                "etc/security/opasswd",
                "me:1000:1:$6$abcdefgh$0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ./0123456789abcdefghijkl:\n",
                "password",
            ),
            ("etc/group", "wheel:$1$abcdefgh$0123456789abcdefghijkl:0:\n", "password"),
            ("etc/krb5.keytab", "\u{5}\u{2}", "credentials"),
            ("etc/dhcpcd.duid", "00:01", "dhcp-lease"),
        ];
        let files: Vec<(&str, &[u8])> =
            cases.iter().map(|(path, text, _)| (*path, text.as_bytes())).collect();
        let mut wanted: Vec<(&str, String)> = cases.iter().map(|(p, _, id)| (*id, format!("/{p}"))).collect();
        wanted.sort_by(|a, b| a.1.cmp(&b.1));
        let mut tree = tree(&files);
        assert_eq!(found(&tree), wanted);
        let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
        scrub(&mut editor).unwrap();
        let shadow = editor.read("/etc/shadow").unwrap().unwrap();
        assert_eq!(shadow, "root:*:1::::::\nbin:*:1::::::\nme:*:1::::::\n");
        assert_eq!(editor.read("/etc/shadow.old").unwrap().unwrap(), "me:*:1::::::\n");
        assert_eq!(editor.read("/etc/group").unwrap().unwrap(), "wheel:*:0:\n");
        assert_eq!(editor.read("/etc/machine-id").unwrap().unwrap(), "");
        assert_eq!(editor.finish().len(), cases.len());
        assert_eq!(found(&tree), []);
    }

    #[test]
    fn memory_and_other_names() {
        let mut swap = vec![0; 4096];
        swap[4086..].copy_from_slice(b"SWAPSPACE2");
        let core = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0".to_vec();
        let mut tree = tree(&[
            ("swapfile", &swap),
            ("root/core.123", &core),
            ("etc/swap.conf", b"SWAPSPACE2"),
            ("root/.netrc", b"machine x\n"),
            ("etc/fine", b"fine\n"),
        ]);
        let id = tree.lookup(b"root/.netrc").unwrap();
        tree.link(NodeId::ROOT, b"innocent", id).unwrap();
        tree.link(NodeId::ROOT, b".pgpass", id).unwrap();
        let names = |tree: &crate::Tree| {
            found(tree).into_iter().map(|(id, path)| format!("{id} {path}")).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&tree),
            [
                "credentials /.pgpass",
                "hard-link /innocent",
                "netrc /root/.netrc",
                "memory /root/core.123",
                "memory /swapfile"
            ]
        );
        let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
        scrub(&mut editor).unwrap();
        assert_eq!(editor.finish().len(), 5);
        assert_eq!(found(&tree), []);
    }

    #[test]
    fn what_is_no_secret_stays() {
        let tree = tree(&[
            ("etc/ssh/ssh_config", b"Host *\n"),
            ("etc/ssl/certs/ca.pem", b"-----BEGIN CERTIFICATE-----\n"),
            ("usr/share/doc/x/key.pem", b"-----BEGIN PRIVATE KEY-----\n"),
            ("root/.ssh/authorized_keys", b""),
            ("root/.bashrc", b"export HISTFILE=~/.bash_history\n"),
            ("etc/shadow", b"root:*:1::::::\nme:!:1::::::\nyou:!!:1::::::\n"),
            ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/gshadow", b"root:*::\nme:!::\nx:::\n"),
            ("etc/machine-id", b"uninitialized\n"),
            ("etc/group", b"root:x:0:\nusers::100:\n"),
            ("etc/wgetrc", b"# http_proxy = http://proxy.example.org:18023/ ftp://USER@host:21/\n"),
            ("etc/mail", b"see https://example.org/a:b@c and user:pass@host\n"),
            (
                "etc/wireguard/off",
                b"PrivateKey = \nPublicKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n",
            ),
            ("etc/login.defs", b"# $6$ is how SHA512 begins, $y$ yescrypt\nENCRYPT_METHOD SHA512\n"),
            ("etc/passwd-", b"me:x:1000:1000::/home/me:/bin/sh\n"),
            ("boot/grub/grub.cfg", b"linux /boot/vmlinuz root=/dev/sda2\n"),
            ("etc/words", b"AKIA is how AWS keys begin, ghp_ GitHub's; aws_secret_access_key = $FROM_ENV\n"),
            ("etc/long", b"XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLEX\n"),
            ("opt/program", b"\x7fELF\0\0AKIAIOSFODNN7EXAMPLE"),
        ]);
        assert_eq!(found(&tree), []);
    }
}
