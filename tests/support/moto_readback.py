"""moto_readback.py SNAPSHOT IMAGE OUT: reads a snapshot through boto3 into a file, and finds the image by its id.

Prints the number of blocks. Used with moto, whose answers aren't sorted and name blocks of 512 bytes.
"""

import hashlib
import base64
import os
import sys

import boto3

BLOCK = 512 << 10


def main():
    snapshot, image, out = sys.argv[1:]
    images = boto3.client("ec2").describe_images(ImageIds=[image])["Images"]
    assert [found["Name"] for found in images] == ["one"], images
    ebs = boto3.client("ebs")
    page = ebs.list_snapshot_blocks(SnapshotId=snapshot)
    assert "NextToken" not in page, page
    with open(out, "wb") as file:
        for block in page["Blocks"]:
            answer = ebs.get_snapshot_block(
                SnapshotId=snapshot, BlockIndex=block["BlockIndex"], BlockToken=block["BlockToken"]
            )
            data = answer["BlockData"].read()
            assert len(data) == BLOCK, (block, len(data))
            assert base64.b64encode(hashlib.sha256(data).digest()).decode() == answer["Checksum"], block
            os.pwrite(file.fileno(), data, block["BlockIndex"] * BLOCK)
        file.truncate(page["VolumeSize"] << 30)
    print(len(page["Blocks"]))


main()
