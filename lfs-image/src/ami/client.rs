//! [`Ec2`] over the query protocol.
//!
//! Names of fields are those of the service models `ec2/2016-11-15`, `sts/2011-06-15` and `ssm/2014-11-06`; the tests hold the
//! forms against what botocore makes of the same calls.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::ec2::{Answer, Copy, DryRun, Ec2, Identity, Image, Registration, Share, Snapshot};
use super::query::Form;
use super::reply;
use super::service::{Line, Name, Request};
use super::xml::Element;
use crate::ebs::Aws;
use crate::error::{Error, ErrorKind};

/// Results on a page.
pub(super) const PAGE: usize = 1000;
/// More pages than this are not read.
pub(super) const MAX_PAGES: usize = 100;
/// An id that nothing has, for calls that are only tried.
pub(super) const NOTHING: &str = "00000000000000000";

/// Speaks to EC2, STS and SSM.
#[derive(Clone, Debug)]
pub(crate) struct Client<'a> {
    aws: &'a Aws,
    line: Arc<Line>,
    patience: Duration,
    urgent: bool,
}

impl<'a> Client<'a> {
    /// A client that ends what it is doing once `stop` is set.
    pub(crate) fn new(aws: &'a Aws, stop: Arc<AtomicBool>) -> Self {
        let line = Arc::new(Line::new(aws, stop));
        Self { aws, line, patience: PATIENCE, urgent: false }
    }

    /// One that gives up sooner: nothing was done yet that would be lost.
    pub(crate) fn hasty(&self) -> Self {
        Self { patience: HASTE, ..self.clone() }
    }

    /// One that cleans up: it doesn't end when it is asked to stop, but soon.
    pub(crate) fn urgent(&self) -> Self {
        Self { patience: HASTE, urgent: true, ..self.clone() }
    }

    fn send(&self, region: &str, request: &Request) -> Answer<Vec<u8>> {
        self.aws.block_on(self.line.send(region, request, self.patience, self.urgent))
    }

    /// Attempts what another client does of the same calls, as long as that may help.
    #[cfg(feature = "aws-sdk-ec2")]
    pub(super) fn insist<T>(
        &self,
        operation: &str,
        region: &str,
        attempt: &impl AsyncFn(&Arc<Line>) -> Result<T, super::service::Again>,
    ) -> Answer<T> {
        let attempt = async || attempt(&self.line).await;
        self.aws.block_on(self.line.insist(operation, region, self.patience, self.urgent, attempt))
    }

    fn query(&self, service: Name, region: &str, form: &Form) -> Answer<Element> {
        let request = Request {
            service,
            operation: form.action().to_owned(),
            content_type: "application/x-www-form-urlencoded; charset=utf-8",
            target: None,
            body: form.body(),
        };
        let body = self.send(region, &request)?;
        let read = Element::parse(&body).map_err(|why| malformed(&request.operation, region, &why))?;
        Ok(read)
    }

    fn ec2(&self, region: &str, form: &Form) -> Answer<Element> {
        self.query(Name::Ec2, region, form)
    }

    /// All pages of a list.
    fn pages<T>(&self, region: &str, form: &Form, list: &str, item: fn(&Element) -> T) -> Answer<Vec<T>> {
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let reply = match self.ec2(region, &form.clone().maybe("NextToken", token.as_deref())) {
                // What was made a moment ago isn't known to all of the service.
                Err(fault) if fault.code().ends_with(".NotFound") => return Ok(all),
                reply => reply?,
            };
            all.extend(reply.list(list).iter().map(item));
            token = reply.text(&["nextToken"]).map(str::to_owned);
            if token.is_none() {
                return Ok(all);
            }
        }
        Err(malformed(form.action(), region, &format!("it has more than {MAX_PAGES} pages")).into())
    }

    /// The id in a reply.
    fn id(&self, region: &str, form: &Form, name: &str) -> Answer<String> {
        let reply = self.ec2(region, form)?;
        let id =
            reply.text(&[name]).ok_or_else(|| malformed(form.action(), region, &format!("no {name}")))?;
        Ok(id.to_owned())
    }

    /// A call that says no more than that it was done.
    fn done(&self, region: &str, form: &Form) -> Answer<()> {
        let reply = self.ec2(region, form)?;
        if reply.text(&["return"]) == Some("false") {
            return Err(malformed(form.action(), region, "it wasn't done").into());
        }
        Ok(())
    }
}

