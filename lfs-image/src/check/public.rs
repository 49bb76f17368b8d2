//! What must never be in an image that everybody may read.
//!
//! Three kinds: files that are secret by their place (histories, credentials, leases), files that are secret by what they
//! say (private keys, tokens), and accounts with passwords. [`scrub`] takes away what [`check`] finds, no more and no less.
//!
//! Content is looked at in files up to 1 MiB outside of where distributions keep theirs (/usr but /usr/local, /boot): there
//! are keys of test suites and examples. Not here: deleted files, since an image made from a tree has no remains of any;
//! secrets inside of databases and archives.

use super::Findings;
use crate::error::Result;
use crate::tree::edit::{Editor, File};
use crate::tree::{Content, Kind, NodeId, Root};

/// The longest file whose content is looked at.
const MAX: u64 = 1 << 20;

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
            Cure::Lock => lock(editor, &shown(&secret.path), &why)?,
        }
    }
    Ok(())
}

/// All secrets, in the order of their paths.
fn scan(root: Root<'_>) -> Result<Vec<Secret>> {
    let mut secrets = Vec::new();
    let mut todo = vec![(NodeId::ROOT, Vec::new())];
    while let Some((id, path)) = todo.pop() {
        let Some(directory) = root.tree.node(id).as_directory() else { continue };
        for (name, id) in directory.iter() {
            let mut path: Vec<u8> = path.clone();
            path.push(b'/');
            path.extend_from_slice(name);
            match &root.tree.node(id).kind {
                Kind::Directory(_) => todo.push((id, path)),
                Kind::File(content) if content.size() > 0 => {
                    secrets.extend(look(root, &path, content)?);
                }
                _ => {}
            }
        }
    }
    secrets.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(secrets)
}

/// What is secret about a file, if anything.
fn look(root: Root<'_>, path: &[u8], content: &Content) -> Result<Option<Secret>> {
    let secret = |id, what: &str, cure| Secret { id, path: path.to_vec(), what: what.to_owned(), cure };
    if let Some(secret) = by_place(path).map(|(id, what, cure)| secret(id, what, cure)) {
        return Ok(Some(secret));
    }
    if !is_looked_into(path) || content.size() > MAX {
        return Ok(None);
    }
    let bytes = root.read(content, &shown(path), MAX)?;
    if is_password_file(path) {
        return Ok(passwords(path, &bytes).map(|(id, what)| secret(id, &what, Cure::Lock)));
    }
    Ok(by_content(path, &bytes).map(|(id, what)| secret(id, what, Cure::Remove)))
}

fn is_looked_into(path: &[u8]) -> bool {
    let elsewhere: [&[u8]; 10] = [
        b"/usr/", b"/boot/", b"/lib/", b"/lib64/", b"/lib32/", b"/bin/", b"/sbin/", b"/proc/", b"/sys/",
        b"/dev/",
    ];
    path.starts_with(b"/usr/local/") || !elsewhere.iter().any(|dir| path.starts_with(dir))
}

// --- By place ------------------------------------------------------------------------------------------------------------

