"""An object store that speaks S3, for as long as standard input is open. Argument: the name of a bucket, which is made.

Its first line says where it listens. Then each line that it reads is answered by one: `list` by the keys of all objects
as a JSON list, `uploads` by the number of uploads that were begun and not completed.
"""

import json
import sys

import boto3
from moto.server import ThreadedMotoServer

bucket = sys.argv[1]
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://{host}:{port}"
client = boto3.client(
    "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
)
client.create_bucket(Bucket=bucket)
print(endpoint, flush=True)
for line in sys.stdin:
    if line.strip() == "list":
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        answer = [item["Key"] for page in pages for item in page.get("Contents", [])]
    else:
        answer = len(client.list_multipart_uploads(Bucket=bucket).get("Uploads", []))
    print(json.dumps(answer), flush=True)
server.stop()
