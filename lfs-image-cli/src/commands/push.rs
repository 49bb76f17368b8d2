//! `lfs-image push`: look before, upload, register, publish.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lfs_image::ami::{
    self, Ami, AmiSpec, Checks, Estimate, Preflight, Publication, Published, Registrar, Taken,
};
use lfs_image::archive::Store;
use lfs_image::check::{Finding, check_public, check_public_name};
use lfs_image::ebs::{self, Aws, BLOCK, RawImage, Sample, Settings, Source, Upload, Uploaded};
use lfs_image::host::Target;
use lfs_image::image::{Disk, Firmware};
use lfs_image::tree::ReadAt;
use lfs_image::{Error, ErrorKind, Image, Result, Tree};

use crate::aws::{Push, Verify};
use crate::commands::check::{Found, gate};
use crate::ext4_tree;
use crate::failure::{Failure, Step};
use crate::host::TargetName;
use crate::interrupt::Interrupt;
use crate::journals;
use crate::pushed::{self, Pushed};
use crate::report::{Input, Report};
use crate::size::{Count, Human};
use crate::source::{self, HEAD, is_archive, is_seekable, name};
use crate::spec::is_pipe;
use crate::transfer::{Meter, time, wait};
use crate::ui::Ui;
use crate::usage;

pub(crate) fn run(args: &Push, ui: Ui) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    source::look_at(&args.image_file)?;
    let aws = Aws::connect(&args.aws.connect())?;
    let registrar = Registrar::new(&aws, interrupt.flag());
    // Who isn't let in needn't wait for an archive to be read.
    let identity = registrar.identity()?;
    ui.step("aws", format_args!("{} in {}, {}", identity.account, aws.region(), identity.arn));

    let content = Content::open(args, ui, &interrupt)?;
    let findings = content.check(args, ui)?;
    let mut report = Pushed::new(name(&args.image_file), &identity, aws.region(), args.dry_run);
    report.findings = findings.iter().map(Found::from).collect();
    let job = Job { args, ui, interrupt: &interrupt, aws: &aws, registrar: &registrar, content: &content };
    let outcome = job.run(report);
    // The process ends now, which frees the memory of a million inodes faster than dropping them.
    std::mem::forget(content);
    outcome
}

/// What is to be pushed.
enum Content {
    Raw { image: RawImage, disk: Option<Disk> },
    Plan { image: Box<Image>, store: Store },
}

impl Content {
    fn open(args: &Push, ui: Ui, interrupt: &Interrupt) -> Result<Self, Failure> {
        let path = &args.image_file;
        if is_raw(path)? {
            let image = RawImage::open(path)?;
            let disk = Disk::read(image.len(), &|offset, buf| image.read_at(offset, buf))
                .map_err(|error| error.context(format!("can't read {}", path.display())))?;
            ui.step("read", format_args!("{:<14}  {} raw image", name(path), Human(image.len())));
            for note in image.notes() {
                ui.step("", format_args!("{note}"));
            }
            return Ok(Self::Raw { image, disk });
        }
        let source = source::Source::open(path, &args.archive)?;
        let archives = source.names.clone();
        let (tree, store) = source.read(&args.archive.options(None), ui, interrupt)?;
        let (entries, bytes) = usage::total(&tree);
        let all = archives.join(" + ");
        ui.step("read", format_args!("{all:<14}  {} entries, {}", Count(entries), Human(bytes)));
        let spec = args.image.spec().host(args.host.spec(Some(TargetName::Ec2))?);
        let image = Image::plan(tree, &store, &spec).map_err(|error| Step::Plan.explain(error))?;
        let mut report = Report::of_plan(&image, args.image.table(), Input { archives, entries, bytes });
        report.warnings.extend_from_slice(store.warnings());
        report.warnings.extend(args.image.time_warnings(&image));
        report.warn(ui);
        ui.step("plan", format_args!("{}", report.outline()));
        for note in image.boot_notes() {
            ui.step("boot", format_args!("{note}"));
        }
        for edit in image.edits() {
            ui.step("edit", format_args!("{edit}"));
        }
        Ok(Self::Plan { image: Box::new(image), store })
    }

