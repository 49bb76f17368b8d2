#!/usr/bin/env python3
"""boto3 against aws-judge: every call that it has, good answers and refusals, through a client that isn't ours.

The environment says where (AWS_ENDPOINT_URL) and who; see Judge::env. Says "ok" and how many checks it made, or dies.
"""

import base64
import datetime
import hashlib
import json
import os
import time
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

BLOCK = 524288
URL = os.environ["AWS_ENDPOINT_URL"]
# No retries: what is asked for is what is seen. No validation on this side: the server's is the one to see.
PLAIN = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
checks = 0


def client(name, region=None, config=PLAIN, **keys):
    return boto3.client(name, region_name=region, config=config, **keys)


def check(what, have, want):
    global checks
    checks += 1
    if have != want:
        raise SystemExit(f"{what}: {have!r} instead of {want!r}")


def refused(code, call, status=None, reason=None, **parameters):
    """The call must fail with this code, and carry a request id."""
    global checks
    checks += 1
    try:
        call(**parameters)
    except ClientError as error:
        have = error.response
        got = (have["Error"]["Code"], have["ResponseMetadata"]["HTTPStatusCode"], have.get("Reason"))
        want = (code, status or got[1], reason)
        if got != want:
            raise SystemExit(f"{call.__name__} {parameters}: {got} instead of {want}: {error}")
        if not have["ResponseMetadata"].get("RequestId"):
            raise SystemExit(f"{call.__name__}: no request id")
        if not have["Error"].get("Message") and not have.get("Message"):
            raise SystemExit(f"{call.__name__}: no message")
        return
    raise SystemExit(f"{call.__name__} {parameters}: not refused with {code}")


def judge(method, path, value=None, length=None):
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(f"{URL}/_judge/{path}", data=data, method=method)
    with urllib.request.urlopen(request) as reply:
        return reply.read(length)


def configure(**fields):
    judge("PUT", "config", fields)


def faults(*script):
    judge("PUT", "faults", list(script))


def sha(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def put(ebs, snapshot, index, data, **changes):
    parameters = dict(
        SnapshotId=snapshot, BlockIndex=index, BlockData=data, DataLength=len(data), Checksum=sha(data), ChecksumAlgorithm="SHA256"
    )
    return ebs.put_snapshot_block(**(parameters | changes))


def complete(ebs, snapshot, blocks, **changes):
    sums = b"".join(hashlib.sha256(blocks[index]).digest() for index in sorted(blocks))
    parameters = dict(
        SnapshotId=snapshot, ChangedBlocksCount=len(blocks), Checksum=sha(sums), ChecksumAlgorithm="SHA256", ChecksumAggregationMethod="LINEAR"
    )
    return ebs.complete_snapshot(**(parameters | changes))


def finished(ec2, snapshot):
    for _ in range(100):
        found = ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]
        if found["State"] != "pending":
            return found
        time.sleep(0.05)
    raise SystemExit(f"{snapshot} stays pending")


