import dataclasses
import os
import shutil
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from hoiclip.contract.model_file import load_detector
from hoiclip.core import schema
from hoiclip.core.files import file_identity
from hoiclip.errors import InputError, NonFiniteLossError, ParamsError, StoppedError
from hoiclip.methods.gen_vlkt.build import build_gen_vlkt
from hoiclip.methods.hoiclip.build import build_hoiclip
from hoiclip.methods.registry import method_named
from hoiclip.resume import source_code
from hoiclip.resume.source_code import syntax_sha256
from hoiclip.resume.state_file import ACCEPT_CODE
from hoiclip.set_prediction import training
from hoiclip.training import trainer as trainer_module
from hoiclip.training.engine import Engine
from hoiclip.training.trainer import Trainer, weights_name

BUILDS = {"hoiclip": build_hoiclip, "gen_vlkt": build_gen_vlkt}


class Killed(Exception):
    """Stands for a process that ends at once."""


SMALL = {
    "device": "cpu", "threads": 1, "warm_start": False, "epochs": 2, "lr_drop_epoch": 1,
    "workers": 0, "batch_size": 4, "lr": 1e-3, "lr_backbone": 1e-4, "keep_every": 1,
}  # fmt: skip


class Training:
    """One call of `training.train`, whose trainer can be looked at and changed before it runs."""

    def __init__(self, build, params, paths, resume, log, monkeypatch):
        self.arguments = (build, params, paths)
        self.resume, self.log, self.monkeypatch = resume, log, monkeypatch
        self.trainer = None

    def run(self, out, change=lambda trainer: None):
        real = Trainer.run

        def run(trainer, folder):
            self.trainer = trainer
            change(trainer)
            return real(trainer, folder)

        with self.monkeypatch.context() as patched:
            patched.setattr(Trainer, "run", run)
            return training.train(*self.arguments, out, self.resume, self.log)

    def prepared(self):
        """The trainer, before its first step."""

        class ReadyError(Exception):
            pass

        def stop(trainer):
            raise ReadyError

        with pytest.raises(ReadyError):
            self.run(None, stop)
        return self.trainer


@pytest.fixture
def trainer(toy, params, model_config, tmp_path, monkeypatch):
    def make(
        folder="resume",
        log=lambda epoch, figures: None,
        paths=None,
        model=None,
        method="hoiclip",
        **changes,
    ):
        config = dataclasses.asdict(model or model_config)
        own = {key: config.pop(key) for key in ("interaction", "verb")}
        sections = {
            "model": config,
            "hoiclip": own | {"enhancement": params["hoiclip"]["enhancement"]},
            "gen_vlkt": params["gen_vlkt"],
            "train": params["train"] | SMALL | changes,
        }
        file = tmp_path / f"params {len(list(tmp_path.iterdir()))}.yaml"
        file.write_text(yaml.safe_dump(sections))
        return Training(
            BUILDS[method], file, paths or toy.paths, tmp_path / folder, log, monkeypatch
        )

    return make


def test_a_batch_larger_than_the_training_images_is_refused(trainer):
    """Of it no step would come."""
    trainer(batch_size=8).prepared()
    with pytest.raises(ParamsError, match=r"^train\.batch_size: 9, but .* has 8 images to learn"):
        trainer(batch_size=9).prepared()


def weights_in(folder):
    return load_file(folder / "model.safetensors")


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def history(folder, name):
    table = pq.read_table(folder / "history.parquet")
    rows = zip(*(table[key].to_pylist() for key in ("step", "name", "value")), strict=True)
    return [(step, value) for step, found, value in rows if found == name]


def test_the_loss_falls_on_a_few_images(trainer, model_config, params, tmp_path):
    no_dropout = dataclasses.replace(
        model_config,
        detector=dataclasses.replace(model_config.detector, dropout=0.0),
        interaction=dataclasses.replace(model_config.interaction, dropout=0.0),
    )
    trainer(
        model=no_dropout, epochs=25, lr_drop_epoch=25, keep_every=0, lr=3e-3, lr_backbone=1e-3,
        transforms=params["train"]["transforms"] | {"flip": 0.0},
    ).run(tmp_path / "out")  # fmt: skip
    losses = [value for _, value in history(tmp_path / "out", "epoch/loss/total")]
    assert len(losses) == 25
    assert losses[-1] < 0.8 * losses[0]
    assert losses[-1] < min(losses[:3])