    /// Looks whether it would run in EC2, and what must not be public; what nothing on it starts is no host.
    fn check(&self, args: &Push, ui: Ui) -> Result<Vec<Finding>, Failure> {
        let Firmware { bios, uefi_x86_64, uefi_aarch64, .. } = self.firmware();
        if args.snapshot.snapshot_only || !(bios || uefi_x86_64 || uefi_aarch64) {
            return Ok(Vec::new());
        }
        let look = |tree: &Tree, store: &dyn ReadAt| {
            if args.publish.public { check_public(tree, store) } else { Ok(Vec::new()) }
        };
        let mut findings = match self {
            Self::Plan { image, store } => {
                let mut findings = image.check(store, Target::Ec2)?;
                findings.extend(look(image.tree(), store)?);
                findings
            }
            Self::Raw { disk: None, .. } => return Ok(Vec::new()),
            Self::Raw { disk: Some(disk), .. } => {
                let root = disk.partitions.iter().filter(|p| p.filesystem.is_some()).max_by_key(|p| p.len);
                let Some(root) = root else { return Ok(Vec::new()) };
                let path = &args.image_file;
                let file = File::open(path).map_err(|e| Error::io(format!("open {}", path.display()), e))?;
                // What can't be read was made by somebody who knows more.
                let (tree, store) = match ext4_tree::read(&file, root.offset) {
                    Ok(read) => read,
                    Err(error) => {
                        ui.warn(format_args!("its root filesystem isn't checked: {error}"));
                        return Ok(Vec::new());
                    }
                };
                let mut findings = disk.check(&tree, &store, Target::Ec2)?;
                findings.extend(look(&tree, &store)?);
                findings
            }
        };
        if args.publish.public {
            let texts = [&args.ami.name, &args.ami.description];
            findings.extend(texts.into_iter().flatten().filter_map(|text| check_public_name(text)));
        }
        findings.sort_by_key(|finding| finding.severity);
        for finding in &findings {
            ui.step("found", format_args!("{finding}"));
        }
        gate(&findings, args.force)?;
        Ok(findings)
    }

    fn source(&self) -> Source<'_> {
        match self {
            Self::Raw { image, .. } => Source::raw(image),
            Self::Plan { image, store } => Source::plan(image, store),
        }
    }

    fn firmware(&self) -> Firmware {
        match self {
            Self::Raw { disk, .. } => disk.as_ref().map_or_else(Firmware::default, |disk| disk.firmware),
            Self::Plan { image, .. } => image.firmware(),
        }
    }

    /// What tells the disk from others: its identifier in the table, or that of its filesystem.
    fn id(&self) -> Option<String> {
        match self {
            Self::Raw { disk, .. } => {
                let disk = disk.as_ref()?;
                disk.id.clone().or_else(|| disk.partitions.first()?.uuid.clone())
            }
            Self::Plan { image, .. } => image.disk_id().or_else(|| Some(image.filesystem().uuid)),
        }
    }
}

/// Whether there is a raw image in a file, or whatever else isn't an archive.
fn is_raw(path: &Path) -> Result<bool> {
    // A pipe can't be looked at twice.
    if is_pipe(path) || path.metadata().is_ok_and(|meta| !is_seekable(&meta)) {
        return Ok(false);
    }
    let mut head = Vec::new();
    File::open(path)
        .map_err(|e| Error::io(format!("open {}", path.display()), e))?
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(|e| Error::io(format!("read {}", path.display()), e))?;
    Ok(!is_archive(&head) && !is_old_tar(&head))
}

/// Whether these bytes are the header of a tar of the seventies, which has no magic number but a sum of all bytes.
fn is_old_tar(head: &[u8]) -> bool {
    let Some(field) = head.get(148..156).filter(|_| head.len() == 512) else { return false };
    let digits: String = field.iter().map(|b| char::from(*b)).filter(char::is_ascii_digit).collect();
    let sum: u32 = head.iter().map(|b| u32::from(*b)).sum();
    let blank = sum - field.iter().map(|b| u32::from(*b)).sum::<u32>() + 8 * u32::from(b' ');
    head[0] != 0 && u32::from_str_radix(&digits, 8) == Ok(blank)
}

/// One push.
struct Job<'a> {
    args: &'a Push,
    ui: Ui,
    interrupt: &'a Interrupt,
    aws: &'a Aws,
    registrar: &'a Registrar<'a>,
    content: &'a Content,
}

