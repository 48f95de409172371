"""What tests of commands share."""

import pytest


@pytest.fixture
def command_line(capsys, monkeypatch):
    """Run ``numgumbel`` in 80 columns: (exit code, standard output, standard error)."""
    from numgumbel import cli

    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
