import io

from harness.data.progress import LineProgress, SilentProgress, show_progress


def test_lines_tell_start_quarters_and_end():
    stream = io.StringIO()
    progress = LineProgress(stream)
    for done in range(0, 1001, 10):
        progress.advance("file", done * 10_000, 10_000_000)
    assert stream.getvalue().splitlines() == [
        f"file: {percent} % of 10.0 MB" for percent in (0, 25, 50, 75, 100)
    ]


def test_lines_keep_pieces_of_work_apart():
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.advance("a", 0, 10)
    progress.message("hello")
    progress.advance("b", 0, 10)
    progress.advance("a", 1, 10)
    assert stream.getvalue() == "a: 0 % of 0.0 MB\nhello\nb: 0 % of 0.0 MB\n"


def test_an_unknown_size_is_said_once():
    stream = io.StringIO()
    progress = LineProgress(stream)
    for done in range(10):
        progress.advance("file", done, None)
    assert stream.getvalue() == "file: started, size not known yet\n"


def test_silence(capfd):
    progress = SilentProgress()
    progress.message("x")
    progress.advance("x", 1, 2)
    assert capfd.readouterr() == ("", "")


def test_a_pipe_gets_lines():
    stream = io.StringIO()
    with show_progress(stream) as progress:
        progress.message("[official] hello")
    assert stream.getvalue() == "[official] hello\n"


def test_standard_error_is_the_default(capsys):
    with show_progress() as progress:
        progress.message("hello")
    assert capsys.readouterr() == ("", "hello\n")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_bars_with_messages_above():
    stream = Terminal()
    with show_progress(stream) as progress:
        progress.advance("official: [archive]", 0, 1000)
        progress.message("[official] hello")
        progress.advance("official: [archive]", 1000, 1000)
        progress.advance("npm: of unknown size", 10, None)
    shown = stream.getvalue()
    assert "official: [archive]" in shown
    assert "[official] hello" in shown
    assert "npm: of unknown size" in shown
    assert "1.0/1.0 kB" in shown
