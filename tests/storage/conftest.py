"""A server that speaks S3, on this machine, with an empty bucket."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from harness.storage import open_folder

NOT_OURS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
SERVER = """
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
input()
"""


@pytest.fixture(scope="session")
def endpoint():
    """Its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


@pytest.fixture
def bucket(endpoint, monkeypatch, request):
    """The URL of a bucket for this test alone; this process and those that it starts find the server."""
    for name in NOT_OURS:
        monkeypatch.delenv(name, raising=False)
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{os.getpid()}-{abs(hash(request.node.nodeid))}"
    open_folder(f"s3://{name}").fs.mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def results(bucket):
    """A folder of results in it, where nothing is yet."""
    return open_folder(f"{bucket}/results")


@pytest.fixture
def make_remote_job(make_job, results):
    """A function from changed fields of a run to a job whose results lie in the bucket."""
    return lambda *args, **changes: replace(make_job(*args, **changes), results=results)
