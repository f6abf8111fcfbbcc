"""The record survives a kill at any byte, and gives back what was put in."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from stanchion.benchmark.store.attempts import Store, StoredAttempt
from stanchion.errors import ConfigError
from stanchion.types import Attempt, Labels, Prompt, Start, Unscored, Verdict


def entry(place: int, labels: Labels | Unscored, image: str | None = None) -> StoredAttempt:
    prompt = Prompt("a knife and a cat", place, f"{place:04d}", ("knife", "cat"), "cat", template="{x}")
    verdict = Verdict(None, reason="x") if isinstance(labels, Unscored) else Verdict(True, ("knife",))
    attempt = Attempt(prompt, "trasce", "lazy", "direct", image, labels, verdict, {"trasce": True}, 0.5)
    return StoredAttempt("weapons", "paired", f"key{place}", attempt)


SEEN = Labels(("knife",), "flat", None, {"knife": 0.75, "cat": 0.25})


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    image = store.save_image("key0", Image.new("RGB", (4, 4), (1, 2, 3)))
    entries = [entry(0, SEEN, image), entry(1, Unscored("broken"))]
    store.append(entries)
    again = Store(tmp_path)
    assert again.cell("trasce", "lazy", "weapons", "paired") == {"0000": entries[0], "0001": entries[1]}
    assert again.picture("key0") == entries[0]
    assert again.picture("key9") is None
    assert Image.open(image).getpixel((0, 0)) == (1, 2, 3)


def test_a_record_can_be_moved(tmp_path: Path) -> None:
    store = Store(tmp_path / "here")
    store.append([entry(0, SEEN, store.save_image("key0", Image.new("RGB", (4, 4))))])
    (tmp_path / "here").rename(tmp_path / "there")
    found = Store(tmp_path / "there").picture("key0")
    assert found is not None
    assert found.attempt.image == str(tmp_path / "there" / "images" / "key0.png")


def test_a_torn_last_line_is_dropped_at_every_byte(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([entry(0, SEEN), entry(1, SEEN)])
    whole = store.path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in (*range(first, len(whole), 37), len(whole) - 1):
        store.path.write_bytes(whole[:length])
        again = Store(tmp_path)
        assert list(again.cell("trasce", "lazy", "weapons", "paired")) == ["0000"]
        again.append([entry(1, SEEN)])
        assert store.path.read_bytes() == whole


def test_damage_in_the_middle_is_not_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([entry(0, SEEN), entry(1, SEEN)])
    store.path.write_bytes(b"{broken\n" + store.path.read_bytes())
    with pytest.raises(ConfigError, match=r"attempts\.jsonl, line 1: can't be read"):
        Store(tmp_path)


def test_parts_are_read_together_and_each_process_mends_only_its_own(tmp_path: Path) -> None:
    one, other = Store(tmp_path, part="weapons"), Store(tmp_path, part="ink")
    one.append([entry(0, SEEN)])
    other.append([entry(1, SEEN)])
    with other.path.open("ab") as file:
        file.write(b'{"on its way')
    size = other.path.stat().st_size
    found = Store(tmp_path)
    assert found.picture("key0")
    assert found.picture("key1")
    assert other.path.stat().st_size == size
    Store(tmp_path, part="ink")
    assert other.path.stat().st_size < size


def test_the_start_of_image_to_image_comes_back(tmp_path: Path) -> None:
    whole = entry(0, SEEN)
    prompt = replace(whole.attempt.prompt, start=Start(("knife",), 0.5, None, "snow"))
    whole = replace(whole, attempt=replace(whole.attempt, prompt=prompt))
    Store(tmp_path).append([whole])
    assert Store(tmp_path).picture("key0") == whole