/// How long a call is tried.
const PATIENCE: Duration = Duration::from_secs(120);
const HASTE: Duration = Duration::from_secs(8);

pub(super) fn malformed(operation: &str, region: &str, why: &str) -> Error {
    Error::new(ErrorKind::Remote, format!("the reply to {operation} in {region}: {why}"))
}

impl Ec2 for Client<'_> {
    fn identity(&self) -> Answer<Identity> {
        let region = self.aws.region();
        let reply = self.query(Name::Sts, region, &Form::sts("GetCallerIdentity"))?;
        let text = |name| reply.text(&["GetCallerIdentityResult", name]).map(str::to_owned);
        match (text("Account"), text("Arn")) {
            (Some(account), Some(arn)) => Ok(Identity { account, arn }),
            _ => Err(malformed("GetCallerIdentity", region, "no identity").into()),
        }
    }

    fn images(&self, region: &str, filters: &[(&str, &str)]) -> Answer<Vec<Image>> {
        self.pages(region, &forms::images(filters), "imagesSet", reply::image)
    }

    fn snapshots(&self, region: &str, filters: &[(&str, &str)]) -> Answer<Vec<Snapshot>> {
        self.pages(region, &forms::snapshots(filters), "snapshotSet", reply::snapshot)
    }

    fn register_image(&self, registration: &Registration, snapshot_id: &str) -> Answer<String> {
        self.id(self.aws.region(), &forms::register(registration, snapshot_id), "imageId")
    }

    fn dry_run(&self, region: &str, call: DryRun<'_>) -> Answer<()> {
        let (image, snapshot) = (format!("ami-{NOTHING}"), format!("snap-{NOTHING}"));
        let form = match call {
            DryRun::RegisterImage(registration) => forms::register(registration, &snapshot),
            DryRun::DeleteSnapshot => forms::delete_snapshot(&snapshot),
            DryRun::CopyImage { from, name } => forms::copy(&Copy::tried(name, from, &image)),
            DryRun::ModifyImageAttribute => {
                forms::share_image(&image, Share::Accounts(&["000000000000".to_owned()]))
            }
            DryRun::ModifySnapshotAttribute => forms::share_snapshot(&snapshot, &["000000000000".to_owned()]),
            DryRun::EnableImageDeprecation => forms::deprecate(&image, "2100-01-01T00:00:00Z"),
        };
        match self.ec2(region, &form.with("DryRun", true)) {
            Err(fault) if fault.code() == "DryRunOperation" => Ok(()),
            Err(fault) => Err(fault),
            Ok(_) => Err(malformed("a dry run", region, "it was no dry run").into()),
        }
    }

    fn copy_image(&self, to: &str, copy: &Copy<'_>) -> Answer<String> {
        self.id(to, &forms::copy(copy), "imageId")
    }

    fn share_image(&self, region: &str, image_id: &str, with: Share<'_>) -> Answer<()> {
        self.done(region, &forms::share_image(image_id, with))
    }

    fn share_snapshot(&self, region: &str, snapshot_id: &str, accounts: &[String]) -> Answer<()> {
        self.done(region, &forms::share_snapshot(snapshot_id, accounts))
    }

    fn deprecate_image(&self, region: &str, image_id: &str, at: &str) -> Answer<()> {
        self.done(region, &forms::deprecate(image_id, at))
    }

    fn delete_snapshot(&self, region: &str, snapshot_id: &str) -> Answer<()> {
        self.done(region, &forms::delete_snapshot(snapshot_id))
    }

    fn encrypts_by_default(&self) -> Answer<bool> {
        let reply = self.ec2(self.aws.region(), &Form::ec2("GetEbsEncryptionByDefault"))?;
        Ok(reply.is_true(&["ebsEncryptionByDefault"]))
    }

    fn default_key(&self) -> Answer<String> {
        self.id(self.aws.region(), &Form::ec2("GetEbsDefaultKmsKeyId"), "kmsKeyId")
    }

    fn blocks_public_images(&self, region: &str) -> Answer<bool> {
        let state =
            self.id(region, &Form::ec2("GetImageBlockPublicAccessState"), "imageBlockPublicAccessState")?;
        Ok(state == "block-new-sharing")
    }

    fn put_parameter(&self, region: &str, name: &str, image_id: &str) -> Answer<u64> {
        let request = Request {
            service: Name::Ssm,
            operation: "PutParameter".to_owned(),
            content_type: "application/x-amz-json-1.1",
            target: Some("AmazonSSM.PutParameter".to_owned()),
            body: forms::parameter(name, image_id),
        };
        let body = self.send(region, &request)?;
        let reply: serde_json::Value = serde_json::from_slice(&body)
            .map_err(|e| malformed("PutParameter", region, &format!("it is not JSON: {e}")))?;
        Ok(reply.get("Version").and_then(serde_json::Value::as_u64).unwrap_or_default())
    }
}