/// Names of files that are secret wherever they are, with what they are; a name with `/` is the end of a path.
const NAMES: [(&str, &str, &str); 47] = [
    (".bash_history", "shell-history", "commands that somebody typed"),
    (".ash_history", "shell-history", "commands that somebody typed"),
    (".sh_history", "shell-history", "commands that somebody typed"),
    (".zsh_history", "shell-history", "commands that somebody typed"),
    (".zhistory", "shell-history", "commands that somebody typed"),
    (".history", "shell-history", "commands that somebody typed"),
    ("fish/fish_history", "shell-history", "commands that somebody typed"),
    (".python_history", "shell-history", "commands that somebody typed"),
    (".node_repl_history", "shell-history", "commands that somebody typed"),
    (".irb_history", "shell-history", "commands that somebody typed"),
    (".sqlite_history", "shell-history", "commands that somebody typed"),
    (".mysql_history", "shell-history", "commands that somebody typed"),
    (".psql_history", "shell-history", "commands that somebody typed"),
    (".rediscli_history", "shell-history", "commands that somebody typed"),
    (".lesshst", "shell-history", "what somebody searched for"),
    (".viminfo", "shell-history", "what somebody edited"),
    (".wget-hsts", "shell-history", "hosts that somebody talked to"),
    (".ssh/known_hosts", "known-hosts", "hosts that somebody talked to"),
    (".ssh/authorized_keys", "authorized-keys", "keys that let somebody in"),
    (".ssh/authorized_keys2", "authorized-keys", "keys that let somebody in"),
    (".aws/credentials", "aws-credentials", "credentials of an AWS account"),
    (".boto", "credentials", "credentials of a cloud"),
    (".s3cfg", "credentials", "credentials of a cloud"),
    (".passwd-s3fs", "credentials", "credentials of a cloud"),
    (".oci/config", "credentials", "credentials of a cloud"),
    (".azure/accessTokens.json", "credentials", "credentials of a cloud"),
    (".azure/msal_token_cache.json", "credentials", "credentials of a cloud"),
    ("gcloud/credentials.db", "credentials", "credentials of a cloud"),
    ("gcloud/access_tokens.db", "credentials", "credentials of a cloud"),
    ("gcloud/application_default_credentials.json", "credentials", "credentials of a cloud"),
    (".netrc", "netrc", "passwords for hosts"),
    ("_netrc", "netrc", "passwords for hosts"),
    (".git-credentials", "credentials", "passwords for hosts"),
    (".pgpass", "credentials", "passwords of databases"),
    (".my.cnf", "credentials", "passwords of databases"),
    (".pypirc", "credentials", "passwords of a package registry"),
    (".gem/credentials", "credentials", "passwords of a package registry"),
    (".cargo/credentials", "credentials", "passwords of a package registry"),
    (".cargo/credentials.toml", "credentials", "passwords of a package registry"),
    (".docker/config.json", "credentials", "passwords of a container registry"),
    (".kube/config", "credentials", "credentials of a cluster"),
    (".vault-token", "credentials", "a token of Vault's"),
    ("gh/hosts.yml", "credentials", "a token of GitHub's"),
    ("rclone/rclone.conf", "credentials", "credentials of storage"),
    (".gnupg/secring.gpg", "private-key", "private keys"),
    (".config/msmtprc", "credentials", "passwords of a mail server"),
    (".msmtprc", "credentials", "passwords of a mail server"),
];

/// Directories whose files are secret.
const DIRECTORIES: [(&str, &str, &str); 22] = [
    ("/var/log/", "log", "a log, with the addresses and names of hosts and people"),
    ("/var/lib/dhcp/", "dhcp-lease", "addresses that this machine had"),
    ("/var/lib/dhclient/", "dhcp-lease", "addresses that this machine had"),
    ("/var/lib/dhcpcd/", "dhcp-lease", "addresses that this machine had"),
    ("/var/db/dhcpcd/", "dhcp-lease", "addresses that this machine had"),
    ("/run/systemd/netif/leases/", "dhcp-lease", "addresses that this machine had"),
    ("/var/lib/systemd/network/", "dhcp-lease", "addresses that this machine had"),
    ("/var/lib/cloud/", "instance-data", "what cloud-init kept of an instance"),
    ("/var/lib/lfs-image/", "instance-data", "what was kept of an instance"),
    ("/var/lib/amazon/ssm/", "instance-data", "what registers an instance"),
    ("/var/mail/", "mail", "somebody's mail"),
    ("/var/spool/mail/", "mail", "somebody's mail"),
    ("/etc/ssh/authorized_keys/", "authorized-keys", "keys that let somebody in"),
    ("/etc/ssh/authorized_keys.d/", "authorized-keys", "keys that let somebody in"),
    ("/etc/NetworkManager/system-connections/", "credentials", "passwords of networks"),
    ("/etc/ppp/chap-secrets", "credentials", "passwords of networks"),
    ("/etc/ppp/pap-secrets", "credentials", "passwords of networks"),
    ("/var/lib/iwd/", "credentials", "passwords of networks"),
    ("/etc/letsencrypt/accounts/", "private-key", "a private key"),
    ("/var/lib/sss/secrets/", "credentials", "passwords"),
    ("/var/crash/", "log", "the memory of a program that crashed"),
    ("/var/lib/systemd/coredump/", "log", "the memory of a program that crashed"),
];

/// Files that are emptied, since programs expect them.
const EMPTIED: [&[u8]; 5] =
    [b"/var/log/wtmp", b"/var/log/btmp", b"/var/log/lastlog", b"/var/log/faillog", b"/var/log/tallylog"];