def block(seed):
    return hashlib.sha256(seed.encode()).digest() * (BLOCK // 32)


def made(ebs, ec2, blocks, size=1, **parameters):
    """A completed snapshot."""
    snapshot = ebs.start_snapshot(VolumeSize=size, **parameters)["SnapshotId"]
    for index, data in blocks.items():
        put(ebs, snapshot, index, data)
    complete(ebs, snapshot, blocks)
    check("state", finished(ec2, snapshot)["State"], "completed")
    return snapshot


def signatures():
    for name, call, status, wrong, unknown in [
        ("ebs", lambda c: c.start_snapshot(VolumeSize=1), 403, "InvalidSignatureException", "UnrecognizedClientException"),
        ("ec2", lambda c: c.describe_regions(), 401, "AuthFailure", "AuthFailure"),
        ("sts", lambda c: c.get_caller_identity(), 403, "SignatureDoesNotMatch", "InvalidClientTokenId"),
        ("ssm", lambda c: c.put_parameter(Name="n", Value="v", Type="String"), 400, "InvalidSignatureException", "UnrecognizedClientException"),
    ]:
        key = os.environ["AWS_ACCESS_KEY_ID"]
        secret = os.environ["AWS_SECRET_ACCESS_KEY"]
        bad = client(name, aws_access_key_id=key, aws_secret_access_key=secret + "x")
        refused(wrong, lambda: call(bad), status)
        bad = client(name, aws_access_key_id="AKIAUNKNOWN", aws_secret_access_key=secret)
        refused(unknown, lambda: call(bad), status)
        bad = client(name, aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token="stale")
        refused(unknown, lambda: call(bad), status)
        configure(session_token="fresh")
        call(client(name, aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token="fresh"))
        configure(session_token=None)


def start(ebs, ec2):
    full = dict(VolumeSize=3, Description="a disk", Tags=[{"Key": "Name", "Value": "ä & <b>"}], ClientToken="one", Timeout=10)
    first = ebs.start_snapshot(**full)
    check("status", (first["Status"], first["BlockSize"], first["VolumeSize"]), ("pending", BLOCK, 3))
    check("tags", first["Tags"], full["Tags"])
    check("http", first["ResponseMetadata"]["HTTPStatusCode"], 201)
    check("time", abs(first["StartTime"].timestamp() - time.time()) < 60, True)
    check("same token", ebs.start_snapshot(**full)["SnapshotId"], first["SnapshotId"])
    refused("ConflictException", ebs.start_snapshot, 409, **(full | {"VolumeSize": 4}))
    found = ec2.describe_snapshots(SnapshotIds=[first["SnapshotId"]])["Snapshots"][0]
    check("described", (found["State"], found["VolumeSize"], found["Description"]), ("pending", 3, "a disk"))
    check("described tags", found["Tags"], full["Tags"])

    def wrong(reason, **parameters):
        refused("ValidationException", ebs.start_snapshot, 400, reason, **parameters)

    wrong("INVALID_VOLUME_SIZE")
    wrong("INVALID_VOLUME_SIZE", VolumeSize=0)
    wrong("INVALID_VOLUME_SIZE", VolumeSize=65537)
    wrong("INVALID_PARAMETER_VALUE", VolumeSize=1, Timeout=9)
    wrong("INVALID_PARAMETER_VALUE", VolumeSize=1, Timeout=4321)
    wrong("INVALID_PARAMETER_VALUE", VolumeSize=1, Description="x" * 256)
    wrong("INVALID_PARAMETER_VALUE", VolumeSize=1, ClientToken="x" * 65)
    wrong("INVALID_PARAMETER_VALUE", VolumeSize=1, ClientToken="a b")
    wrong("INVALID_TAG", VolumeSize=1, Tags=[{"Key": "aws:x", "Value": ""}])
    wrong("INVALID_TAG", VolumeSize=1, Tags=[{"Key": "x" * 128, "Value": ""}])
    wrong("INVALID_TAG", VolumeSize=1, Tags=[{"Key": "x", "Value": "v" * 256}])
    wrong("INVALID_TAG", VolumeSize=1, Tags=[{"Key": f"k{n}", "Value": ""} for n in range(51)])
    wrong("INVALID_CUSTOMER_KEY", VolumeSize=1, KmsKeyArn="arn:aws:kms:us-east-1:123456789012:alias/mine")
    refused("ResourceNotFoundException", ebs.start_snapshot, 404, "SNAPSHOT_NOT_FOUND", VolumeSize=1, ParentSnapshotId="snap-0123")
    wrong("INVALID_SNAPSHOT_ID", VolumeSize=1, ParentSnapshotId="vol-0123")
    wrong("INVALID_SNAPSHOT_ID", VolumeSize=3, ParentSnapshotId=first["SnapshotId"])
    configure(pending_quota=1)
    refused("ConcurrentLimitExceededException", ebs.start_snapshot, 400, VolumeSize=1)
    configure(pending_quota=100)
    ec2.delete_snapshot(SnapshotId=first["SnapshotId"])
    # The token still answers, with a snapshot that is gone.
    check("token remembers", ebs.start_snapshot(**full)["SnapshotId"], first["SnapshotId"])


def encryption(ebs, ec2):
    """The table of outcomes in the user guide."""
    own = "arn:aws:kms:us-east-1:123456789012:key/mine"
    default = json.loads(judge("GET", "config"))["default_kms_key"]
    plain = made(ebs, ec2, {0: block("p")})
    for by_default in (False, True):
        configure(encryption_by_default=by_default)
        check("default", ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"], by_default)
        table = [
            ({}, default if by_default else None),
            ({"KmsKeyArn": own}, own),
            ({"Encrypted": True}, default),
            ({"Encrypted": True, "KmsKeyArn": own}, own),
            ({"Encrypted": False}, "refused" if by_default else None),
            ({"Encrypted": False, "KmsKeyArn": own}, "refused"),
            ({"ParentSnapshotId": plain}, "refused" if by_default else None),
            ({"ParentSnapshotId": plain, "Encrypted": True}, "refused"),
            ({"ParentSnapshotId": plain, "Encrypted": False}, "refused"),
        ]
        for parameters, outcome in table:
            if outcome == "refused":
                refused("ValidationException", ebs.start_snapshot, 400, "INVALID_PARAMETER_VALUE", VolumeSize=1, **parameters)
                continue
            reply = ebs.start_snapshot(VolumeSize=1, **parameters)
            check(f"{parameters}", (reply.get("KmsKeyArn"), reply["SseType"]), (outcome, "sse-kms" if outcome else "none"))
            found = ec2.describe_snapshots(SnapshotIds=[reply["SnapshotId"]])["Snapshots"][0]
            check("encrypted", (found["Encrypted"], found.get("KmsKeyId")), (outcome is not None, outcome))
            ec2.delete_snapshot(SnapshotId=reply["SnapshotId"])
    configure(encryption_by_default=False)
    secret = made(ebs, ec2, {0: block("s")}, KmsKeyArn=own)
    refused("ValidationException", ebs.start_snapshot, 400, "INVALID_PARAMETER_VALUE", VolumeSize=1, ParentSnapshotId=secret, KmsKeyArn=own)
    child = ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=secret)
    check("inherited key", child["KmsKeyArn"], own)
    check("default key", ec2.get_ebs_default_kms_key_id()["KmsKeyId"], default)
    for snapshot in (plain, secret, child["SnapshotId"]):
        ec2.delete_snapshot(SnapshotId=snapshot)


def writing(ebs, ec2):
    snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    blocks = {0: block("a"), 7: bytes(BLOCK), 2047: block("c")}
    for index, data in blocks.items():
        reply = put(ebs, snapshot, index, data, Progress=index % 100)
        check("put", (reply["ResponseMetadata"]["HTTPStatusCode"], reply["Checksum"]), (201, sha(data)))

    def wrong(reason, index=1, data=block("x"), code="ValidationException", status=400, **changes):
        refused(code, lambda: put(ebs, changes.pop("to", snapshot), index, data, **changes), status, reason)

    wrong("INVALID_BLOCK", index=2048)
    wrong("INVALID_BLOCK", index=-1)
    wrong("INVALID_BLOCK", index=1 << 31)
    wrong("INVALID_PARAMETER_VALUE", Checksum=sha(b""))
    wrong("INVALID_PARAMETER_VALUE", Checksum="AAAA")
    wrong("INVALID_PARAMETER_VALUE", ChecksumAlgorithm="SHA1")
    wrong("INVALID_PARAMETER_VALUE", DataLength=512)
    wrong("INVALID_PARAMETER_VALUE", Progress=101)
    wrong("INVALID_PARAMETER_VALUE", data=b"abc")
    wrong("INVALID_PARAMETER_VALUE", data=b"abc", DataLength=BLOCK)
    wrong("SNAPSHOT_NOT_FOUND", code="ResourceNotFoundException", status=404, to="snap-0123456789abcdef0")
    wrong("INVALID_SNAPSHOT_ID", to="snap-xyz")
    for call in (
        lambda: ebs.list_snapshot_blocks(SnapshotId=snapshot),
        lambda: ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=0, BlockToken="AAAA"),
    ):
        refused("ValidationException", call, 400, "INVALID_SNAPSHOT_ID")
    for changes in (
        {"ChangedBlocksCount": 2},
        {"Checksum": sha(b"")},
        {"ChecksumAlgorithm": "MD5"},
        {"ChecksumAggregationMethod": "TREE"},
    ):
        refused("ValidationException", lambda: complete(ebs, snapshot, blocks, **changes), 400, "INVALID_PARAMETER_VALUE")
    refused("ResourceNotFoundException", lambda: complete(ebs, "snap-0123456789abcdef0", {}), 404, "SNAPSHOT_NOT_FOUND")
    reply = complete(ebs, snapshot, blocks)
    check("complete", (reply["ResponseMetadata"]["HTTPStatusCode"], reply["Status"]), (202, "pending"))
    wrong("INVALID_SNAPSHOT_ID")
    check("completed", finished(ec2, snapshot)["State"], "completed")
    check("twice", complete(ebs, snapshot, blocks)["Status"], "completed")
    wrong("INVALID_SNAPSHOT_ID")
    return snapshot, blocks


