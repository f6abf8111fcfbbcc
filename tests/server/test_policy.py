"""The policy: one strict file, and a command that prints it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stanchion import ConfigError, GuardStack, config, load_guard
from stanchion.cli.app import app
from stanchion.server.policy import Policy, load_policy

RULE = "concepts: [{concept: weapons, guards: [picture_check], when: refuse}]\n"


def load(tmp_path, text):
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    return load_policy(file)


def test_without_a_file_the_model_in_the_box_is_guarded_before_and_behind():
    rules = [(rule.guards, rule.when) for rule in load_policy().concepts]
    assert rules == [(("steerdiff",), "steer"), (("picture_check",), "refuse")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concept: []\n", "did you mean concepts"),
        ("concepts: []\n", "one or more"),
        ("concepts: [{concept: weapons, guards: []}]\n", "one or more"),
        ("concepts: [{concept: weapons}]\n", "missing guards"),
        (RULE.replace("refuse", "forbid"), "one of 'steer'"),
        (RULE.replace("weapons", "wepons"), "built-in concepts"),
        (RULE.replace("picture_check", "picture_chek"), "did you mean picture_check"),
        (RULE.replace("when:", "settings: {trasce: {}}, when:"), "unknown guard 'trasce'"),
        (RULE + "limits: {queue: 0}\n", "1 or more"),
        (RULE + "limits: {queue: 2}\n", "the queue holds fewer"),
        (RULE + "limits: {seconds: 0}\n", "above 0"),
        (RULE + "steps: 101\n", "limits.steps"),
        (RULE + "keys: [{name: a, sha256: secret}]\n", "64 hex digits"),
        (RULE + f"keys: [{{name: a, sha256: {'0a' * 32}}}, {{name: a, sha256: {'0b' * 32}}}]\n", "the same name"),
        (RULE + "playground: {unguarded: true}\n", "is off"),
        (RULE + "limits: {sides: [512, 64]}\n", "sides are 512 and 64: the first is above the second"),
        (RULE + "limits: {sides: [17, 23]}\n", "sides are 17 and 23: no multiple of 8 lies between"),
        (RULE + "playground: {enabled: true, guarded: false}\n", "did you mean unguarded"),
        (RULE + RULE, "twice"),
    ],
)
def test_what_makes_no_sense_is_said_with_its_place(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as raised:
        load(tmp_path, text)
    assert "policy.yaml" in str(raised.value)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("guards: [steerdiff], settings: {steerdiff: {epsi: 0.2}}", "steerdiff: unknown key 'epsi'; did you mean eps"),
        ("guards: [steerdiff], settings: {steerdiff: {eps: 2}}", "steerdiff.eps is 2"),
        (
            "guards: [recommended], settings: {monitor: {release: 0.99}}",
            "monitor: release is 0.99, above the threshold",
        ),
        ("guards: [recommended], settings: {trasce: {}}", "settings: unknown guard 'trasce'"),
        ("guards: [recomended]", "unknown guard 'recomended'; did you mean recommended"),
        ("guards: [picture_check], settings: {picture_check: {judge: clipp}}", "unknown judge 'clipp'"),
        (
            "guards: [picture_check], settings: {picture_check: {judge_settings: {treshold: 1}}}",
            "judge reference: unknown setting 'treshold'",
        ),
        ("guards: [forceforget], settings: {forceforget: {tokens: 77}}", "forceforget: tokens is 77; give fewer"),
    ],
)
def test_what_a_rule_s_guards_do_not_take(tmp_path, rule, message):
    with pytest.raises(ConfigError, match=rf"policy\.yaml\.concepts\[1\]: {message}"):
        load(tmp_path, f"concepts: [{{concept: weapons, guards: [picture_check]}}, {{concept: weapons, {rule}}}]\n")


@pytest.mark.parametrize(
    ("guards", "message"),
    [
        ("esd", "guard 'esd' must be trained for a concept and a model: run 'stanchion train esd"),
        ("recommended", "forceforget and monitor must be trained for horror: run 'stanchion train recommended"),
    ],
)
def test_what_must_be_trained_first(tmp_path, guards, message):
    with pytest.raises(ConfigError, match=rf"policy\.yaml\.concepts\[0\]: .*{message}"):
        load(tmp_path, f"concepts: [{{concept: horror, guards: [{guards}]}}]\n")


def test_two_guards_of_two_rules_that_can_not_stand_together(tmp_path):
    text = "concepts: [{concept: weapons, guards: [trasce]}, {concept: ink, guards: [sld]}]\n"
    with pytest.raises(ConfigError, match=r"policy\.yaml\.concepts: trasce and sld both steer the trajectory"):
        load(tmp_path, text)
    with pytest.raises(ConfigError, match="no monitor watches for ink"):
        load(tmp_path, "concepts: [{concept: ink, guards: [forceforget], settings: {forceforget: {when: monitor}}}]\n")


def test_a_saved_guard_is_of_the_rule_s_concept_and_takes_its_settings(tmp_path):
    load_guard("trasce", concept="banana").save(tmp_path / "mine")
    GuardStack(load_guard("safree", concept="ink"), load_guard("sld", concept="ink")).save(tmp_path / "stack")
    rule = f"concepts: [{{concept: banana, guards: [{tmp_path / 'mine'}]}}]\n"
    assert load(tmp_path, rule).concepts[0].concept == "banana"
    with pytest.raises(ConfigError, match="a saved trasce was made against banana, and its rule is about weapons"):
        load(tmp_path, rule.replace("concept: banana", "concept: weapons"))
    with pytest.raises(ConfigError, match="a saved safree was made against ink"):
        load(tmp_path, rule.replace("mine", "stack"))
    with pytest.raises(ConfigError, match="trasce: unknown key 'lasy_tol'"):
        load(tmp_path, rule.replace("]}]", f"], settings: {{{tmp_path / 'mine'}: {{lasy_tol: 1}}}}}}]"))


def test_the_default_one_is_as_sound_as_a_file_of_it(tmp_path):
    assert load(tmp_path, config.dump(Policy())) == load_policy()


def test_a_stack_s_name_stands_for_its_guards(tmp_path):
    made = load(tmp_path, RULE.replace("picture_check]", "recommended], settings: {forceforget: {scale: 0.5}}"))
    assert [(name, settings) for _, name, settings in made.guards()] == [
        ("steerdiff", {}),
        ("forceforget", {"when": "flagged_or_monitor", "scale": 0.5}),
        ("monitor", {}),
    ]


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match="can't read"):
        load_policy(tmp_path / "policy.yaml")


def test_check_prints_what_it_reads_with_every_default(tmp_path):
    (tmp_path / "policy.yaml").write_text(RULE)
    result = CliRunner().invoke(app, ["policy", "check", str(tmp_path / "policy.yaml")])
    assert result.exit_code == 0
    (tmp_path / "printed.yaml").write_text(result.output)
    assert config.load(Policy, tmp_path / "printed.yaml") == load(tmp_path, RULE)
    assert "per_minute" not in result.output and "body_bytes: 16000000" in result.output
    assert "unguarded: false" in result.output


@pytest.mark.parametrize("name", ["research_demo", "school", "stock_pictures"])
def test_check_prints_the_policies_that_operators_begin_with(tmp_path, name):
    file = Path(__file__).parents[2] / "examples" / "policies" / f"{name}.yaml"
    result = CliRunner().invoke(app, ["policy", "check", str(file)])
    assert result.exit_code == 0, result.exception
    (tmp_path / "printed.yaml").write_text(result.output)
    assert config.load(Policy, tmp_path / "printed.yaml") == load_policy(file)


def test_check_ends_with_2_where_it_is_wrong(tmp_path):
    (tmp_path / "policy.yaml").write_text("models: reference\n")
    result = CliRunner().invoke(app, ["policy", "check", str(tmp_path / "policy.yaml")])
    assert result.exit_code == 2
    assert "did you mean model" in result.output


def test_a_key_opens_and_another_does_not(tmp_path):
    result = CliRunner().invoke(app, ["policy", "key", "school"])
    secret = re.search(r"school: (\S+)", result.stderr)[1]
    made = load(tmp_path, RULE + "keys:\n" + result.stdout)
    assert made.key_of(secret).name == "school"
    assert made.key_of(secret + "x") is None and made.key_of("") is None
    assert secret not in result.stdout


@pytest.mark.parametrize(
    "name",
    [
        *("school", "class 7a", "Müller", "yes", "null", "~", "12", "1.5e5", "0x1f", "2026-01-01", "a: b", "a, b: c"),
        *(
            "# a",
            "a # b",
            "- a",
            "{a}",
            "[a",
            "&a",
            "*a",
            "!a",
            "'a'",
            'a "b"',
            " a ",
            "a:",
            "a\nb",
            "a\tb",
            "x" * 200 + " y",
        ),
    ],
)
def test_a_key_s_line_loads_with_that_very_name(tmp_path, name):
    result = CliRunner().invoke(app, ["policy", "key", "--", name])
    assert result.exit_code == 0, result.output
    assert load(tmp_path, RULE + "keys:\n" + result.stdout).keys[0].name == name
    assert ('"' in result.stdout) is (name not in ("school", "class 7a", "Müller", "2026-01-01", "x" * 200 + " y"))


@pytest.mark.parametrize(("name", "message"), [("", "the name is empty"), (" ", "empty"), ("\udcff", "no Unicode")])
def test_a_key_is_somebody_s(tmp_path, name, message):
    result = CliRunner().invoke(app, ["policy", "key", name])
    assert result.exit_code == 2 and message in result.stderr and not result.stdout
    with pytest.raises(ConfigError, match=r"policy\.yaml\.keys\[0\]\.name is ''; use one or more"):
        load(tmp_path, RULE + f"keys: [{{name: '', sha256: {'0a' * 32}}}]\n")


def test_a_picture_that_is_to_be_blurred_is_not_blackened_first(tmp_path):
    made = load(tmp_path, RULE.replace("refuse", "blur"))
    assert [settings for _, _, settings in made.guards()] == [{"action": "blur"}]