const SEEDS: [&[u8]; 5] = [
    b"/var/lib/systemd/random-seed",
    b"/var/lib/urandom/random-seed",
    b"/var/lib/random-seed",
    b"/var/tmp/random-seed",
    b"/boot/loader/random-seed",
];

fn by_place(path: &[u8]) -> Option<(&'static str, &'static str, Cure)> {
    if EMPTIED.contains(&path) {
        return Some(("log", "who logged in, when, and from where", Cure::Empty));
    }
    match path {
        b"/etc/machine-id" => {
            return Some(("machine-id", "what tells this machine from all others", Cure::Empty));
        }
        b"/var/lib/dbus/machine-id" => {
            return Some(("machine-id", "what tells this machine from all others", Cure::Remove));
        }
        _ if SEEDS.contains(&path) => {
            return Some(("random-seed", "the seed of this machine's random numbers", Cure::Remove));
        }
        _ => {}
    }
    let name = path.rsplit(|c| *c == b'/').next().unwrap_or_default();
    if path.starts_with(b"/etc/ssh/ssh_host_") && (name.ends_with(b"_key") || name.ends_with(b"_key.pub")) {
        return Some(("ssh-host-key", "the identity of one machine", Cure::Remove));
    }
    if let Some((_, id, what)) = DIRECTORIES.iter().find(|(dir, ..)| path.starts_with(dir.as_bytes())) {
        return Some((id, what, Cure::Remove));
    }
    let is_lease = name.ends_with(b".lease") || name.ends_with(b".leases");
    if path.starts_with(b"/var/lib/") && is_lease {
        return Some(("dhcp-lease", "addresses that this machine had", Cure::Remove));
    }
    if has_part(path, b"/.aws/sso/cache/") || has_part(path, b"/.aws/cli/cache/") {
        return Some(("aws-credentials", "credentials of an AWS account", Cure::Remove));
    }
    if has_part(path, b"/.gnupg/private-keys-v1.d/") {
        return Some(("private-key", "private keys", Cure::Remove));
    }
    if !is_looked_into(path) {
        return None;
    }
    let found = NAMES
        .iter()
        .find(|(end, ..)| path.strip_suffix(end.as_bytes()).is_some_and(|front| front.ends_with(b"/")));
    found.map(|(_, id, what)| (*id, *what, Cure::Remove))
}

fn has_part(path: &[u8], part: &[u8]) -> bool {
    path.windows(part.len()).any(|window| window == part)
}

// --- By content ----------------------------------------------------------------------------------------------------------

fn by_content(path: &[u8], bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if is_private_key(bytes) {
        return Some(("private-key", "a private key"));
    }
    // Programs have strings like anything.
    if bytes[..bytes.len().min(8192)].contains(&0) {
        return None;
    }
    if path.starts_with(b"/etc/wpa_supplicant") && has_part(bytes, b"psk=") {
        return Some(("credentials", "passwords of networks"));
    }
    token(bytes).map(|what| ("token", what))
}