def read_all(ebs, snapshot, size=100):
    blocks, token, pages = {}, {}, 0
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=size, **token)
        check("sizes", (page["BlockSize"], page["VolumeSize"]), (BLOCK, 1))
        pages += 1
        for entry in page["Blocks"]:
            reply = ebs.get_snapshot_block(SnapshotId=snapshot, **entry)
            data = reply["BlockData"].read()
            check("sum", (sha(data), reply["DataLength"], reply["ChecksumAlgorithm"]), (reply["Checksum"], BLOCK, "SHA256"))
            blocks[entry["BlockIndex"]] = data
        if "NextToken" not in page:
            return blocks, pages
        token = {"NextToken": page["NextToken"]}


def reading(ebs, ec2, snapshot, blocks):
    check("content", read_all(ebs, snapshot), (blocks, 1))
    configure(list_page=1, empty_pages=True)
    check("pages", read_all(ebs, snapshot), (blocks, 6))
    configure(list_page=10000, empty_pages=False)
    entries = ebs.list_snapshot_blocks(SnapshotId=snapshot, StartingBlockIndex=7)["Blocks"]
    check("from", [entry["BlockIndex"] for entry in entries], [7, 2047])
    again = ebs.list_snapshot_blocks(SnapshotId=snapshot, StartingBlockIndex=7)["Blocks"]
    check("tokens differ", entries[0]["BlockToken"] != again[0]["BlockToken"], True)

    def wrong(reason, call, **parameters):
        refused("ValidationException", call, 400, reason, **parameters)

    wrong("INVALID_PARAMETER_VALUE", ebs.list_snapshot_blocks, SnapshotId=snapshot, MaxResults=99)
    wrong("INVALID_PARAMETER_VALUE", ebs.list_snapshot_blocks, SnapshotId=snapshot, MaxResults=10001)
    wrong("INVALID_PAGE_TOKEN", ebs.list_snapshot_blocks, SnapshotId=snapshot, NextToken="AAAA")
    wrong("INVALID_BLOCK_TOKEN", ebs.get_snapshot_block, SnapshotId=snapshot, BlockIndex=0, BlockToken=entries[0]["BlockToken"])
    refused("ResourceNotFoundException", ebs.list_snapshot_blocks, 404, "SNAPSHOT_NOT_FOUND", SnapshotId="snap-0aaa")

    # A child: one block changed, one changed back to zeros, one new.
    changed = {0: block("a2"), 2047: bytes(BLOCK), 5: block("new")}
    child = made(ebs, ec2, changed, ParentSnapshotId=snapshot)
    check("child", read_all(ebs, child)[0], blocks | changed)
    page = ebs.list_changed_blocks(FirstSnapshotId=snapshot, SecondSnapshotId=child)
    have = {entry["BlockIndex"]: ("FirstBlockToken" in entry, "SecondBlockToken" in entry) for entry in page["ChangedBlocks"]}
    check("changed", have, {0: (True, True), 5: (False, True), 2047: (True, True)})
    entry = page["ChangedBlocks"][0]
    data = ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=0, BlockToken=entry["FirstBlockToken"])["BlockData"].read()
    check("old block", data, blocks[0])
    wrong("INVALID_PARAMETER_VALUE", ebs.list_changed_blocks, SecondSnapshotId=child)
    stranger = made(ebs, ec2, {0: block("z")})
    wrong("UNRELATED_SNAPSHOTS", ebs.list_changed_blocks, FirstSnapshotId=stranger, SecondSnapshotId=child)
    wrong("INVALID_VOLUME_SIZE", ebs.start_snapshot, VolumeSize=0, ParentSnapshotId=child)

    # What an instance sees.
    volume = judge("GET", f"volume/{child}", length=8 * BLOCK)
    for index in range(8):
        want = (blocks | changed).get(index, bytes(BLOCK))
        check(f"block {index}", volume[index * BLOCK : (index + 1) * BLOCK] == want, True)
    noise = judge("GET", f"volume/{child}?encrypted=1", length=8 * BLOCK)
    check("written zeros stay", noise[7 * BLOCK : 8 * BLOCK], bytes(BLOCK))
    check("absent is noise", noise[BLOCK : 2 * BLOCK].count(0) < BLOCK // 64, True)
    for id in (child, stranger):
        ec2.delete_snapshot(SnapshotId=id)


def registering(ebs, ec2, snapshot):
    def mapping(**ebs):
        return [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeType": "gp3", "DeleteOnTermination": True} | ebs}]

    good = dict(
        Name="lfs (1) [x] ./-'@_", Description="d", Architecture="x86_64", VirtualizationType="hvm", RootDeviceName="/dev/xvda",
        EnaSupport=True, SriovNetSupport="simple", BootMode="uefi", TpmSupport="v2.0", ImdsSupport="v2.0",
        UefiData=base64.b64encode(b"vars").decode(), BlockDeviceMappings=mapping(VolumeSize=2, Iops=3000, Throughput=125),
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "k", "Value": "v"}]}],
    )

    def wrong(code, **changes):
        parameters = {key: value for key, value in (good | changes).items() if value is not None}
        refused(code, ec2.register_image, 400, **parameters)

    refused("DryRunOperation", ec2.register_image, 412, DryRun=True, **good)
    configure(denied=["ec2:RegisterImage"])
    refused("UnauthorizedOperation", ec2.register_image, 403, DryRun=True, **good)
    refused("UnauthorizedOperation", ec2.register_image, 403, **good)
    configure(denied=[])
    wrong("InvalidAMIName.Malformed", Name="ab")
    wrong("InvalidAMIName.Malformed", Name="a" * 129)
    wrong("InvalidAMIName.Malformed", Name="a+b")
    wrong("MissingParameter", Name=None)
    wrong("MissingParameter", RootDeviceName=None)
    wrong("InvalidParameterValue", Description="d" * 256)
    wrong("InvalidParameterValue", Architecture="amd64")
    wrong("InvalidParameterValue", BootMode="bios")
    wrong("InvalidParameterValue", ImdsSupport="v1.0")
    wrong("InvalidParameterCombination", BootMode="uefi-preferred")
    wrong("InvalidParameterCombination", BootMode=None)
    wrong("InvalidParameterCombination", BootMode="legacy-bios", TpmSupport=None)
    wrong("InvalidParameterCombination", Architecture="arm64")
    wrong("InvalidParameterCombination", Architecture="arm64", TpmSupport=None, UefiData=None, BootMode="legacy-bios")
    wrong("InvalidParameterCombination", VirtualizationType=None)
    wrong("InvalidParameterValue", UefiData="***")
    wrong("InvalidBlockDeviceMapping", RootDeviceName="/dev/sda1")
    wrong("InvalidBlockDeviceMapping", BlockDeviceMappings=mapping() + mapping())
    wrong("InvalidBlockDeviceMapping", BlockDeviceMappings=mapping(VolumeSize=0))
    wrong("InvalidParameter", BlockDeviceMappings=mapping(Encrypted=False))
    wrong("InvalidParameter", BlockDeviceMappings=mapping(Encrypted=True))
    wrong("InvalidParameterValue", BlockDeviceMappings=mapping(KmsKeyId="x"))
    wrong("InvalidParameterValue", BlockDeviceMappings=mapping(VolumeType="gp4"))
    wrong("InvalidParameterValue", BlockDeviceMappings=mapping(Iops=100))
    wrong("InvalidParameterCombination", BlockDeviceMappings=mapping(VolumeType="gp2", Iops=3000))
    wrong("InvalidParameterCombination", BlockDeviceMappings=mapping(VolumeType="gp2", Throughput=125))
    wrong("InvalidParameterValue", BlockDeviceMappings=mapping(Throughput=100))
    wrong("InvalidSnapshot.NotFound", BlockDeviceMappings=mapping(SnapshotId="snap-0123456789abcdef0"))
    wrong("InvalidSnapshotID.Malformed", BlockDeviceMappings=mapping(SnapshotId="snap-x"))
    wrong("InvalidParameterValue", TagSpecifications=[{"ResourceType": "snapshot", "Tags": [{"Key": "k", "Value": "v"}]}])
    pending = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    wrong("IncorrectState", BlockDeviceMappings=mapping(SnapshotId=pending))
    ec2.delete_snapshot(SnapshotId=pending)

    configure(image_ms=300)
    image = ec2.register_image(**good)["ImageId"]
    found = ec2.describe_images(ImageIds=[image])["Images"][0]
    check("pending", found["State"], "pending")
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1})
    found = ec2.describe_images(Filters=[{"Name": "name", "Values": [good["Name"]]}], Owners=["self"])["Images"][0]
    for key in ("Name", "Description", "Architecture", "VirtualizationType", "RootDeviceName", "EnaSupport", "SriovNetSupport", "BootMode",
                "TpmSupport", "ImdsSupport"):
        check(key, found[key], good[key])
    check("tags", found["Tags"], good["TagSpecifications"][0]["Tags"])
    check("state", (found["State"], found["Public"], found["ImageId"]), ("available", False, image))
    check("mapping", found["BlockDeviceMappings"], [{"DeviceName": "/dev/xvda", "Ebs": {
        "SnapshotId": snapshot, "VolumeSize": 2, "DeleteOnTermination": True, "VolumeType": "gp3", "Iops": 3000, "Throughput": 125,
        "Encrypted": False}}])
    refused("InvalidAMIName.Duplicate", ec2.register_image, 400, **good)
    refused("InvalidSnapshot.InUse", ec2.delete_snapshot, 400, SnapshotId=snapshot)
    refused("DryRunOperation", ec2.delete_snapshot, 412, SnapshotId=snapshot, DryRun=True)
    refused("InvalidAMIID.NotFound", ec2.describe_images, 400, ImageIds=["ami-0123456789abcdef0"])
    refused("InvalidAMIID.Malformed", ec2.describe_images, 400, ImageIds=["ami-x"])
    refused("InvalidParameterValue", ec2.describe_images, 400, Filters=[{"Name": "nonsense", "Values": ["x"]}])

    # What the API makes of a request that leaves it to its defaults.
    worst = ec2.register_image(Name="defaults", RootDeviceName="/dev/xvda", BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}])
    found = ec2.describe_images(ImageIds=[worst["ImageId"]])["Images"][0]
    check("defaults", (found["Architecture"], found["VirtualizationType"]), ("i386", "paravirtual"))
    check("default volume", found["BlockDeviceMappings"][0]["Ebs"]["VolumeType"], "standard")
    ec2.deregister_image(ImageId=worst["ImageId"])
    configure(image_ms=0)
    return image


