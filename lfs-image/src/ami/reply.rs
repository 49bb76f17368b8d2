//! What services answer: EC2 and STS in XML, SSM in JSON.

use super::ec2::{BlockDevice, Image, Snapshot};
use super::service::{Name, Request};
use super::xml::Element;
use crate::ebs::Refusal;

/// The longest part of a service's words that is passed on.
const MAX_WORDS: usize = 600;

/// What a reply that isn't a success says. Replies of proxies in between are anything.
pub(super) fn refusal(
    request: &Request,
    region: &str,
    status: u16,
    body: &[u8],
    request_id: Option<String>,
) -> Refusal {
    let (code, message, id) = xml(body).or_else(|| json(body)).unwrap_or_default();
    words(request.service, &request.operation, region, status, (code, message, id.or(request_id)))
}

/// A refusal in these words, which may be missing or too many.
pub(super) fn words(
    service: Name,
    operation: &str,
    region: &str,
    status: u16,
    (code, message, request_id): Words,
) -> Refusal {
    let code = if code.is_empty() { format!("HTTP {status}") } else { code };
    let message = if message.is_empty() { "the reply doesn't say why".to_owned() } else { message };
    Refusal {
        service: service.id(),
        operation: operation.to_owned(),
        region: region.to_owned(),
        code,
        message: message.chars().take(MAX_WORDS).collect(),
        status,
        request_id,
    }
}

/// A code, a message, a request's id.
pub(super) type Words = (String, String, Option<String>);

/// EC2's `Response/Errors/Error` with a `RequestID`, and the `ErrorResponse/Error` with a `RequestId` of the others.
fn xml(body: &[u8]) -> Option<Words> {
    let reply = Element::parse(body).ok()?;
    let error = match reply.child("Errors") {
        Some(errors) => errors.child("Error")?,
        None => reply.child("Error")?,
    };
    let text = |name| error.text(&[name]).unwrap_or_default().to_owned();
    let id = reply.text(&["RequestID"]).or_else(|| reply.text(&["RequestId"]));
    Some((text("Code"), text("Message"), id.map(str::to_owned)))
}

/// `{"__type": "prefix#Code", "message": "..."}`
fn json(body: &[u8]) -> Option<Words> {
    let reply: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = |name: &str| reply.get(name).and_then(|value| value.as_str());
    let code = text("__type").unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default().to_owned();
    let message = text("message").or_else(|| text("Message")).unwrap_or_default().to_owned();
    Some((code, message, None))
}

/// An `item` of `imagesSet`.
pub(super) fn image(item: &Element) -> Image {
    let text = |name| item.text(&[name]).map(str::to_owned);
    Image {
        id: text("imageId").unwrap_or_default(),
        name: text("name").unwrap_or_default(),
        state: text("imageState").unwrap_or_default(),
        reason: item.text(&["stateReason", "message"]).map(str::to_owned),
        public: item.is_true(&["isPublic"]),
        architecture: text("architecture"),
        boot_mode: text("bootMode"),
        root_device: text("rootDeviceName"),
        tags: tags(item),
        devices: item
            .list("blockDeviceMapping")
            .iter()
            .map(|device| BlockDevice {
                name: device.text(&["deviceName"]).unwrap_or_default().to_owned(),
                snapshot_id: device.text(&["ebs", "snapshotId"]).map(str::to_owned),
            })
            .collect(),
    }
}

/// An `item` of `snapshotSet`.
pub(super) fn snapshot(item: &Element) -> Snapshot {
    let text = |name| item.text(&[name]).map(str::to_owned);
    Snapshot {
        id: text("snapshotId").unwrap_or_default(),
        state: text("status").unwrap_or_default(),
        reason: text("statusMessage"),
        progress: text("progress"),
        volume_gib: text("volumeSize").and_then(|gib| gib.parse().ok()),
        encrypted: item.is_true(&["encrypted"]),
        kms_key: text("kmsKeyId"),
        tags: tags(item),
    }
}