impl Job<'_> {
    fn run(&self, mut report: Pushed) -> Result<(), Failure> {
        let args = self.args;
        if let Some(arn) = &args.snapshot.kms_key {
            ami::check_key(arn, self.aws.region())?;
        }
        let name = self.name()?;
        let description =
            args.ami.description.clone().unwrap_or_else(|| format!("lfs-image: {}", report.source()));
        let description: String = description.chars().take(255).collect();
        let settings = args.snapshot.settings(&description, &args.ami.tag);
        let survey = self.content.source().survey(&settings)?;
        let firmware = self.content.firmware();
        let spec = args.ami.spec(&name)?;
        let encryption = args.snapshot.encryption();
        let publication = args.publish.publication(encryption.clone(), now())?;

        let checks = Checks {
            ami: (!args.snapshot.snapshot_only).then_some((&spec, &firmware)),
            publication: &publication,
            encryption: &encryption,
            blocks: survey.blocks,
            volume_gib: survey.volume_gib,
        };
        let found = self.registrar.preflight(&checks)?;
        report.checked(&found);
        if args.snapshot.omit_zeros {
            report.warnings.push(OMITS.to_owned());
        }
        self.tell(&found, &report.warnings);
        report.snapshot.volume = survey.volume_gib << 30;
        report.snapshot.blocks = survey.blocks;
        report.snapshot.bytes = survey.blocks.saturating_mul(BLOCK);
        if !args.snapshot.snapshot_only {
            let (architecture, boot_mode) = spec.target(&firmware)?;
            let (architecture, boot_mode) = (architecture.name().to_owned(), boot_mode.name().to_owned());
            report.image = Some(pushed::Image { id: None, name, architecture, boot_mode });
        }

        if let Some(taken) = &found.taken {
            let digest = self.digest_of(taken, &settings, &report)?;
            report.snapshot.digest = Some(digest.clone());
            report.reused = true;
            report.registered(&taken.ami);
            if args.dry_run {
                return self.show(&report);
            }
            self.ui.step("ami", format_args!("{} has this name and this content already", taken.ami.id));
            let ami = taken.ami.clone();
            wait(self.ui, self.interrupt, "ami", |each| self.registrar.wait_for_image(&ami.id, each))?;
            self.publish(&ami, &spec.marked(&digest), &publication.digest(&digest), &mut report)?;
            return self.show(&report);
        }
        if args.dry_run {
            return self.show(&report);
        }

        let uploaded = self.upload(&settings)?;
        report.uploaded(&uploaded);
        let stays = |error: Error| self.snapshot_stays(error, &uploaded.snapshot_id);
        let id = uploaded.snapshot_id.as_str();
        wait(self.ui, self.interrupt, "wait", |each| self.registrar.wait_for_snapshot(id, each))
            .map_err(stays)?;
        report.snapshot.verified_blocks = self.verify(&uploaded, &settings).map_err(stays)?;
        if args.snapshot.snapshot_only {
            uploaded.forget_journal()?;
            return self.show(&report);
        }
        let digest = uploaded.fingerprint.clone();
        let spec = spec.marked(&digest);
        let ami = wait(self.ui, self.interrupt, "ami", |each| {
            self.registrar.register(&spec, &firmware, id, uploaded.volume_gib, each)
        })
        .map_err(stays)?;
        uploaded.forget_journal()?;
        self.interrupt.remote(None);
        report.registered(&ami);
        if let Some(image) = &report.image {
            let (architecture, boot_mode) = (&image.architecture, &image.boot_mode);
            self.ui.step("ami", format_args!("{}  {}, {architecture}, {boot_mode}", ami.id, ami.name));
        }
        self.publish(&ami, &spec, &publication.digest(&digest), &mut report)?;
        self.show(&report)
    }

    /// The image's name: the same for the same disk.
    fn name(&self) -> Result<String, Failure> {
        if let Some(name) = &self.args.ami.name {
            return Ok(name.clone());
        }
        let path = &self.args.image_file;
        let file =
            path.file_name().filter(|_| !is_pipe(path)).map(|name| name.to_string_lossy().into_owned());
        let stem = file.as_deref().and_then(|name| name.split('.').next()).filter(|stem| !stem.is_empty());
        match self.content.id() {
            Some(id) => {
                let id: String = id.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
                Ok(ami::nameable(&format!("{}-{}", stem.unwrap_or("lfs-image"), id.to_ascii_lowercase())))
            }
            None if self.args.snapshot.snapshot_only => Ok("none".to_owned()),
            None => Err(Failure {
                error: Error::new(
                    ErrorKind::Input,
                    "nothing on the disk tells it from others, so it needs a name",
                ),
                hint: Some("`--name` gives it one".to_owned()),
                left: Vec::new(),
            }),
        }
    }

    /// What was found before the first byte.
    fn tell(&self, found: &Preflight, warnings: &[String]) {
        for warning in warnings {
            self.ui.warn(warning);
        }
        let Estimate { blocks, bytes, microdollars, least_millis, millis_at_100_mbit, .. } = found.estimate;
        let (blocks, bytes) = (Count(blocks), Human(bytes));
        let cents = microdollars.div_ceil(10_000);
        let (least, slow) = (time(least_millis.div_ceil(1000)), time(millis_at_100_mbit.div_ceil(1000)));
        self.ui.step("check", format_args!("{}", found.passed.join("; ")));
        self.ui.step(
            "",
            format_args!(
                "{blocks} blocks ({bytes}): ${}.{:02} for requests, {least} at best, {slow} at 100 Mbit/s",
                cents / 100,
                cents % 100
            ),
        );
    }

    /// The content's digest, if it is that of the image that has the name.
    fn digest_of(&self, taken: &Taken, settings: &Settings, report: &Pushed) -> Result<String, Failure> {
        let other = |what: &str| Failure {
            error: Error::new(
                ErrorKind::Input,
                format!("the name `{}` is taken by {}, {what}", taken.ami.name, taken.ami.id),
            ),
            hint: Some(format!(
                "give another `--name`, or remove that one: aws ec2 deregister-image --region {} --image-id {}",
                self.aws.region(),
                taken.ami.id
            )),
            left: Vec::new(),
        };
        let Some(theirs) = &taken.digest else {
            return Err(other("which this program didn't make"));
        };
        let mut meter = Meter::new(self.ui, self.interrupt, "hash");
        let ours = self.content.source().fingerprint(settings, &mut meter)?;
        drop(meter);
        if ours != *theirs {
            return Err(other("which has other content"));
        }
        if let Some(image) = &report.image
            && (image.architecture != taken.architecture || image.boot_mode != taken.boot_mode)
        {
            return Err(other(&format!(
                "which has the same content but is {} and {}",
                taken.architecture, taken.boot_mode
            )));
        }
        Ok(ours)
    }

    fn upload(&self, settings: &Settings) -> Result<Uploaded, Failure> {
        let region = self.aws.region();
        let journal = self.journal()?;
        let identity = self.content.id().unwrap_or_default();
        let mut upload = Upload::new(self.aws, settings).identity(&identity).snapshots(self.registrar);
        self.interrupt.remote(Some(match &journal {
            Some(_) => format!(
                "a pending snapshot in {region}: the same command goes on with it. {}",
                pending(region)
            ),
            None => format!("perhaps a pending snapshot in {region}. {}", pending(region)),
        }));
        if let Some(path) = &journal {
            upload = upload.journal(path);
        }
        let started = std::time::Instant::now();
        let mut meter = Meter::new(self.ui, self.interrupt, "push");
        let outcome = upload.run(&self.content.source(), &mut meter);
        drop(meter);
        let uploaded = outcome.map_err(|failure| self.upload_failed(failure, journal.as_deref()))?;
        let seconds = started.elapsed();
        let sent = (uploaded.blocks - uploaded.kept.min(uploaded.blocks)).saturating_mul(BLOCK);
        let kept = match uploaded.kept {
            0 => String::new(),
            n => format!(", {} were there already", Count(n)),
        };
        self.ui.step(
            "push",
            format_args!(
                "{}  {} blocks{kept}, {} in {}",
                uploaded.snapshot_id,
                Count(uploaded.blocks),
                Human(sent),
                seconds_of(seconds)
            ),
        );
        Ok(uploaded)
    }

    fn upload_failed(&self, failure: ebs::Failure, journal: Option<&Path>) -> Failure {
        self.interrupt.remote(None);
        let ebs::Failure { error, left, .. } = failure;
        let mut failure = Failure::from(error);
        if let Some(left) = left {
            let goes_on = match journal {
                Some(_) if left.resumable => "; the same command goes on with it",
                _ => "",
            };
            failure.left.push(format!(
                "{} in {}{goes_on}. To remove it: {}",
                left.snapshot_id,
                left.region,
                left.command()
            ));
        }
        failure
    }

    /// The upload is done, but not what comes after it.
    fn snapshot_stays(&self, error: Error, snapshot_id: &str) -> Failure {
        self.interrupt.remote(None);
        let region = self.aws.region();
        let goes_on = if self.args.snapshot.no_resume { "" } else { "; the same command goes on with it" };
        let mut failure = Failure::from(error);
        failure.left.push(format!(
            "{snapshot_id} in {region}{goes_on}. To remove it: {}",
            deletion(region, snapshot_id)
        ));
        failure
    }

    /// Reads back what was asked for: so many blocks.
    fn verify(&self, uploaded: &Uploaded, settings: &Settings) -> Result<Option<u64>> {
        let sample = match self.args.snapshot.verify {
            None => return Ok(None),
            Some(Verify::All) => Sample::All,
            Some(Verify::Blocks(n)) => Sample::Blocks(n),
        };
        let mut meter = Meter::new(self.ui, self.interrupt, "verify");
        let id = &uploaded.snapshot_id;
        let blocks = ebs::verify(self.aws, id, &uploaded.digests, sample, settings, &mut meter)?;
        drop(meter);
        self.ui.step(
            "verify",
            format_args!("{} of {} blocks are as sent", Count(blocks), Count(uploaded.blocks)),
        );
        Ok(Some(blocks))
    }

    fn publish(
        &self,
        ami: &Ami,
        spec: &AmiSpec,
        publication: &Publication,
        report: &mut Pushed,
    ) -> Result<(), Failure> {
        let mut published = Published::default();
        let outcome = wait(self.ui, self.interrupt, "copy", |each| {
            self.registrar.publish(ami, spec, publication, &mut published, each)
        });
        let home = self.aws.region();
        for (region, copy) in published.images.iter().filter(|(region, _)| region != home) {
            self.ui.step("copy", format_args!("{} in {region}", copy.id));
        }
        if let Err(error) = outcome {
            let mut failure = Failure::from(error);
            for (region, image) in &published.images {
                let (id, snapshot) = (&image.id, &image.snapshot_id);
                let and = if snapshot.is_empty() {
                    String::new()
                } else {
                    format!(" && {}", deletion(region, snapshot))
                };
                failure.left.push(format!(
                    "{id} in {region}; the same command goes on with it. To remove it: aws ec2 deregister-image --region \
                     {region} --image-id {id}{and}"
                ));
            }
            return Err(failure);
        }
        report.published(&published, &self.args.publish, publication.deprecated_at());
        Ok(())
    }

    fn show(&self, report: &Pushed) -> Result<(), Failure> {
        if self.ui.json {
            return Ok(self.ui.json(report)?);
        }
        let id = match &report.image {
            Some(image) => image.id.as_ref(),
            None => report.snapshot.id.as_ref(),
        };
        if let Some(id) = id {
            self.ui.result(format_args!("{id}\n"))?;
        }
        Ok(())
    }

    /// The journal's path; none where there is to be none.
    fn journal(&self) -> Result<Option<PathBuf>, Failure> {
        let args = &self.args.snapshot;
        if args.no_resume {
            return Ok(None);
        }
        if let Some(path) = &args.resume_file {
            return Ok(Some(path.clone()));
        }
        let region = self.aws.region();
        let path = self.args.image_file.as_path();
        if matches!(self.content, Content::Raw { .. }) && path.metadata().is_ok_and(|meta| meta.is_file()) {
            return Ok(Some(journals::beside(path, region)));
        }
        let id = self.content.id().unwrap_or_default();
        let archive = Some(path).filter(|path| !is_pipe(path));
        let Some(journal) = journals::of_archive(archive, region, &id)? else {
            self.ui.warn("there is no folder for the state of programs (XDG_STATE_HOME, HOME): a killed push can't go on");
            return Ok(None);
        };
        for id in journals::others(&journal, self.registrar)? {
            self.ui.warn(format!(
                "{id} in {region} is what an earlier push of this archive left, which held something else or had other options. \
                 To remove it: {}",
                deletion(region, &id)
            ));
        }
        Ok(Some(journal))
    }
}

const OMITS: &str = "zeros that the filesystem relies on are not sent (--omit-zeros): on an encrypted volume, which the account's \
                     default may make of any snapshot, they are noise";

fn deletion(region: &str, snapshot_id: &str) -> String {
    format!("aws ec2 delete-snapshot --region {region} --snapshot-id {snapshot_id}")
}

fn pending(region: &str) -> String {
    format!(
        "To find it: aws ec2 describe-snapshots --region {region} --owner-ids self --filters Name=status,Values=pending \
         Name=tag:lfs-image,Values=1"
    )
}

fn seconds_of(time: Duration) -> String {
    if time.as_secs() < 100 { format!("{:.1} s", time.as_secs_f64()) } else { self::time(time.as_secs()) }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_of_all_ages_are_told_from_disks() {
        let mut head = [0; 512];
        assert!(!is_old_tar(&head));
        head[..5].copy_from_slice(b"a/b/c");
        head[100..108].copy_from_slice(b"0000644\0");
        let sum: u32 = head.iter().map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(is_old_tar(&head));
        head[0] = b'b';
        assert!(!is_old_tar(&head));
        assert!(!is_old_tar(&head[..100]));
    }
}
