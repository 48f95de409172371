"""The categorical autoencoder: it learns as with torch's own function, and a sampler that is none is noticed."""

import importlib.util
from pathlib import Path

import pytest

INSTALL = 'pip install -e ".[examples,examples-torch]"'
torch = pytest.importorskip("torch", reason=INSTALL)
pytest.importorskip("sklearn", reason=INSTALL)

from click.testing import CliRunner  # noqa: E402

EXAMPLES = Path(__file__).parents[1] / "examples"
STEPS = 500
MEAN_IMAGE = 27.0  # nats: about what is held out costs where the code tells nothing


@pytest.fixture(scope="module")
def vae():
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("vae", EXAMPLES / "vae.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_learns_as_with_torchs(vae):
    runs = {name: vae.train(sample, 0, STEPS) for name, sample in vae.samplers().items()}
    for run in runs.values():
        print(run.curve[0], run.curve[-1], run.held_out)
        assert run.curve[0] > 40
        assert sum(run.curve[-50:]) / 50 < 25.5
        assert run.held_out < MEAN_IMAGE - 0.5
    assert abs(runs["numgumbel"].held_out - runs["torch"].held_out) < 0.5


@pytest.mark.parametrize("estimator", ["st", "gumbel_rao", "gapped", "reinmax"])
def test_hard_samples_with_every_estimator(vae, estimator):
    run = vae.train(vae.samplers(hard=True, estimator=estimator)["numgumbel"], 0, STEPS)
    print(run.held_out)
    assert run.held_out < MEAN_IMAGE - 0.5


def test_what_is_no_sampler_is_noticed(vae):
    """Without noise codes say more than categories can, and with somebody else's nothing; both cost on held-out images."""

    def shuffled(logits, tau):
        codes = vae.gumbel_softmax(logits, tau)
        return codes[torch.randperm(len(codes))]

    for sample in (lambda logits, tau: (logits / tau).softmax(-1), shuffled):
        run = vae.train(sample, 0, STEPS)
        print(run.held_out)
        assert run.held_out > MEAN_IMAGE - 0.2


def test_seeds_decide(vae):
    sample = vae.samplers()["numgumbel"]
    first, again, other = (vae.train(sample, seed, 5).curve for seed in (1, 1, 2))
    assert first == again != other


def test_it_prints_and_draws(vae, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib", reason=INSTALL)
    monkeypatch.syspath_prepend(EXAMPLES)
    done = CliRunner().invoke(vae.main, ["--seeds", "2", "--steps", "20", "--picture", str(tmp_path / "vae.png")])
    assert done.exit_code == 0, done.output
    assert "numgumbel's less torch's" in done.output
    assert (tmp_path / "vae.png").read_bytes().startswith(b"\x89PNG")
    done = CliRunner().invoke(vae.main, ["--estimator", "reinmax"])
    assert done.exit_code == 2
    assert "goes with --hard" in done.output


def test_the_verdict(vae):
    """Losses that differ by more than seeds do are told apart from those that do not."""

    def of(*losses):
        return [vae.Run(None, [], loss) for loss in losses]

    off, error = vae.difference({"torch": of(24.8, 25.0, 25.2), "numgumbel": of(24.9, 25.0, 25.1)})
    assert abs(off) < error
    off, error = vae.difference({"torch": of(24.8, 25.0, 25.2), "numgumbel": of(25.9, 26.0, 26.1)})
    assert off > 3 * error