def sharing(ebs, ec2, image, snapshot):
    ec2.create_tags(Resources=[image, snapshot], Tags=[{"Key": "later", "Value": "<&>\n"}])
    check("image tag", {"Key": "later", "Value": "<&>\n"} in ec2.describe_images(ImageIds=[image])["Images"][0]["Tags"], True)
    found = ec2.describe_snapshots(Filters=[{"Name": "tag:later", "Values": ["<&>*"]}], OwnerIds=["self"])["Snapshots"]
    check("found by tag", [entry["SnapshotId"] for entry in found], [snapshot])
    many = [{"Key": f"k{n}", "Value": ""} for n in range(50)]
    refused("TagLimitExceeded", ec2.create_tags, 400, Resources=[image], Tags=many)
    refused("DryRunOperation", ec2.create_tags, 412, Resources=[image], Tags=many[:1], DryRun=True)
    refused("InvalidSnapshot.NotFound", ec2.create_tags, 400, Resources=["snap-0123456789abcdef0"], Tags=many[:1])

    ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": "111122223333"}, {"Group": "all"}]})
    ec2.modify_image_attribute(ImageId=image, Attribute="launchPermission", OperationType="remove", UserGroups=["all"])
    ec2.modify_image_attribute(ImageId=image, Attribute="launchPermission", OperationType="add", UserIds=["444455556666"])
    have = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")["LaunchPermissions"]
    check("permissions", have, [{"UserId": "111122223333"}, {"UserId": "444455556666"}])
    public = dict(ImageId=image, LaunchPermission={"Add": [{"Group": "all"}]})
    check("block public access", ec2.get_image_block_public_access_state()["ImageBlockPublicAccessState"], "unblocked")
    configure(block_public_access=True)
    check("block public access", ec2.get_image_block_public_access_state()["ImageBlockPublicAccessState"], "block-new-sharing")
    refused("OperationNotPermitted", ec2.modify_image_attribute, 400, **public)
    configure(block_public_access=False)
    refused("InvalidUserID.Malformed", ec2.modify_image_attribute, 400, ImageId=image, LaunchPermission={"Add": [{"UserId": "1"}]})
    ec2.modify_image_attribute(ImageId=image, Description={"Value": "other"})
    check("description", ec2.describe_image_attribute(ImageId=image, Attribute="description")["Description"], {"Value": "other"})

    ec2.modify_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission", OperationType="add", UserIds=["111122223333"])
    ec2.modify_snapshot_attribute(SnapshotId=snapshot, CreateVolumePermission={"Add": [{"UserId": "444455556666"}], "Remove": [{"UserId": "111122223333"}]})
    have = ec2.describe_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission")["CreateVolumePermissions"]
    check("snapshot shared", have, [{"UserId": "444455556666"}])
    secret = made(ebs, ec2, {0: block("s")}, Encrypted=True)
    refused("OperationNotPermitted", ec2.modify_snapshot_attribute, 400, SnapshotId=secret, CreateVolumePermission={"Add": [{"UserId": "444455556666"}]})
    ec2.delete_snapshot(SnapshotId=secret)

    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=90)
    check("deprecated", ec2.enable_image_deprecation(ImageId=image, DeprecateAt=soon)["Return"], True)
    text = ec2.describe_images(ImageIds=[image])["Images"][0]["DeprecationTime"]
    at = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    check("deprecation", (abs((at - soon).total_seconds()) <= 31, at.second), (True, 0))
    past = datetime.datetime(2020, 1, 1)
    refused("InvalidParameterValue", ec2.enable_image_deprecation, 400, ImageId=image, DeprecateAt=past)
    refused("InvalidParameterValue", ec2.enable_image_deprecation, 400, ImageId=image, DeprecateAt=soon + datetime.timedelta(days=3700))