fn is_private_key(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = find(rest, b"-----BEGIN ") {
        rest = &rest[at + 11..];
        let line = rest.split(|c| matches!(c, b'\n' | b'\r')).next().unwrap_or_default();
        if line.ends_with(b"PRIVATE KEY-----") || line.ends_with(b"PRIVATE KEY BLOCK-----") {
            return true;
        }
    }
    bytes.starts_with(b"PuTTY-User-Key-File-")
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Which characters a token is made of.
#[derive(Clone, Copy, Debug)]
enum Alphabet {
    Upper,
    Word,
    Dashed,
}

impl Alphabet {
    fn has(self, c: u8) -> bool {
        match self {
            Self::Upper => c.is_ascii_uppercase() || c.is_ascii_digit(),
            Self::Word => c.is_ascii_alphanumeric() || c == b'_',
            Self::Dashed => c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'),
        }
    }
}

/// How well-known tokens begin, how many characters follow at least, and whose they are.
const TOKENS: [(&str, usize, Alphabet, &str); 17] = [
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
];

/// Names of variables whose value is secret, followed by `=` or `:`.
const SECRETS: [&str; 3] = ["aws_secret_access_key", "aws_session_token", "secretaccesskey"];

fn token(bytes: &[u8]) -> Option<&'static str> {
    for (start, len, alphabet, what) in TOKENS {
        let mut rest = bytes;
        let mut before = b' ';
        while let Some(at) = find(rest, start.as_bytes()) {
            if at > 0 {
                before = rest[at - 1];
            }
            rest = &rest[at + start.len()..];
            let follow = rest.iter().take_while(|c| alphabet.has(**c)).count();
            let fits = if matches!(alphabet, Alphabet::Upper) { follow == len } else { follow >= len };
            if fits && !before.is_ascii_alphanumeric() {
                return Some(what);
            }
            before = start.as_bytes().last().copied().unwrap_or(b' ');
        }
    }
    let lower = bytes.to_ascii_lowercase();
    for name in SECRETS {
        let mut rest = &lower[..];
        while let Some(at) = find(rest, name.as_bytes()) {
            rest = &rest[at + name.len()..];
            let value = rest.trim_ascii_start();
            let value = value.strip_prefix(b"\"").unwrap_or(value).trim_ascii_start();
            if let [b'=' | b':', value @ ..] = value {
                let value = value.trim_ascii_start();
                let value = value.strip_prefix(b"\"").unwrap_or(value);
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

// --- Passwords -----------------------------------------------------------------------------------------------------------

const PASSWORD_FILES: [&[u8]; 6] =
    [b"/etc/shadow", b"/etc/passwd", b"/etc/gshadow", b"/etc/shadow-", b"/etc/passwd-", b"/etc/gshadow-"];

fn is_password_file(path: &[u8]) -> bool {
    PASSWORD_FILES.contains(&path)
}

/// Whether the second field of a line lets somebody in, or could be cracked.
fn is_password(path: &[u8], field: &str) -> bool {
    let is_hash = |field: &str| field.starts_with('$') || (field.len() >= 13 && !field.starts_with('*'));
    match path {
        // In passwd an x says that shadow has it; nothing says that there is no password.
        b"/etc/passwd" | b"/etc/passwd-" => field.is_empty() || is_hash(field),
        b"/etc/gshadow" | b"/etc/gshadow-" => is_hash(field.trim_start_matches('!')),
        // A hash that is locked can still be cracked.
        _ => field.is_empty() || is_hash(field.trim_start_matches('!')),
    }
}

fn passwords(path: &[u8], bytes: &[u8]) -> Option<(&'static str, String)> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.next()?))
    });
    let found: Vec<(&str, &str)> = lines.filter(|(_, field)| is_password(path, field)).collect();
    let (first, field) = found.first()?;
    let more = if found.len() > 1 { format!(" and {} more", found.len() - 1) } else { String::new() };
    let what = if field.is_empty() { "no password at all, so anybody gets in" } else { "a password's hash" };
    let is_root = found.iter().any(|(name, _)| *name == "root");
    let id = if is_root && !path.ends_with(b"-") { "root-password" } else { "password" };
    Some((id, format!("{first}{more}: {what}")))
}

/// Locks every password of a file.
fn lock(editor: &mut Editor<'_>, path: &str, why: &str) -> Result<()> {
    let Some(text) = editor.read(path)? else { return Ok(()) };
    let mut new = String::with_capacity(text.len());
    for line in text.lines() {
        match line.split_once(':').and_then(|(name, rest)| Some((name, rest.split_once(':')?))) {
            Some((name, (field, rest))) if is_password(path.as_bytes(), field) => {
                new.push_str(&format!("{name}:*:{rest}"));
            }
            _ => new.push_str(line),
        }
        new.push('\n');
    }
    editor.write(File::new(path, &new, why).secret())
}

#[cfg(test)]
mod tests {
    use super::super::Finding;
    use super::*;
    use crate::NoStore;
    use crate::raw::time::Timestamp;
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
        let cases: [(&str, &str, &str); 26] = [
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
        assert_eq!(editor.read("/etc/machine-id").unwrap().unwrap(), "");
        assert_eq!(editor.finish().len(), cases.len());
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
            ("etc/machine-id", b""),
            ("etc/words", b"AKIA is how AWS keys begin, ghp_ GitHub's; aws_secret_access_key = $FROM_ENV\n"),
            ("etc/long", b"XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLEX\n"),
            ("opt/program", b"\x7fELF\0\0AKIAIOSFODNN7EXAMPLE"),
        ]);
        assert_eq!(found(&tree), []);
    }
}
