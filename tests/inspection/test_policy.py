from __future__ import annotations

from dataclasses import replace

import pytest

from handler.inspection import filetypes
from handler.inspection import policy as inspection
from handler.problems import EmptyFile, FileTooLarge, TypeNotAllowed

from ..support.policies import make_policy


def inspect_name(name: str) -> inspection.FileName:
    return make_policy().inspect_name(name)


@pytest.mark.parametrize(
    ("client_name", "safe", "original"),
    [
        ("photo.jpg", "photo.jpg", "photo.jpg"),
        ("PHOTO.JPG", "PHOTO.jpg", "PHOTO.JPG"),
        ("my holiday photo.jpg", "my_holiday_photo.jpg", "my holiday photo.jpg"),
        ("日本語.png", "file.png", "日本語.png"),
        ("Grüße.txt", "Grue.txt", "Grüße.txt"),
        (".png", "file.png", ".png"),
        ("...png", "file.png", "...png"),
        ("CON.txt", "file_CON.txt", "CON.txt"),
        ("lpt1.txt", "file_lpt1.txt", "lpt1.txt"),
        ("COM¹.txt", "file_COM1.txt", "COM¹.txt"),
        ("console.txt", "console.txt", "console.txt"),
        ("a.php.jpg", "a_php.jpg", "a.php.jpg"),
        ("a\uff0ephp.jpg", "a_php.jpg", "a\uff0ephp.jpg"),
        ("\u2024htaccess\u2026.jpg", "htaccess.jpg", "\u2024htaccess\u2026.jpg"),
        ("a.php\0.jpg", "a_php.jpg", "a.php.jpg"),
        ("report.v1.2.pdf", "report_v1_2.pdf", "report.v1.2.pdf"),
        ("../../etc/passwd.txt", "passwd.txt", "passwd.txt"),
        (r"C:\Users\ada\photo.jpg", "photo.jpg", "photo.jpg"),
        ("evil\u202egnp.jpg", "evilgnp.jpg", "evilgnp.jpg"),
        ("zero\u200bwidth.txt", "zerowidth.txt", "zerowidth.txt"),
        ("line\r\nbreak.txt", "linebreak.txt", "linebreak.txt"),
        (" padded.txt ", "padded.txt", "padded.txt"),
        ("lone\ud800surrogate.txt", "lonesurrogate.txt", "lonesurrogate.txt"),
        ("-rf.txt", "rf.txt", "-rf.txt"),
    ],
)
def test_name_is_cleaned_and_made_safe(client_name: str, safe: str, original: str) -> None:
    name = inspect_name(client_name)
    assert (name.safe, name.original) == (safe, original)


DEVICES = [
    "con",
    "PRN",
    "aux",
    "nul",
    "conin$",
    "conout$",
    "clock$",
    *(f"{name}{n}" for name in ("com", "lpt") for n in range(10)),
]


@pytest.mark.parametrize("device", DEVICES)
def test_name_of_a_windows_device_is_changed(device: str) -> None:
    assert inspect_name(f"{device}.txt").safe == f"file_{device.removesuffix('$')}.txt"
    assert inspect_name(f"{device.removesuffix('$')}x.txt").safe == f"{device.removesuffix('$')}x.txt"


@pytest.mark.parametrize(
    "media_type",
    [
        "text/html",
        "application/XHTML+xml",
        "image/svg",
        "image/svg+xml",
        "text/xml",
        "text/javascript",
        "application/x-msdownload",
        "application/x-sh",
        "application/x-httpd-php",
    ],
)
def test_declared_active_media_type_is_refused(media_type: str) -> None:
    with pytest.raises(TypeNotAllowed) as refusal:
        make_policy().inspect_media_type(inspect_name("a.txt"), media_type)
    assert refusal.value.detail == (
        f"'a.txt' is declared as '{media_type}', but its extension stands for text/plain. "
        "Send the file with the extension of its real type."
    )


def test_refusal_shows_100_characters_of_a_media_type() -> None:
    with pytest.raises(TypeNotAllowed) as refusal:
        make_policy().inspect_media_type(inspect_name("a.txt"), "text/html;" + "x" * 90 + "y")
    assert f"'text/html;{'x' * 90}', but" in refusal.value.detail


@pytest.mark.parametrize("media_type", ["", "image/png", "application/x-shapefile", "application/xmlx", "text/plain"])
def test_declared_harmless_media_type_is_ignored(media_type: str) -> None:
    make_policy().inspect_media_type(inspect_name("a.txt"), media_type)


# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt, 16.0), and characters that look blank.
IGNORABLE = """
    AD 34F 61C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F 3164 FE00-FE0F FEFF FFA0 FFF0-FFF8
    1BCA0-1BCA3 1D173-1D17A E0000-E0FFF 2800 16FE4 1D159
    """


