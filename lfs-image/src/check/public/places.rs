//! Files that are secret by where they are.

use super::{Cure, has_part, is_looked_into};
use crate::configure::{SEEDS, is_host_key};

/// Names of files that are secret wherever they are, with what they are; a name with `/` is the end of a path.
const NAMES: &[(&str, &str, &str)] = &[
    (".lesshst", "shell-history", "what somebody searched for"),
    (".viminfo", "shell-history", "what somebody edited"),
    (".wget-hsts", "shell-history", "hosts that somebody talked to"),
    (".dbshell", "shell-history", "commands that somebody typed"),
    (".viminfz", "shell-history", "what somebody edited"),
    (".vim/.netrwhist", "shell-history", "what somebody edited"),
    (".recently-used.xbel", "shell-history", "what somebody opened"),
    ("share/recently-used.xbel", "shell-history", "what somebody opened"),
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
    (".npmrc", "credentials", "passwords of a package registry"),
    (".yarnrc.yml", "credentials", "passwords of a package registry"),
    (".composer/auth.json", "credentials", "passwords of a package registry"),
    ("composer/auth.json", "credentials", "passwords of a package registry"),
    ("containers/auth.json", "credentials", "passwords of a container registry"),
    (".terraform.d/credentials.tfrc.json", "credentials", "credentials of a cloud"),
    ("doctl/config.yaml", "credentials", "credentials of a cloud"),
    (".Xauthority", "credentials", "what lets somebody onto a screen"),
    (".smbcredentials", "credentials", "passwords of a file server"),
    (".fetchmailrc", "credentials", "passwords of a mail server"),
    ("etc/krb5.keytab", "credentials", "keys of a Kerberos realm"),
    ("etc/samba/smbpasswd", "credentials", "passwords of a file server"),
    ("rndc.key", "credentials", "what commands a name server"),
    ("etc/dhcpcd.duid", "dhcp-lease", "how this machine is known to DHCP servers"),
    ("etc/dhcpcd.secret", "dhcp-lease", "how this machine is known to DHCP servers"),
    ("NetworkManager/secret_key", "credentials", "what this machine derives addresses from"),
    ("crypto_keyfile.bin", "private-key", "the key of an encrypted disk"),
    ("systemd/credential.secret", "credentials", "the key of this machine's encrypted credentials"),
    (".vault-token", "credentials", "a token of Vault's"),
    ("gh/hosts.yml", "credentials", "a token of GitHub's"),
    ("rclone/rclone.conf", "credentials", "credentials of storage"),
    (".gnupg/secring.gpg", "private-key", "private keys"),
    (".config/msmtprc", "credentials", "passwords of a mail server"),
    (".msmtprc", "credentials", "passwords of a mail server"),
];

/// Directories whose files are secret.
const DIRECTORIES: &[(&str, &str, &str)] = &[
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
    ("/var/lib/samba/private/", "credentials", "passwords of a file server"),
    ("/etc/cryptsetup-keys.d/", "private-key", "keys of encrypted disks"),
    ("/var/lib/tor/", "private-key", "keys of a hidden service"),
    ("/var/crash/", "log", "the memory of a program that crashed"),
    ("/var/lib/systemd/coredump/", "log", "the memory of a program that crashed"),
];

/// Files that are emptied, since programs expect them.
const EMPTIED: [&[u8]; 5] =
    [b"/var/log/wtmp", b"/var/log/btmp", b"/var/log/lastlog", b"/var/log/faillog", b"/var/log/tallylog"];

pub(super) fn by_place(path: &[u8]) -> Option<(&'static str, &'static str, Cure)> {
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
        _ if SEEDS.iter().any(|seed| seed.as_bytes() == path) => {
            return Some(("random-seed", "the seed of this machine's random numbers", Cure::Remove));
        }
        _ => {}
    }
    let name = path.rsplit(|c| *c == b'/').next().unwrap_or_default();
    if is_host_key(path) {
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
    if has_part(path, b"/.ssh/") {
        // With what editors and people put behind a name: `~`, `.bak`, `.old`.
        if name.starts_with(b"authorized_keys") {
            return Some(("authorized-keys", "keys that let somebody in", Cure::Remove));
        }
        if name.starts_with(b"known_hosts") {
            return Some(("known-hosts", "hosts that somebody talked to", Cure::Remove));
        }
    }
    if is_history(path, name) {
        return Some(("shell-history", "commands that somebody typed", Cure::Remove));
    }
    if name.starts_with(b".") && (name.ends_with(b".swp") || name.ends_with(b".swo")) {
        return Some(("shell-history", "what somebody edited", Cure::Remove));
    }
    if KEY_STORES.iter().any(|end| name.ends_with(end.as_bytes())) {
        return Some(("private-key", "a store of keys, private ones too as a rule", Cure::Remove));
    }
    let found = NAMES
        .iter()
        .find(|(end, ..)| path.strip_suffix(end.as_bytes()).is_some_and(|front| front.ends_with(b"/")));
    found.map(|(_, id, what)| (*id, *what, Cure::Remove))
}

/// Ends of names that key stores have: they are no text.
const KEY_STORES: [&str; 5] = [".p12", ".pfx", ".jks", ".keystore", ".kdbx"];

/// Whether it is what a shell or another program with a prompt remembers: `.bash_history`, `.local/state/bash/history`.
fn is_history(path: &[u8], name: &[u8]) -> bool {
    let is_one = has_part(name, b"history") || has_part(name, b"histfile") || name.ends_with(b"_hist");
    is_one && (name.starts_with(b".") || has_part(path, b"/.local/") || has_part(path, b"/.config/"))
}