def test_outputs_say_what_was_done(trainer, tmp_path):
    seen = []
    out = tmp_path / "out"
    made = trainer(log=lambda epoch, figures: seen.append((epoch, figures)))
    summary = made.run(out)
    assert {key: summary[key] for key in ("steps", "threads", "device")} == {
        "steps": 4, "threads": 1, "device": "cpu",
    }  # fmt: skip  # 8 images, batches of 4, 2 epochs
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert [figures["lr"] for _, figures in seen] == pytest.approx([1e-3, 1e-4])
    assert {"loss/hoi", "loss/total"} <= set(seen[0][1])
    steps = [step for step, _ in history(out, "epoch/loss/total")]
    assert steps == [2, 4]
    detector = load_detector(out / "model.safetensors", method_named)
    assert {key: detector.provenance[key] for key in ("epoch", "steps")} == {"epoch": 2, "steps": 4}
    assert detector.provenance["training"]["method"] == "hoiclip"
    made_on = detector.provenance["made_on"]
    assert made_on["processes"] == made_on["threads"] == 1
    assert made_on["device"] == torch.backends.cpu.get_cpu_capability()
    assert "workers" not in detector.provenance["training"]["optimization"]
    assert detector.image_file_transforms.test_scale == 128
    last = load_file(out / "weights" / weights_name(2))
    assert_equal_weights(last, dict(detector.method.network.state_dict()))


@pytest.mark.parametrize(("keep_every", "kept"), [(0, [3]), (1, [1, 2, 3]), (2, [2, 3])])
def test_weights_are_kept_of_the_epochs_asked_for_and_of_the_last(
    trainer, tmp_path, keep_every, kept
):
    snapshots = {}

    def log(epoch, _figures):
        state = made.trainer.network.state_dict()
        snapshots[epoch] = {name: tensor.clone() for name, tensor in state.items()}

    made = trainer(log=log, epochs=3, keep_every=keep_every)
    made.run(tmp_path / "out")
    files = sorted((tmp_path / "out/weights").iterdir())
    assert [file.name for file in files] == [weights_name(epoch) for epoch in kept]
    for file, epoch in zip(files, kept, strict=True):
        assert_equal_weights(load_file(file), snapshots[epoch])


@pytest.mark.parametrize("method", BUILDS)
def test_equal_seeds_give_equal_weights_and_others_do_not(trainer, tmp_path, method):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        made = trainer(folder=f"resume {name}", method=method, seed=seed, epochs=1)
        made.run(tmp_path / name)
    assert bool(history(tmp_path / "a", "epoch/loss/mimic")) == (method == "gen_vlkt")
    first, second, third = (weights_in(tmp_path / name) for name in "abc")
    assert_equal_weights(first, second)
    name = "model.instance_decoder.human_queries.weight"
    assert not torch.equal(first[name], third[name])


@pytest.mark.parametrize("method", BUILDS)
def test_going_on_after_a_kill_equals_never_having_stopped(trainer, tmp_path, monkeypatch, method):
    changes = {"epochs": 3, "lr_drop_epoch": 2, "method": method}
    whole, parts, steps = [], [], []
    real = Engine.step
    monkeypatch.setattr(Engine, "step", lambda self, *rest: (steps.append(1), real(self, *rest))[1])
    trainer(log=lambda *record: whole.append(record), **changes).run(tmp_path / "whole")

    def killed_after_the_first(epoch, figures):
        parts.append((epoch, figures))
        raise Killed

    interrupted = trainer("parts", killed_after_the_first, **changes)
    with pytest.raises(Killed):
        interrupted.run(tmp_path / "parts out")
    assert not (tmp_path / "parts out").exists()
    parts.clear()  # what the killed process logged is gone with it
    steps.clear()
    trainer("parts", lambda *record: parts.append(record), **changes).run(tmp_path / "parts out")

    assert len(steps) == 4  # two epochs of two batches: the first is not repeated
    assert_equal_weights(weights_in(tmp_path / "whole"), weights_in(tmp_path / "parts out"))
    assert parts == whole
    for epoch in (1, 2, 3):
        files = [
            tmp_path / name / "weights" / weights_name(epoch) for name in ("whole", "parts out")
        ]
        assert files[0].read_bytes() == files[1].read_bytes()
    files = [tmp_path / name / "history.parquet" for name in ("whole", "parts out")]
    assert pq.read_table(files[0]).equals(pq.read_table(files[1]))
    assert not any((tmp_path / "parts").iterdir())