@pytest.mark.parametrize("characters", IGNORABLE.split())
def test_invisible_characters_are_removed(characters: str) -> None:
    first, _, last = characters.partition("-")
    for code in range(int(first, 16), int(last or first, 16) + 1):
        assert inspection.clean_name(f"a{chr(code)}b{chr(code)}.p{chr(code)}ng{chr(code)}") == "ab.png", hex(code)


@pytest.mark.parametrize(
    ("client_name", "original"),
    [
        ("❤\ufe0f.png", "❤.png"),
        ("👍🏽.png", "👍🏽.png"),
        ("👩\u200d🚀 1\ufe0f\u20e3.png", "👩🚀 1\u20e3.png"),
        ("한글 देवनागरी ไทย ᠮᠣᠩᠭᠣᠯ.png", "한글 देवनागरी ไทย ᠮᠣᠩᠭᠣᠯ.png"),
        ("\u2800\u3164.png", ".png"),
    ],
)
def test_visible_characters_are_kept(client_name: str, original: str) -> None:
    assert inspection.clean_name(client_name) == original


def test_long_name_keeps_its_extension() -> None:
    name = inspect_name("x" * 1000 + ".jpeg")
    assert name.safe == "x" * 80 + ".jpeg"
    assert name.original == "x" * 145 + ".jpeg"


def test_long_name_without_an_extension_is_cut() -> None:
    assert inspection.clean_name("x" * 1000) == "x" * 150
    assert inspection.clean_name("x." + "y" * 1000) == "x." + "y" * 20


@pytest.mark.parametrize("name", ["Screenshot at 9.41.00\u202fAM.exe", "日本\u3000語.exe", 'it\'s "b".exe'])
def test_refusal_has_the_original_name(name: str) -> None:
    with pytest.raises(TypeNotAllowed) as refusal:
        inspect_name(name)
    assert refusal.value.detail.startswith(f"'{name}': files of type .exe are not allowed.")


@pytest.mark.parametrize("client_name", ["...", "", ".", "photo", "photo.", "png", "shell.php", "x.jpg.exe", "a.jpg/b"])
def test_name_without_an_allowed_extension_is_refused(client_name: str) -> None:
    with pytest.raises(TypeNotAllowed, match="Allowed are: txt, csv,"):
        inspect_name(client_name)


@pytest.mark.parametrize(
    ("client_name", "sentence"),
    [
        ("a.exe", "'a.exe': files of type .exe are not allowed."),
        ("photo", "'photo': files without an extension are not allowed."),
        ("photo.", "'photo.': files without an extension are not allowed."),
        ("", "'The file': files without an extension are not allowed."),
    ],
)
def test_refusal_names_the_file_its_type_and_the_allowed_types(client_name: str, sentence: str) -> None:
    text = filetypes.KNOWN["txt"]
    for file_types, allowed in (({}, "none"), ({"txt": text}, "txt"), ({"txt": text, "csv": text}, "txt, csv")):
        with pytest.raises(TypeNotAllowed) as refusal:
            make_policy(file_types=file_types).inspect_name(client_name)
        assert refusal.value.detail == f"{sentence} Allowed are: {allowed}."


def test_file_over_the_limit_is_refused() -> None:
    name, policy = inspect_name("a.txt"), make_policy(max_file_bytes=1000)
    for inspect in (policy.inspect_size, policy.inspect_growing_size):
        inspect(name, 1000)
        with pytest.raises(FileTooLarge, match="1,000 bytes"):
            inspect(name, 1001)
    with pytest.raises(FileTooLarge, match="1,000 bytes"):
        policy.inspect_content(name, size=1001, read=lambda _offset, _length: b"")


def test_empty_file_is_rejected_only_when_it_is_whole() -> None:
    name, policy = inspect_name("a.txt"), make_policy()
    policy.inspect_growing_size(name, 0)
    with pytest.raises(EmptyFile):
        policy.inspect_size(name, 0)
    with pytest.raises(EmptyFile):
        policy.inspect_content(name, size=0, read=lambda _offset, _length: pytest.fail("an empty file is not read"))
    allowing = replace(policy, allow_empty_files=True)
    allowing.inspect_size(name, 0)
    allowing.inspect_content(name, size=0, read=lambda _offset, _length: pytest.fail("an empty file is not read"))


def test_narrowed_policy_is_never_wider() -> None:
    policy = make_policy(max_file_bytes=1000).narrowed(max_bytes=2000, extensions=("png", "exe"))
    assert policy.max_file_bytes == 1000
    assert list(policy.file_types) == ["png"]
    assert policy.narrowed() == policy
    assert policy.narrowed(max_bytes=0).max_file_bytes == 0