def copying(ec2, image, snapshot):
    west = client("ec2", "us-west-2")
    names = [region["RegionName"] for region in ec2.describe_regions()["Regions"]]
    check("regions", {"us-east-1", "us-west-2"} <= set(names), True)
    check("region", ec2.describe_regions(RegionNames=["eu-west-1"])["Regions"][0]["RegionName"], "eu-west-1")
    refused("InvalidParameterValue", ec2.describe_regions, 400, RegionNames=["moon-1"])
    refused("InvalidAMIID.NotFound", west.describe_images, 400, ImageIds=[image])
    ask = dict(
        Name="copied", SourceImageId=image, SourceRegion="us-east-1", ClientToken="t", CopyImageTags=True,
        TagSpecifications=[{"ResourceType": kind, "Tags": [{"Key": "of", "Value": kind}]} for kind in ("image", "snapshot")],
    )
    refused("DryRunOperation", west.copy_image, 412, DryRun=True, **ask)
    copied = west.copy_image(**ask)["ImageId"]
    check("same token", west.copy_image(**ask)["ImageId"], copied)
    refused("IdempotentParameterMismatch", west.copy_image, 400, **(ask | {"Name": "other"}))
    refused("InvalidAMIName.Duplicate", west.copy_image, 400, **(ask | {"ClientToken": "u"}))
    refused("InvalidAMIID.NotFound", west.copy_image, 400, **(ask | {"ClientToken": "v", "Name": "xyz", "SourceImageId": "ami-0123456789abcdef0"}))
    check("pending", west.describe_images(ImageIds=[copied])["Images"][0]["State"], "pending")
    west.get_waiter("image_available").wait(ImageIds=[copied], WaiterConfig={"Delay": 1})
    found = west.describe_images(ImageIds=[copied])["Images"][0]
    tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
    check("tags", tags, {"of": "image", "k": "v", "later": "<&>\n"})
    check("source", (found["SourceImageId"], found["SourceImageRegion"], found["BootMode"]), (image, "us-east-1", "uefi"))
    its = found["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    check("snapshot tags", west.describe_snapshots(SnapshotIds=[its])["Snapshots"][0]["Tags"], [{"Key": "of", "Value": "snapshot"}])
    there = read_all(client("ebs", "us-west-2"), its)[0]
    check("same content", there == read_all(client("ebs"), snapshot)[0], True)
    faults({"op": "CopyImage", "region": "us-west-2", "do": "fail-completion"})
    failed = west.copy_image(**(ask | {"ClientToken": "w", "Name": "fails"}))["ImageId"]
    faults({"op": "CopyImage", "region": "us-west-2", "do": "throttle"})
    refused("RequestLimitExceeded", west.copy_image, 503, **(ask | {"ClientToken": "x", "Name": "later"}))
    refused("DryRunOperation", ec2.copy_image, 412, DryRun=True, **(ask | {"Name": "here"}))
    faults()
    time.sleep(0.3)
    check("failed", west.describe_images(ImageIds=[failed])["Images"][0]["State"], "failed")
    west.deregister_image(ImageId=failed, DeleteAssociatedSnapshots=True)
    alone = west.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot, Encrypted=True)["SnapshotId"]
    check("copied snapshot", (finished(west, alone)["State"], finished(west, alone)["Encrypted"]), ("completed", True))
    west.delete_snapshot(SnapshotId=alone)
    result = west.deregister_image(ImageId=copied, DeleteAssociatedSnapshots=True)
    check("deregistered", result["DeleteSnapshotResults"], [{"SnapshotId": its, "ReturnCode": "success"}])
    refused("InvalidSnapshot.NotFound", west.describe_snapshots, 400, SnapshotIds=[its])