@pytest.fixture
def interrupted(trainer, tmp_path):
    """Two of three epochs were trained: state file, trainer, and a function that goes on."""

    def killed_after_the_second(epoch, figures):
        if epoch == 2:
            raise Killed

    changes = {"epochs": 3, "lr_drop_epoch": 2}
    first = trainer(log=killed_after_the_second, **changes)
    with pytest.raises(Killed):
        first.run(tmp_path / "out")
    folder = first.trainer.resume.folder

    def go_on():
        def never(*_):
            raise AssertionError("an epoch was trained")

        with pytest.raises(InputError) as info:
            trainer(log=never, **changes).run(
                tmp_path / "out", lambda made: setattr(made, "_epoch", never)
            )
        assert not (tmp_path / "out").exists()
        said = str(info.value)
        assert said.startswith(str(folder / "state.pt"))
        assert f"Delete {folder} to start" in said
        return said

    return folder / "state.pt", first.trainer, go_on


def test_a_damaged_state_is_refused_before_an_epoch_is_trained(interrupted):
    path, _, go_on = interrupted
    whole = path.read_bytes()
    for data in (
        whole[:-1],
        whole[:3],
        b"",
        whole[:9999] + bytes([whole[9999] ^ 4]) + whole[10000:],
    ):
        path.write_bytes(data)
        path.with_name("older.pt").write_bytes(data)
        assert "damaged" in go_on()


def test_a_state_of_before_there_were_versions_is_refused(interrupted):
    path, _, go_on = interrupted
    torch.save({"progress": {}, "model": {}}, path)
    (path.parent / "best.pt").touch()
    assert "of version 1" in go_on()


def test_a_state_without_the_weights_of_an_epoch_is_refused(interrupted):
    path, _, go_on = interrupted
    (path.parent / weights_name(1)).unlink()
    assert f"lacks {weights_name(1)}" in go_on()


@pytest.mark.parametrize("part", ["model", "optimizer", "progress", "losses"])
def test_a_state_that_does_not_fit_the_model_is_refused(interrupted, part):
    _, first, go_on = interrupted
    state = first.resume._file.load()
    name = "instance_decoder.human_queries.weight"
    if part == "model":
        state["model"][name] = state["model"][name][:-1]
    elif part == "optimizer":
        moments = state["optimizer"]["state"][5]
        moments["exp_avg"] = moments["exp_avg"].flatten()[:1]
    elif part == "progress":
        state["progress"]["steps"] = state["progress"].pop("step")
    else:
        state["progress"]["sums"] = {"loss/hoi": "much"}
    first.resume._file.save(state)
    said = go_on()
    assert ("a loss that is no number" if part == "losses" else "does not fit this model") in said


def test_a_kill_within_an_epoch_repeats_that_epoch(trainer, tmp_path, monkeypatch):
    trainer().run(tmp_path / "whole")
    real = Engine.step

    def killed_at_step_four(self, parts, number):
        if number == 3:
            raise Killed
        return real(self, parts, number)

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "step", killed_at_step_four)
        with pytest.raises(Killed):
            trainer("parts").run(tmp_path / "parts out")
    trainer("parts").run(tmp_path / "parts out")
    assert_equal_weights(weights_in(tmp_path / "whole"), weights_in(tmp_path / "parts out"))


def test_a_training_that_is_told_to_stop_goes_on_from_that_step(trainer, tmp_path, capfd):
    """SIGTERM after the third of six steps, in the middle of an epoch."""
    changes = {"epochs": 3, "lr_drop_epoch": 2, "batch_size": 4}
    trainer(**changes).run(tmp_path / "whole")

    def told(made):
        real = made.method.training_step
        calls = []

        def step(*arguments):
            calls.append(1)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return real(*arguments)

        made.method.training_step = step

    with pytest.raises(StoppedError, match="told to stop after step 3; run it again"):
        trainer("parts", **changes).run(tmp_path / "parts out", told)
    assert not (tmp_path / "parts out").exists()
    trainer("parts", **changes).run(tmp_path / "parts out")
    assert "going on after epoch 1 of 3 and 1 steps" in capfd.readouterr().err
    assert_equal_weights(weights_in(tmp_path / "whole"), weights_in(tmp_path / "parts out"))
    files = [tmp_path / name / "history.parquet" for name in ("whole", "parts out")]
    assert pq.read_table(files[0]).equals(pq.read_table(files[1]))