/// What is sent.
mod forms {
    use super::super::ec2::{Copy, Registration, Share};
    use super::super::query::Form;
    use super::PAGE;

    pub(super) fn images(filters: &[(&str, &str)]) -> Form {
        Form::ec2("DescribeImages")
            .list("Owner", ["self"])
            .filters(filters)
            .with("IncludeDeprecated", true)
            .with("MaxResults", PAGE)
    }

    pub(super) fn snapshots(filters: &[(&str, &str)]) -> Form {
        Form::ec2("DescribeSnapshots").list("Owner", ["self"]).filters(filters).with("MaxResults", PAGE)
    }

    pub(super) fn register(registration: &Registration, snapshot_id: &str) -> Form {
        let Registration {
            name,
            description,
            tags,
            architecture,
            boot_mode,
            tpm,
            imds_v2,
            ena,
            sriov,
            root_device,
            volume_gib,
            volume_type,
            iops,
            throughput,
            delete_on_termination,
            uefi_data,
        } = registration;
        // `Encrypted` must not be told: the snapshot's own state is what counts.
        Form::ec2("RegisterImage")
            .with("Name", name)
            .maybe("Description", description.as_ref())
            .with("Architecture", architecture)
            .with("VirtualizationType", "hvm")
            .with("BootMode", boot_mode)
            .maybe("TpmSupport", tpm.then_some("v2.0"))
            .maybe("ImdsSupport", imds_v2.then_some("v2.0"))
            .with("EnaSupport", ena)
            .maybe("SriovNetSupport", sriov.then_some("simple"))
            .maybe("UefiData", uefi_data.as_ref())
            .with("RootDeviceName", root_device)
            .with("BlockDeviceMapping.1.DeviceName", root_device)
            .with("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot_id)
            .maybe("BlockDeviceMapping.1.Ebs.VolumeSize", *volume_gib)
            .with("BlockDeviceMapping.1.Ebs.VolumeType", volume_type)
            .maybe("BlockDeviceMapping.1.Ebs.Iops", *iops)
            .maybe("BlockDeviceMapping.1.Ebs.Throughput", *throughput)
            .with("BlockDeviceMapping.1.Ebs.DeleteOnTermination", delete_on_termination)
            .tags(1, "image", tags)
    }

    pub(super) fn delete_snapshot(snapshot_id: &str) -> Form {
        Form::ec2("DeleteSnapshot").with("SnapshotId", snapshot_id)
    }

    pub(super) fn copy(copy: &Copy<'_>) -> Form {
        Form::ec2("CopyImage")
            .with("Name", copy.name)
            .maybe("Description", copy.description)
            .with("SourceRegion", copy.from)
            .with("SourceImageId", copy.image_id)
            .with("ClientToken", copy.token)
            .maybe("Encrypted", copy.encrypted.then_some(true))
            .maybe("KmsKeyId", copy.kms_key)
            .tags(1, "image", copy.tags)
            .tags(2, "snapshot", copy.tags)
    }

    pub(super) fn share_image(image_id: &str, with: Share<'_>) -> Form {
        let form = Form::ec2("ModifyImageAttribute").with("ImageId", image_id);
        match with {
            Share::Everybody => form.with("LaunchPermission.Add.1.Group", "all"),
            Share::Accounts(accounts) => (1..).zip(accounts).fold(form, |form, (n, account)| {
                form.with(format!("LaunchPermission.Add.{n}.UserId"), account)
            }),
        }
    }

    pub(super) fn share_snapshot(snapshot_id: &str, accounts: &[String]) -> Form {
        let form = Form::ec2("ModifySnapshotAttribute").with("SnapshotId", snapshot_id);
        (1..).zip(accounts).fold(form, |form, (n, account)| {
            form.with(format!("CreateVolumePermission.Add.{n}.UserId"), account)
        })
    }

    pub(super) fn deprecate(image_id: &str, at: &str) -> Form {
        Form::ec2("EnableImageDeprecation").with("ImageId", image_id).with("DeprecateAt", at)
    }

    /// The type has SSM check that it is an image.
    pub(super) fn parameter(name: &str, image_id: &str) -> String {
        serde_json::json!({
            "Name": name,
            "Value": image_id,
            "Type": "String",
            "DataType": "aws:ec2:image",
            "Overwrite": true,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What botocore 1.43.11 makes of the same calls: `serialize_to_request`, sorted by name.
    const BOTOCORE: [&str; 9] = [
        "Action=RegisterImage&Architecture=x86_64&BlockDeviceMapping.1.DeviceName=%2Fdev%2Fxvda&\
         BlockDeviceMapping.1.Ebs.DeleteOnTermination=false&BlockDeviceMapping.1.Ebs.Iops=3000&\
         BlockDeviceMapping.1.Ebs.SnapshotId=snap-1&BlockDeviceMapping.1.Ebs.Throughput=125&\
         BlockDeviceMapping.1.Ebs.VolumeSize=8&BlockDeviceMapping.1.Ebs.VolumeType=gp3&BootMode=uefi&\
         Description=%C3%BC&EnaSupport=true&ImdsSupport=v2.0&Name=lfs%201%20%28a%29&\
         RootDeviceName=%2Fdev%2Fxvda&SriovNetSupport=simple&TagSpecification.1.ResourceType=image&\
         TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=b%20c&\
         TagSpecification.1.Tag.2.Key=lfs-image%3Adigest&TagSpecification.1.Tag.2.Value=00&\
         TpmSupport=v2.0&UefiData=QU1a&Version=2016-11-15&VirtualizationType=hvm",
        "Action=DescribeImages&Filter.1.Name=name&Filter.1.Value.1=x&IncludeDeprecated=true&\
         MaxResults=1000&Owner.1=self&Version=2016-11-15",
        "Action=DescribeSnapshots&Filter.1.Name=snapshot-id&Filter.1.Value.1=snap-1&MaxResults=1000&\
         Owner.1=self&Version=2016-11-15",
        "Action=DeleteSnapshot&SnapshotId=snap-1&Version=2016-11-15",
        "Action=CopyImage&ClientToken=t&Description=d&Encrypted=true&KmsKeyId=k&Name=lfs&\
         SourceImageId=ami-1&SourceRegion=eu-west-1&TagSpecification.1.ResourceType=image&\
         TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=b%20c&\
         TagSpecification.2.ResourceType=snapshot&TagSpecification.2.Tag.1.Key=a&\
         TagSpecification.2.Tag.1.Value=b%20c&Version=2016-11-15",
        "Action=ModifyImageAttribute&ImageId=ami-1&LaunchPermission.Add.1.UserId=1&\
         LaunchPermission.Add.2.UserId=2&Version=2016-11-15",
        "Action=ModifyImageAttribute&ImageId=ami-1&LaunchPermission.Add.1.Group=all&\
         Version=2016-11-15",
        "Action=ModifySnapshotAttribute&CreateVolumePermission.Add.1.UserId=1&SnapshotId=snap-1&\
         Version=2016-11-15",
        "Action=EnableImageDeprecation&DeprecateAt=2027-01-01T00%3A00%3A00Z&ImageId=ami-1&\
         Version=2016-11-15",
    ];

    #[test]
    fn forms_are_botocores() {
        let tags = [("a".to_owned(), "b c".to_owned()), ("lfs-image:digest".to_owned(), "00".to_owned())];
        let registration = Registration {
            name: "lfs 1 (a)".to_owned(),
            description: Some("ü".to_owned()),
            tags: tags.to_vec(),
            architecture: "x86_64",
            boot_mode: "uefi",
            tpm: true,
            imds_v2: true,
            ena: true,
            sriov: true,
            root_device: "/dev/xvda".to_owned(),
            volume_gib: Some(8),
            volume_type: "gp3".to_owned(),
            iops: Some(3000),
            throughput: Some(125),
            delete_on_termination: false,
            uefi_data: Some("QU1a".to_owned()),
        };
        let copy = Copy {
            name: "lfs",
            description: Some("d"),
            from: "eu-west-1",
            image_id: "ami-1",
            token: "t",
            encrypted: true,
            kms_key: Some("k"),
            tags: &tags[..1],
        };
        let accounts = ["1".to_owned(), "2".to_owned()];
        let ours = [
            forms::register(&registration, "snap-1"),
            forms::images(&[("name", "x")]),
            forms::snapshots(&[("snapshot-id", "snap-1")]),
            forms::delete_snapshot("snap-1"),
            forms::copy(&copy),
            forms::share_image("ami-1", Share::Accounts(&accounts)),
            forms::share_image("ami-1", Share::Everybody),
            forms::share_snapshot("snap-1", &accounts[..1]),
            forms::deprecate("ami-1", "2027-01-01T00:00:00Z"),
        ];
        for (ours, theirs) in ours.iter().zip(BOTOCORE) {
            let body = ours.body();
            let sorted = |body: &str| body.split('&').map(str::to_owned).collect::<BTreeSet<_>>();
            assert_eq!(sorted(&body), sorted(theirs));
        }
        // With nothing optional, nothing is told but what the service's defaults would get wrong.
        let least = Registration {
            description: None,
            tags: Vec::new(),
            tpm: false,
            imds_v2: false,
            sriov: false,
            volume_gib: None,
            iops: None,
            throughput: None,
            uefi_data: None,
            ..registration
        };
        let body = forms::register(&least, "snap-1").body();
        for missing in
            ["Tpm", "Imds", "Sriov", "Uefi", "VolumeSize", "Iops", "Throughput", "Tag", "Encrypted"]
        {
            assert!(!body.contains(missing), "{missing}: {body}");
        }
        assert!(body.contains("Architecture=x86_64") && body.contains("VirtualizationType=hvm"), "{body}");
        assert_eq!(
            forms::parameter("/a", "ami-1"),
            r#"{"DataType":"aws:ec2:image","Name":"/a","Overwrite":true,"Type":"String","Value":"ami-1"}"#
        );
    }
}