fn tags(item: &Element) -> Vec<(String, String)> {
    let text = |tag: &Element, name| tag.text(&[name]).unwrap_or_default().to_owned();
    item.list("tagSet").iter().map(|tag| (text(tag, "key"), text(tag, "value"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> Refusal {
        let request = Request {
            service: Name::Ec2,
            operation: "RegisterImage".to_owned(),
            content_type: "",
            target: None,
            body: String::new(),
        };
        refusal(&request, "eu-west-1", status, body.as_bytes(), Some("header".to_owned()))
    }

    #[test]
    fn every_kind_of_refusal_is_read() {
        for (body, code, message, id) in [
            (
                "<?xml version=\"1.0\"?>\n<Response><Errors><Error><Code>InvalidAMIName.Duplicate</Code><Message>AMI name \
                 lfs is already in use by AMI ami-1</Message></Error></Errors><RequestID>r-1</RequestID></Response>",
                "InvalidAMIName.Duplicate",
                "AMI name lfs is already in use by AMI ami-1",
                "r-1",
            ),
            (
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                 <Code>InvalidClientTokenId</Code><Message>The security token included in the request is invalid.</Message>\
                 </Error><RequestId>r-2</RequestId></ErrorResponse>",
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
                "r-2",
            ),
            (
                "{\"__type\":\"com.amazonaws.ssm#ParameterAlreadyExists\",\"message\":\"It does.\"}",
                "ParameterAlreadyExists",
                "It does.",
                "header",
            ),
            (
                "{\"__type\":\"AccessDeniedException\",\"Message\":\"No.\"}",
                "AccessDeniedException",
                "No.",
                "header",
            ),
            ("<html>Bad Gateway</html>", "HTTP 502", "the reply doesn't say why", "header"),
            ("", "HTTP 502", "the reply doesn't say why", "header"),
        ] {
            let refusal = said(502, body);
            assert_eq!((refusal.code.as_str(), refusal.message.as_str()), (code, message));
            assert_eq!(refusal.request_id.as_deref(), Some(id));
        }
        assert!(said(400, &format!("{{\"message\":\"{}\"}}", "x".repeat(9999))).message.len() == MAX_WORDS);
    }

    #[test]
    fn images_and_snapshots_are_read() {
        let item = "<item><imageId>ami-0a</imageId><imageLocation>1/lfs</imageLocation><imageState>available</imageState>\
            <imageOwnerId>1</imageOwnerId><isPublic>false</isPublic><architecture>x86_64</architecture><imageType>machine\
            </imageType><name>lfs</name><rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName>\
            <blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><snapshotId>snap-1</snapshotId><volumeSize>8\
            </volumeSize><deleteOnTermination>true</deleteOnTermination><volumeType>gp3</volumeType><encrypted>false\
            </encrypted></ebs></item></blockDeviceMapping><virtualizationType>hvm</virtualizationType><tagSet><item><key>a\
            </key><value>b</value></item></tagSet><bootMode>uefi-preferred</bootMode></item>";
        let found = image(&Element::parse(item.as_bytes()).unwrap());
        assert_eq!(
            (found.id.as_str(), found.name.as_str(), found.state.as_str()),
            ("ami-0a", "lfs", "available")
        );
        assert_eq!(found.root_snapshot(), Some("snap-1"));
        assert_eq!(found.tag("a"), Some("b"));
        assert_eq!(found.boot_mode.as_deref(), Some("uefi-preferred"));
        let item = "<item><snapshotId>snap-1</snapshotId><volumeId>vol-ffffffff</volumeId><status>pending</status>\
            <startTime>2026-01-01T00:00:00.000Z</startTime><progress>42%</progress><ownerId>1</ownerId><volumeSize>8\
            </volumeSize><description/><encrypted>true</encrypted><kmsKeyId>arn:aws:kms:eu-west-1:1:key/k</kmsKeyId></item>";
        let found = snapshot(&Element::parse(item.as_bytes()).unwrap());
        assert_eq!((found.state.as_str(), found.progress.as_deref()), ("pending", Some("42%")));
        assert_eq!((found.volume_gib, found.encrypted), (Some(8), true));
    }
}