def test_a_state_is_saved_now_and_then(trainer, tmp_path, monkeypatch):
    """With no time between saves one follows every step at which losses are read."""
    monkeypatch.setenv("HOICLIP_SAVE_MINUTES", "0")
    monkeypatch.setattr(trainer_module, "STEPS_PER_RECORD", 1)
    trainer().run(tmp_path / "whole")
    real = Engine.step

    def killed_at_step_four(self, parts, number):
        if number == 3:
            raise Killed
        return real(self, parts, number)

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "step", killed_at_step_four)
        with pytest.raises(Killed):
            trainer("parts").run(tmp_path / "parts out")
    steps = []
    counted = lambda self, *rest: (steps.append(1), real(self, *rest))[1]  # noqa: E731
    monkeypatch.setattr(Engine, "step", counted)
    trainer("parts").run(tmp_path / "parts out")
    assert len(steps) == 1
    assert_equal_weights(weights_in(tmp_path / "whole"), weights_in(tmp_path / "parts out"))


def test_a_damaged_newest_state_falls_back_to_the_older(interrupted, trainer, tmp_path, capfd):
    path, _, _ = interrupted
    path.write_bytes(path.read_bytes()[:-1])
    trainer(epochs=3, lr_drop_epoch=2).run(tmp_path / "out")
    said = capfd.readouterr().err
    assert (
        "damaged: it does not hold the bytes that were written; taken is the state before" in said
    )
    assert "going on after epoch 1 of 3" in said
    trainer("whole", epochs=3, lr_drop_epoch=2).run(tmp_path / "whole out")
    assert_equal_weights(weights_in(tmp_path / "whole out"), weights_in(tmp_path / "out"))


@pytest.mark.parametrize("said", ["many", "-1", "nan", "inf"])
def test_minutes_between_saves_that_are_none_are_refused(trainer, tmp_path, monkeypatch, said):
    monkeypatch.setenv("HOICLIP_SAVE_MINUTES", said)
    with pytest.raises(ParamsError, match=f"HOICLIP_SAVE_MINUTES: '{said}'"):
        trainer().run(tmp_path / "out")


def test_a_loss_that_is_not_finite_is_named_and_changes_nothing(trainer, tmp_path):
    calls = []

    def fourth_is_infinite(made):
        real = made.method.training_step

        def step(batch, features, counts):
            calls.append(1)
            losses = real(batch, features, counts)
            return losses if len(calls) < 4 else losses | {"l1": losses["l1"] * float("inf")}

        made.method.training_step = step

    with pytest.raises(NonFiniteLossError, match=r"epoch 2, step 4: .*toy_train_\d+\.jpg") as info:
        trainer().run(tmp_path / "out", fourth_is_infinite)
    assert "\n" not in str(info.value)
    assert str(info.value).endswith(". Lower train.lr or train.clip_norm")
    assert not (tmp_path / "out").exists()


def test_weights_that_became_nan_are_reported_as_such(trainer, tmp_path):
    def damage(made):
        made.network.logit_scale.data.fill_(float("nan"))

    with pytest.raises(NonFiniteLossError, match="epoch 1, step 1: "):
        trainer().run(tmp_path / "out", damage)


def test_compiled_modules_do_not_decide_the_result(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "a.py").touch()
    before = file_identity([tmp_path])
    (tmp_path / "__pycache__/a.cpython-311.pyc").touch()
    assert file_identity([tmp_path]) == before
    (tmp_path / "a.py").write_text("x = 1")
    assert file_identity([tmp_path]) != before


def test_whatever_decides_the_result_has_a_resume_folder_of_its_own(trainer, toy, tmp_path):
    folder = trainer().prepared().resume.folder
    assert trainer().prepared().resume.folder == folder
    assert trainer(lr=2e-3).prepared().resume.folder != folder
    assert trainer(seed=1).prepared().resume.folder != folder
    copy = tmp_path / "verbs.parquet"
    shutil.copy(toy.paths.text_embeddings, copy)
    changed = dataclasses.replace(toy.paths, text_embeddings=copy)
    assert trainer(paths=changed).prepared().resume.folder != folder