def parameters(image):
    ssm = client("ssm")
    check("first", ssm.put_parameter(Name="/ami/latest", Value=image, Type="String", DataType="aws:ec2:image")["Version"], 1)
    refused("ParameterAlreadyExists", ssm.put_parameter, 400, Name="/ami/latest", Value=image, Type="String")
    check("second", ssm.put_parameter(Name="/ami/latest", Value=image, Overwrite=True)["Version"], 2)
    check("get", ssm.get_parameter(Name="/ami/latest")["Parameter"]["Value"], image)
    refused("ValidationException", ssm.put_parameter, 400, Name="new", Value="v")
    refused("ValidationException", ssm.put_parameter, 400, Name="a b", Value="v", Type="String")
    refused("ValidationException", ssm.put_parameter, 400, Name="/aws/x", Value="v", Type="String")
    refused("ValidationException", ssm.put_parameter, 400, Name="x", Value="nonsense", Type="String", DataType="aws:ec2:image")
    ssm.put_parameter(Name="gone", Value="ami-0123456789abcdef0", Type="String", DataType="aws:ec2:image")
    refused("ParameterNotFound", ssm.get_parameter, 400, Name="gone")
    configure(denied=["ssm:PutParameter"])
    refused("AccessDeniedException", ssm.put_parameter, 400, Name="x", Value="v", Type="String")
    configure(denied=[])
    check("account", client("sts").get_caller_identity()["Account"], "123456789012")


