"""``stanchion train``: mistakes end in one line, before anything slow is loaded."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from stanchion import GuardStack, load_guard, registry
from stanchion.cli.app import app

RECIPES = registry.names("recipes")
LEAST = {  # still less than the tiny presets: that the command goes all the way is the point
    "esd": {"steps": 1},
    "forceforget": {"iterations": 1},
    "monitor": {"named": 4, "harmless": 4},
    "patronus_hardening": {"align_steps": 1, "harden_steps": 1},
    "patronus_moderator": {"early_steps": 1, "steps": 1},
    "steerdiff": {"epochs": 1},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny.pipeline().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trasce", "--concept", "weapons"), "unknown recipe 'trasce'"),
        (("nothing", "--concept", "weapons"), "unknown recipe 'nothing'"),
        *(((recipe, "--concept", "wepons"), "no concept and no YAML file") for recipe in RECIPES[:1]),
        *(((recipe, "--concept", "weapons", "--set", "steps"), "write KEY=VALUE") for recipe in RECIPES[:1]),
    ],
)
def test_wrong_names_are_one_line_with_code_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, ["train", *arguments, "--output", str(tmp_path / "guard"), "--model", "nowhere/x"])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "guard").exists()


@pytest.mark.parametrize("key", ["seed", "preset", "concept", "folder", "workers", "name", "pipeline"])
def test_a_setting_that_is_called_like_an_argument_is_unknown_before_a_model_is_loaded(
    tmp_path: Path, key: str
) -> None:
    command = ["train", "uce", "--concept", "weapons", "--model", "nowhere/x", "--output", str(tmp_path / "guard")]
    result = CliRunner().invoke(app, [*command, "--set", f"{key}=1"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"stanchion: uce: unknown key '{key}'")


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "defalt"), "unknown preset of {recipe} 'defalt'; did you mean default?"),
        (("--set", "no_such_setting=1"), "{recipe}: unknown key 'no_such_setting'"),
    ],
)
def test_unknown_presets_and_settings(
    model: str, tmp_path: Path, recipe: str, arguments: tuple[str, ...], message: str
) -> None:
    command = ["train", recipe, "--concept", "weapons", "--model", model, "--output", str(tmp_path / "guard")]
    result = CliRunner().invoke(app, [*command, *arguments])
    assert result.exit_code == 2
    assert message.format(recipe=recipe) in result.stderr
    assert not (tmp_path / "guard").exists()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_trained_guard_is_a_folder_that_generate_takes(model: str, tmp_path: Path, recipe: str) -> None:
    folder = str(tmp_path / "guard")
    command = ["train", recipe, "--concept", "weapons", "--model", model, "--output", folder, "--preset", "tiny"]
    settings = tiny.settings(recipe) if recipe == "weights_file" else LEAST.get(recipe, {})
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    trained = CliRunner().invoke(app, command)
    assert trained.exit_code == 0, trained.output
    assert {"config.json", "README.md"} <= {path.name for path in Path(folder).iterdir()}
    options = {"--guard": folder, "--model": model, "--judge": "always_safe", "--steps": "2", "--output": folder}
    drawn = CliRunner().invoke(app, ["generate", "a knife", *sum(options.items(), ())])
    assert drawn.exit_code == 0, drawn.output


def test_a_stack_is_trained_into_one_folder_with_one_card(model: str, tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    command = ["train", "recommended", "--concept", "weapons", "--model", model, "--output", str(folder)]
    mistake = CliRunner().invoke(app, [*command, "--set", "steerdiff.sfae=1"])
    assert mistake.exit_code == 2 and "steerdiff: unknown key 'sfae'" in mistake.stderr
    for recipe in ("steerdiff", "forceforget", "monitor"):
        for key, value in LEAST[recipe].items():
            command += ["--set", f"{recipe}.{key}={value}"]
    trained = CliRunner().invoke(app, [*command, "--preset", "tiny"])
    assert trained.exit_code == 0, trained.output
    stack = load_guard(folder)
    assert isinstance(stack, GuardStack)
    assert [guard.name for guard in stack.guards] == ["steerdiff", "forceforget", "monitor"]
    assert stack.guards[1].settings.when == "flagged_or_monitor"
    assert set(stack.guards[2].training["settings"]["guards"]) == {
        str(folder / "0-steerdiff"),
        str(folder / "1-forceforget"),
    }
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---") and "# steerdiff+forceforget+monitor against weapons" in card
    assert all(guard.training["seconds"] > 0 for guard in stack.guards)