def test_how_it_is_worked_is_no_part_of_a_training(trainer):
    first, second = trainer(workers=1, threads=2).prepared(), trainer().prepared()
    assert first.resume.folder == second.resume.folder


@pytest.fixture
def one_epoch_of_two(trainer, tmp_path, monkeypatch):
    """One of two epochs was trained; a function that goes on and gives how many steps it did."""

    def killed(epoch, figures):
        raise Killed

    with pytest.raises(Killed):
        trainer(log=killed).run(tmp_path / "out")

    def go_on(**changes):
        steps = []

        with monkeypatch.context() as patched:
            real = Engine.step
            counted = lambda self, *rest: (steps.append(1), real(self, *rest))[1]  # noqa: E731
            patched.setattr(Engine, "step", counted)
            trainer(**changes).run(tmp_path / "out")
        return len(steps)

    return go_on


def changed_criterion(source: bytes) -> str:
    """A hash of each module's syntax tree, as if the criterion said something else."""
    return syntax_sha256(source + b"\nSIDE = 3" * (b"class Criterion(nn.Module)" in source))


def test_changed_code_starts_a_training_anew(one_epoch_of_two, monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(source_code, "syntax_sha256", changed_criterion)
    assert one_epoch_of_two() == 4
    assert "changed since: hoiclip/set_prediction/criterion.py. " in capfd.readouterr().err
    assert (
        "accepted_code"
        not in load_detector(tmp_path / "out/model.safetensors", method_named).provenance
    )


def test_a_model_trained_over_a_change_of_code_says_so(one_epoch_of_two, monkeypatch, tmp_path):
    monkeypatch.setattr(source_code, "syntax_sha256", changed_criterion)
    monkeypatch.setenv(ACCEPT_CODE, "1")
    assert one_epoch_of_two() == 2
    provenance = load_detector(tmp_path / "out/model.safetensors", method_named).provenance
    assert provenance["accepted_code"] == ["hoiclip/set_prediction/criterion.py"]


def test_a_model_says_of_which_changed_code_its_caches_are(trainer, toy, tmp_path):
    """By each cache, beside what the training itself went on over; without any, nothing."""
    trainer(epochs=1).run(tmp_path / "plain")
    plain = load_detector(tmp_path / "plain/model.safetensors", method_named).provenance
    assert not {"accepted_code", "accepted_code_of_inputs"} & set(plain)
    vectors, files = tmp_path / "vectors.parquet", ["hoiclip/verb_vectors/crops.py"]
    table = schema.read_table(toy.paths.verb_vectors)
    schema.write_table(vectors, table, table.schema, {"accepted_code": files})
    paths = dataclasses.replace(toy.paths, verb_vectors=vectors)
    trainer(epochs=1, paths=paths).run(tmp_path / "said")
    said = load_detector(tmp_path / "said/model.safetensors", method_named).provenance
    assert said == plain | {"accepted_code_of_inputs": {str(vectors): files}}


def test_a_training_goes_on_with_other_workers(one_epoch_of_two):
    assert one_epoch_of_two(workers=1) == 2


def test_a_training_with_another_rate_says_what_is_other(one_epoch_of_two, capfd):
    assert one_epoch_of_two(lr=2e-3) == 4
    assert "state.pt is of other work: optimization.lr 0.002, was 0.001\n" in capfd.readouterr().err


def test_warm_start_is_a_choice(trainer, toy):
    name = "transformer.encoder.layers.0.linear1.weight"
    for warm in (True, False):
        encoder = trainer(warm_start=warm).prepared().network.encoder.transformer
        same = torch.equal(encoder.layers[0].linear1.weight, toy.detr[name])
        assert same == warm


def test_unseen_classes_reach_the_criterion(trainer, toy, tmp_path):
    seen = np.ones(toy.vocabulary.num_hois, bool)
    seen[[2, 5]] = False
    path = tmp_path / "classes.parquet"
    table = toy.classes.set_column(3, schema.CLASSES.field("seen"), [seen])
    schema.write_table(path, table, schema.CLASSES, {})
    made = trainer(paths=dataclasses.replace(toy.paths, classes=path)).prepared()
    assert torch.equal(made.method.criterion.seen, torch.from_numpy(seen))