def misbehaving(ebs, ec2):
    """The script of faults, and that boto3's own retries get through those that pass."""
    patient = client("ebs", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))
    data = block("f")
    snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    op = {"op": "PutSnapshotBlock", "tries": 1}
    for what, code, status, reason in [
        ("throttle", "ThrottlingException", 400, None),
        ("throttle-snapshot", "RequestThrottledException", 400, "RESOURCE_LEVEL_THROTTLE"),
        ("throttle-account", "RequestThrottledException", 400, "ACCOUNT_THROTTLED"),
        ("internal-error", "InternalServerException", 500, None),
        ("not-found", "ResourceNotFoundException", 404, "SNAPSHOT_NOT_FOUND"),
        ("access-denied", "AccessDeniedException", 403, None),
        ("account-denied", "AccessDeniedException", 403, "UNAUTHORIZED_ACCOUNT"),
        ("kms-denied", "AccessDeniedException", 403, "DEPENDENCY_ACCESS_DENIED"),
        ("quota", "ServiceQuotaExceededException", 402, "DEPENDENCY_SERVICE_QUOTA_EXCEEDED"),
        ("validation", "ValidationException", 400, "INVALID_PARAMETER_VALUE"),
        ("expired-token", "ExpiredTokenException", 403, None),
    ]:
        faults(op | {"do": what})
        refused(code, lambda: put(ebs, snapshot, 0, data), status, reason)
        put(ebs, snapshot, 0, data)
    for fault in ("throttle", "throttle-snapshot", "internal-error", "unavailable"):
        faults(op | {"do": fault})
        put(patient, snapshot, 1, data)
    for at in ("request", "response", "applied", "body"):
        faults(op | {"do": "drop", "at": at})
        put(patient, snapshot, 2, data)
    for at in ("request", "response", "body"):
        faults(op | {"do": "stall", "at": at, "seconds": 0.5})
        begun = time.time()
        put(ebs, snapshot, 3, data)
        check(f"stall {at}", time.time() - begun >= 0.5, True)
    faults({"op": "PutSnapshotBlock", "do": "delay", "min_ms": 100, "max_ms": 300})
    begun = time.time()
    put(ebs, snapshot, 3, data)
    check("delay", time.time() - begun >= 0.1, True)
    faults({"op": "PutSnapshotBlock", "do": "error", "status": 418, "code": "Teapot", "message": "short"})
    refused("Teapot", lambda: put(ebs, snapshot, 3, data), 418)
    faults({"op": "StartSnapshot", "do": "pending-quota"})
    refused("ConcurrentLimitExceededException", ebs.start_snapshot, 400, VolumeSize=1)
    faults({"op": "*", "do": "throttle"})
    refused("RequestLimitExceeded", ec2.describe_regions, 503)
    faults({"op": "CompleteSnapshot", "do": "slow-completion", "ms": 700}, {"op": "DescribeSnapshots", "since": "snapshot-complete", "within_ms": 300, "do": "not-found"})
    complete(ebs, snapshot, {index: data for index in range(4)})
    time.sleep(0.4)
    check("slow", ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"], "pending")
    time.sleep(0.35)
    refused("InvalidSnapshot.NotFound", ec2.describe_snapshots, 400, SnapshotIds=[snapshot])
    time.sleep(0.35)
    check("done", ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"], "completed")
    faults({"op": "CompleteSnapshot", "do": "fail-completion"})
    bad = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    complete(ebs, bad, {})
    check("fails", finished(ec2, bad)["State"], "error")
    faults({"op": "PutSnapshotBlock", "nth": 2, "do": "snapshot-error"})
    worse = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    put(ebs, worse, 0, data)
    refused("ValidationException", lambda: put(ebs, worse, 1, data), 400, "INVALID_SNAPSHOT_ID")
    check("error", finished(ec2, worse)["State"], "error")
    faults()
    configure(minute_ms=20)
    late = ebs.start_snapshot(VolumeSize=1, Timeout=10)["SnapshotId"]
    time.sleep(0.3)
    check("timeout", ec2.describe_snapshots(SnapshotIds=[late])["Snapshots"][0]["State"], "error")
    configure(minute_ms=60000)
    for id in (snapshot, bad, worse, late):
        ec2.delete_snapshot(SnapshotId=id)


def main():
    ebs, ec2 = client("ebs"), client("ec2")
    signatures()
    start(ebs, ec2)
    encryption(ebs, ec2)
    snapshot, blocks = writing(ebs, ec2)
    reading(ebs, ec2, snapshot, blocks)
    image = registering(ebs, ec2, snapshot)
    sharing(ebs, ec2, image, snapshot)
    copying(ec2, image, snapshot)
    parameters(image)
    misbehaving(ebs, ec2)
    ec2.deregister_image(ImageId=image)
    ec2.delete_snapshot(SnapshotId=snapshot)
    print(f"ok {checks}")


main()
